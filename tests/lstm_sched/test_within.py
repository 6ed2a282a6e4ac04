"""Boundaries within an epoch and those that the run itself decides: laws 1 and 5, and loops by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import small
from helpers.hand import by_hand
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_sched import rules
from lstm_sched.loop import run
from lstm_sched.members import start
from lstm_sched.presets import CONTINUE, DROP_MOMENTS, KERAS_RECOMPILE, SCRATCH

EPOCHS, STEPS = 6, 3  # of data(10) in batches of 4
DATA = small.data(10)
MOMENTUM = small.learner("keras_momentum")
run_jit = jax.jit(run, static_argnames=("learner", "epochs"))


def finish(learner, member, data=DATA):
    return run_jit(learner, member, data, start(learner, member.origin), EPOCHS)


def without_log(progress):
    return small.bits(progress._replace(log=()))


@given(n=st.integers(1, EPOCHS * STEPS), uphill=st.booleans(), each=st.integers(1, EPOCHS))
@settings(deadline=None, max_examples=15)
def test_continue_under_any_boundaries_is_one_run_bitwise(n, uphill, each):
    one = partial(small.a_member, MOMENTUM, DATA)
    whole, log = finish(MOMENTUM, one(within=rules.no_steps()))
    within = rules.against_momentum() if uphill else rules.every_steps(n)
    got, got_log = finish(MOMENTUM, one(when=rules.every(each, EPOCHS), within=within))
    assert without_log(got) == without_log(whole)
    assert small.bits((got_log.loss, got_log.val)) == small.bits((log.loss, log.val))


@pytest.mark.parametrize("policy", [KERAS_RECOMPILE, SCRATCH], ids=["recompile", "scratch"])
def test_a_boundary_after_the_last_step_of_every_epoch_is_a_boundary_before_every_epoch(policy):
    one = partial(small.a_member, MOMENTUM, DATA, policy=policy)
    before, log = finish(MOMENTUM, one(when=rules.every(1, EPOCHS), within=rules.no_steps()))
    after, after_log = finish(MOMENTUM, one(within=rules.every_steps(STEPS)))
    assert without_log(after) == without_log(before)
    assert small.bits(after_log._replace(due=())) == small.bits(log._replace(due=()))
    assert after_log.due.all()


@given(sizes=st.lists(st.integers(1, EPOCHS), min_size=1, max_size=EPOCHS), n=st.sampled_from([2, 3, 5]))
@settings(deadline=None, max_examples=8)
def test_any_split_into_chunks_is_one_run_bitwise(sizes, n):
    member = small.a_member(MOMENTUM, DATA, policy=DROP_MOMENTS, within=rules.every_steps(n))
    whole, _ = finish(MOMENTUM, member)
    progress = start(MOMENTUM, member.origin)
    for size in [*sizes, EPOCHS]:
        end = min(int(progress.clock) + size, EPOCHS)
        progress, _ = run_jit(MOMENTUM, member, DATA, progress, EPOCHS, end)
    assert small.bits(progress) == small.bits(whole)


def agree(learner, member, boundary=lambda e, now: None, after=lambda *step: None):
    """Asserts that the compiled run is the loop by hand; the boundaries before and in each epoch."""
    data = small.data(10)
    progress, log = finish(learner, member, data)
    with jax.numpy_dtype_promotion("standard"):
        now, losses, vals = by_hand(learner, member, data, EPOCHS, boundary, after=after)
    np.testing.assert_allclose(log.loss, losses, rtol=1e-9)
    np.testing.assert_allclose(log.val, vals, rtol=1e-9)
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12), progress.state.params, now.params
    )
    return np.asarray(log.boundary).tolist()


def renew(learner, now):
    now.moments = learner.optimizer(0.0).init(now.params)


@pytest.mark.parametrize(
    ("n", "fallen"), [(2, [1, 1, 2, 1, 2, 1]), (4, [0, 1, 1, 0, 1, 1]), (3, [0, 1, 1, 1, 1, 1])]
)
def test_every_n_steps_the_optimizer_is_made_anew_by_hand(n, fallen, x64):
    learner = small.learner("adam")
    member = small.a_member(
        learner, DATA, policy=DROP_MOMENTS._replace(moments=0), within=rules.every_steps(n)
    )

    def after(t, now, gradient, updates):
        if t % n == 0:
            renew(learner, now)

    assert agree(learner, member, after=after) == fallen


def test_momentum_is_dropped_where_it_goes_uphill_by_hand(x64):
    policy = CONTINUE._replace(moments=0)
    member = small.a_member(MOMENTUM, DATA, rate=0.3, policy=policy, within=rules.against_momentum())
    fallen = []

    def after(t, now, gradient, updates):
        if sum(np.vdot(g, u) for g, u in zip(*map(jax.tree.leaves, (gradient, updates)), strict=True)) > 0:
            fallen.append(t)
            renew(MOMENTUM, now)

    counted = agree(MOMENTUM, member, after=after)
    want = [sum(e * STEPS <= t < (e + 1) * STEPS for t in fallen) for e in range(EPOCHS)]
    assert counted == want
    assert 0 < sum(want) < EPOCHS * STEPS


def test_a_plateau_of_the_validation_loss_is_a_boundary_by_hand(x64):
    learner = small.learner("adam")
    rule = rules.on_plateau(2, EPOCHS)
    member = small.a_member(learner, DATA, rate=0.5, policy=KERAS_RECOMPILE, when=rule)
    _, log = finish(learner, member, small.data(10))
    vals = np.asarray(log.val)
    since = [e - 1 - int(np.argmin(vals[:e])) for e in range(1, EPOCHS)]  # epochs since the lowest
    want = [False, *((n > 0) and n % 2 == 0 for n in since)]
    assert any(want)

    def boundary(e, now):
        if want[e]:
            renew(learner, now)

    assert agree(learner, member, boundary) == want


def test_rules_share_one_compilation_and_rules_of_ones_own_are_taken():
    one = partial(small.a_member, MOMENTUM, DATA, policy=DROP_MOMENTS)
    found = [rules.no_steps(), rules.every_steps(2), rules.against_momentum()]
    whens = [
        rules.never(EPOCHS),
        rules.every(2, EPOCHS),
        rules.on_plateau(1, EPOCHS),
        rules.at_epochs([1], EPOCHS),
    ]
    traced = []

    @jax.jit
    def whole(member, progress):
        traced.append(1)
        return run(MOMENTUM, member, DATA, progress, EPOCHS)

    for within in found:
        for when in whens:
            member = one(when=when, within=within)
            whole(member, start(MOMENTUM, member.origin))
    assert len(traced) == 1

    def large(limit, instant):
        return jnp.abs(instant.grads["bias"][0]) > limit

    some, log = finish(MOMENTUM, one(within=rules.custom_rule(large, 0.1)))
    assert 0 < int(log.boundary.sum()) < EPOCHS * STEPS
    none, log = finish(MOMENTUM, one(within=rules.custom_rule(large, 1e6)))
    assert int(log.boundary.sum()) == 0
    assert without_log(some) != without_log(none)


def test_a_rule_on_steps_refuses_epochs_that_are_cut_short_and_numbers_that_cannot_be():
    learner = small.learner(steps=2)
    member = small.a_member(learner, DATA, within=rules.every_steps(2))
    with pytest.raises(ValueError, match="steps: 2; allowed: with a rule on steps, a divisor"):
        finish(learner, member)
    with pytest.raises(ValueError, match="every_steps: 0"):
        rules.every_steps(0)
    with pytest.raises(ValueError, match="patience: 0"):
        rules.on_plateau(0, EPOCHS)
