"""Law 6: training is a plain Python loop over optax, with all that Keras' fit may add to one."""

from functools import partial

import jax
import numpy as np
import pytest
from helpers import small
from helpers.hand import by_hand

from lstm_sched import rules
from lstm_sched.data.windows import Data, as_samples, lanes
from lstm_sched.learner import steps_per_epoch
from lstm_sched.loop import epoch, run
from lstm_sched.members import Carrying, start
from lstm_sched.nn import network
from lstm_sched.nn.network import lstm
from lstm_sched.noise import DRAWN, Noise, gaussian_noise
from lstm_sched.optimizers import OPTIMIZERS, keras_adam
from lstm_sched.orders import FIXED, REPLACED, SEQUENTIAL, SHUFFLED, composed
from lstm_sched.presets import CONTINUE, KERAS_LOOP, KERAS_RECOMPILE, KERAS_RESEED, KERAS_RESET_STATES

EPOCHS = 6
run_jit = jax.jit(run, static_argnames=("learner", "epochs"), compiler_options=small.SOON)


def finish(learner, member, data):
    return run_jit(learner, member, data, start(learner, member.origin), EPOCHS)


def agree(learner, member, data, boundary=lambda e, now: None, ends=()):
    """Asserts that the compiled run is the loop by hand; returns its end."""
    progress, log = finish(learner, member, data)
    with jax.numpy_dtype_promotion("standard"):
        now, losses, vals = by_hand(learner, member, data, EPOCHS, boundary, ends)
    np.testing.assert_allclose(log.loss, losses, rtol=1e-9)
    np.testing.assert_allclose(log.val, vals, rtol=1e-9)
    close = partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-9)
    jax.tree.map(close, progress.state.params, now.params)
    jax.tree.map(close, progress.state.carry, now.carry)
    if learner.averaged:
        jax.tree.map(close, progress.state.average, now.average)
    return progress, log


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_is_a_plain_loop_over_optax(name, x64):
    learner, data = small.learner(name), small.data(10)
    member = small.a_member(learner, data)
    _, log = agree(learner, member, data)
    np.testing.assert_allclose(log.rate, member.hp.rates_S[2::3], rtol=0)


# a mask drawn for a filled-up batch has another shape than one for a partial batch: no noise there
@pytest.mark.parametrize(("drop_last", "dropout"), [(False, False), (True, False), (True, True)])
def test_partial_batches_weigh_what_they_hold(drop_last, dropout, x64):
    learner, data = small.learner(batch=4, drop_last=drop_last, dropout=dropout), small.data(10)
    progress, _ = agree(learner, small.a_member(learner, data), data)
    assert int(progress.state.step) == EPOCHS * (2 if drop_last else 3)


def test_a_boundary_in_the_run_is_the_reset_done_by_hand(x64):
    learner, data = small.learner("adam"), small.data(10)
    member = small.a_member(learner, data, policy=KERAS_RECOMPILE, when=rules.at_epochs([2, 5], EPOCHS))

    def boundary(e, now):
        if e in (2, 5):
            now.moments = learner.optimizer(0.0).init(now.params)

    progress, log = agree(learner, member, data, boundary)
    assert log.boundary.tolist() == [False, False, True, False, False, True]
    assert int(progress.state.step) == 3  # since the boundary before the last epoch


@pytest.mark.parametrize(("optimizer", "accumulate"), [("keras_adam", 1), ("keras_momentum", 3)])
def test_updates_of_mean_gradients_and_the_average_that_a_fits_end_puts_in_place(optimizer, accumulate, x64):
    learner, data = small.learner(optimizer, batch=3, accumulate=accumulate, averaged=True), small.data(10)
    assert steps_per_epoch(learner, 10) == 4, "mean gradients straddle epochs"
    for rule, ends in ((rules.ends(4, EPOCHS), (4, 6)), (rules.never(EPOCHS), ())):
        member = small.a_member(learner, data, when=rules.every(1, EPOCHS), ends=rule)
        progress, _ = agree(learner, member, data, ends=ends)
        ended = small.bits(progress.state.params) == small.bits(progress.state.average)
        assert ended == bool(ends)


def test_an_epoch_of_some_steps_goes_on_in_its_pass_until_a_fit_begins_anew(x64):
    learner, data = small.learner(batch=4, steps=2), small.data(10)
    member = small.a_member(learner, data, policy=KERAS_LOOP, when=rules.at_epochs([1, 4], EPOCHS))

    def boundary(e, now):
        if e in (1, 4):
            now.left = []

    progress, _ = agree(learner, member, data, boundary)
    assert int(progress.state.step) == 2 + 2 + 1 + 2 + 2 + 1


def test_weights_multiply_the_losses_of_training_and_of_validation(x64):
    rng = np.random.default_rng(5)

    def weighted(part):
        return as_samples(np.asarray(part.x_NTF), np.asarray(part.y_NO), rng.uniform(0, 3, part.size))

    data = small.data(10)
    data = Data(weighted(data.train), weighted(data.val), data.test)
    learner = small.learner()
    agree(learner, small.a_member(learner, data), data)


@pytest.mark.parametrize("inputs", DRAWN)
@pytest.mark.parametrize("grads", DRAWN)
def test_noise_is_added_by_hand(inputs, grads, x64):
    learner, data = small.learner(noise=True), small.data(8)
    member = small.a_member(
        learner, data, noise=Noise(gaussian_noise(0.3, inputs), gaussian_noise(0.2, grads))
    )
    agree(learner, member, data)


@pytest.mark.parametrize("order", [composed(10), REPLACED], ids=["composed", "replaced"])
def test_other_orders_are_followed_by_hand(order, x64):
    learner, data = small.learner(order=order), small.data(10)
    agree(learner, small.a_member(learner, data), data)


def test_a_fixed_order_is_a_shuffled_one_re_seeded_before_every_epoch():
    data = small.data(10)
    fixed, shuffled = small.learner(order=FIXED), small.learner(order=SHUFFLED)
    want, want_log = finish(fixed, small.a_member(fixed, data), data)
    reseeded = small.a_member(shuffled, data, policy=KERAS_RESEED, when=rules.every(1, EPOCHS))
    got, log = finish(shuffled, reseeded, data)
    assert small.bits(got.state.params) == small.bits(want.state.params)
    assert small.bits((log.loss, log.val)) == small.bits((want_log.loss, want_log.val))


# ---- a state carried from batch to batch

LANES = 3
STATEFUL = lstm(keras_adam, hidden=2, batch=LANES, order=SEQUENTIAL, stateful=True)


def of_lanes():
    rows_RF = np.random.default_rng(6).normal(size=(100, 1))
    return Data(*(lanes(part, LANES, 4, 1) for part in (rows_RF[:50], rows_RF[50:75], rows_RF[75:])))


@pytest.mark.parametrize("through", [False, True])
@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("policy", [CONTINUE, KERAS_RESET_STATES], ids=["kept", "dropped"])
def test_a_carried_state_is_carried_by_hand(policy, reset, through, x64):
    data = of_lanes()
    member = small.a_member(
        STATEFUL, data, policy=policy, when=rules.at_epochs([3], EPOCHS), carry=Carrying(reset, through)
    )

    def boundary(e, now):
        if e == 3 and policy is KERAS_RESET_STATES:
            now.carry = network.zero_carry(now.params, LANES)

    agree(STATEFUL, member, data, boundary)


def test_states_reset_after_every_fit_of_one_epoch_are_states_reset_before_every_epoch(x64):
    data = of_lanes()
    every = rules.every(1, EPOCHS)
    dropped = small.a_member(STATEFUL, data, policy=KERAS_RESET_STATES, when=every)
    reset = small.a_member(STATEFUL, data, when=every, carry=Carrying(reset=True, through=True))
    ends = [finish(STATEFUL, member, data) for member in (dropped, reset)]
    (one, one_log), (other, other_log) = ends
    assert small.bits(one.state._replace(epoch=())) == small.bits(other.state._replace(epoch=()))
    assert small.bits(one_log) == small.bits(other_log)


@pytest.mark.parametrize("through", [False, True])
def test_an_epoch_that_is_not_compiled_carries_its_state_the_same_way(through):
    learner, data = small.learner(stateful=True), small.data(4, val=4)
    member = small.a_member(learner, data, carry=Carrying(reset=False, through=through))
    state = start(learner, member.origin).state
    own = member.hp._replace(carry=Carrying(reset=False, through=through))  # Python's booleans
    with jax.disable_jit():
        after, _ = epoch(learner, own, data, state)
    want, _ = jax.jit(partial(epoch, learner))(member.hp, data, state)
    np.testing.assert_allclose(after.carry, want.carry, rtol=1e-5, atol=1e-6)


# ---- all of it at once


@pytest.mark.parametrize("steps", [2, 4])
def test_all_of_it_at_once_is_one_loop_by_hand(steps, x64):
    learner, data = small.everything(steps), small.data(12, val=4)
    member = small.a_member(
        learner, data, policy=KERAS_LOOP, when=rules.at_epochs([3], EPOCHS), ends=rules.ends(4, EPOCHS)
    )

    def boundary(e, now):
        if e == 3:
            now.left = []

    agree(learner, member, data, boundary, ends=(4, 6))
