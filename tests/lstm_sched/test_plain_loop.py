"""Law 6: training is a plain Python loop over optax, with all that Keras' fit may add to one."""

from functools import partial

import jax
import numpy as np
import optax
import pytest
from helpers import small
from helpers.hand import agree

from lstm_sched import rules
from lstm_sched.data.windows import Data, as_samples, lanes
from lstm_sched.learner import steps_per_epoch
from lstm_sched.loop import epoch
from lstm_sched.members import Carrying, start
from lstm_sched.nn import network
from lstm_sched.nn.network import lstm
from lstm_sched.noise import DRAWN, Noise, gaussian_noise
from lstm_sched.optimizers import keras_adam
from lstm_sched.orders import FIXED, REPLACED, SEQUENTIAL, SHUFFLED, composed
from lstm_sched.presets import CONTINUE, KERAS_LOOP, KERAS_RESEED, KERAS_RESET_STATES

EPOCHS = 6


def test_training_is_a_plain_loop_over_optax_with_every_optimizer(x64):
    learner, data = small.of_every_optimizer(), small.data(10)
    falling = optax.exponential_decay(0.02, 1, 0.95)
    member = small.a_member(learner, data, rate=falling)
    _, log = agree(learner, member, data, EPOCHS)
    np.testing.assert_array_equal(log.rate, member.hp.rates_S[2::3])
    assert len(set(log.rate.tolist())) == EPOCHS


# a mask drawn for a filled-up batch has another shape than one for a partial batch: no dropout there
@pytest.mark.parametrize(("drop_last", "dropout"), [(False, False), (True, False), (True, True)])
def test_partial_batches_weigh_what_they_hold(drop_last, dropout, x64):
    learner, data = small.learner(drop_last=drop_last, dropout=dropout), small.data(10)
    progress, _ = agree(learner, small.a_member(learner, data), data, EPOCHS)
    assert int(progress.state.step) == EPOCHS * (2 if drop_last else 3)


@pytest.mark.parametrize(
    ("rule", "ends"), [(rules.ends(4, EPOCHS), (4, 6)), (rules.never(EPOCHS), ())], ids=["ends", "never"]
)
def test_updates_of_mean_gradients_and_the_average_that_a_fits_end_puts_in_place(rule, ends, x64):
    learner, data = small.learner("keras_momentum", batch=3, accumulate=3, averaged=True), small.data(10)
    assert steps_per_epoch(learner, 10) == 4, "mean gradients straddle epochs"
    member = small.a_member(learner, data, when=rules.every(1, EPOCHS), ends=rule)
    progress, _ = agree(learner, member, data, EPOCHS, ends=ends)
    in_place = small.bits(progress.state.params) == small.bits(progress.state.average)
    assert in_place == bool(ends)


def test_weights_multiply_the_losses_of_training_and_of_validation(x64):
    rng = np.random.default_rng(5)

    def weighted(part):
        return as_samples(np.asarray(part.x_NTF), np.asarray(part.y_NO), rng.uniform(0, 3, part.size))

    data = small.data(10)
    data = Data(weighted(data.train), weighted(data.val), data.test)
    learner = small.learner()
    agree(learner, small.a_member(learner, data), data, EPOCHS)


@pytest.mark.parametrize("inputs", DRAWN)
@pytest.mark.parametrize("grads", DRAWN)
def test_noise_is_added_by_hand(inputs, grads, x64):
    learner, data = small.learner(noise=True), small.data(8)
    noise = Noise(gaussian_noise(0.3, inputs), gaussian_noise(0.2, grads))
    agree(learner, small.a_member(learner, data, noise=noise), data, EPOCHS)


@pytest.mark.parametrize("order", [composed(10), REPLACED], ids=["composed", "replaced"])
def test_other_orders_are_followed_by_hand(order, x64):
    learner, data = small.learner(order=order), small.data(10)
    agree(learner, small.a_member(learner, data), data, EPOCHS)


def test_a_fixed_order_is_a_shuffled_one_re_seeded_before_every_epoch():
    data = small.data(10)
    fixed, shuffled = small.learner(order=FIXED), small.learner(order=SHUFFLED)
    want, want_log = small.finish(fixed, small.a_member(fixed, data), data, EPOCHS)
    reseeded = small.a_member(shuffled, data, policy=KERAS_RESEED, when=rules.every(1, EPOCHS))
    got, log = small.finish(shuffled, reseeded, data, EPOCHS)
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
    data, carry = of_lanes(), Carrying(reset, through)
    member = small.a_member(STATEFUL, data, policy=policy, when=rules.at_epochs([3], EPOCHS), carry=carry)

    def boundary(e, now):
        if e == 3 and policy is KERAS_RESET_STATES:
            now.carry = network.zero_carry(now.params, LANES)

    agree(STATEFUL, member, data, EPOCHS, boundary)


def test_states_reset_after_every_fit_of_one_epoch_are_states_reset_before_every_epoch(x64):
    data, every = of_lanes(), rules.every(1, EPOCHS)
    dropped = small.a_member(STATEFUL, data, policy=KERAS_RESET_STATES, when=every)
    reset = small.a_member(STATEFUL, data, when=every, carry=Carrying(reset=True, through=True))
    (got, log), (want, want_log) = (small.finish(STATEFUL, m, data, EPOCHS) for m in (dropped, reset))
    assert small.bits(got.state._replace(epoch=())) == small.bits(want.state._replace(epoch=()))
    assert small.bits(log) == small.bits(want_log)


@pytest.mark.parametrize("through", [False, True])
def test_an_epoch_that_is_not_compiled_carries_its_state_the_same_way(through):
    learner, data = small.learner(stateful=True), small.data(4, val=4)
    carry = Carrying(reset=False, through=through)  # Python's booleans
    hp = small.a_member(learner, data, carry=carry).hp._replace(carry=carry)
    state = start(learner, small.a_member(learner, data).origin).state
    with jax.disable_jit():
        after, _ = epoch(learner, hp, data, state)
    want, _ = jax.jit(partial(epoch, learner), compiler_options=small.SOON)(hp, data, state)
    np.testing.assert_allclose(after.carry, want.carry, rtol=1e-5, atol=1e-6)


# ---- all of it at once


@pytest.mark.parametrize("steps", [2, 4])
def test_all_of_it_at_once_is_one_loop_by_hand(steps, x64):
    learner, data = small.everything(steps), small.data(12, val=4)
    when = rules.at_epochs([3], EPOCHS)
    member = small.a_member(learner, data, policy=KERAS_LOOP, when=when, ends=rules.ends(4, EPOCHS))

    def boundary(e, now):
        if e == 3:
            now.left = []  # the next epoch begins a pass

    progress, log = agree(learner, member, data, EPOCHS, boundary, ends=(4, 6))
    assert log.boundary.tolist() == [e == 3 for e in range(EPOCHS)]
    assert int(progress.state.step) == {2: 12, 4: 4 + 2 + 4 + 4 + 2 + 4}[steps]
