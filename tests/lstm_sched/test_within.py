"""Boundaries within an epoch and those that the run itself decides: laws 1 and 5, and loops by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import small
from helpers.hand import agree, new_moments
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_sched import rules
from lstm_sched.members import start
from lstm_sched.presets import CONTINUE, DROP_MOMENTS, KERAS_RECOMPILE, SCRATCH

EPOCHS, STEPS = 6, 3  # of data(10) in batches of 4
DATA = small.data(10)
MOMENTUM = small.learner("keras_momentum")


def finish(member):
    return small.finish(MOMENTUM, member, DATA, EPOCHS, EPOCHS)


def without_log(progress):
    return small.bits(progress._replace(log=()))


@given(n=st.integers(1, EPOCHS * STEPS), uphill=st.booleans(), epochs=st.integers(1, EPOCHS))
@settings(max_examples=15)
def test_continue_under_any_boundaries_is_one_run_bitwise(n, uphill, epochs):
    whole, log = finish(small.a_member(MOMENTUM, DATA, within=rules.no_steps()))
    within = rules.against_momentum() if uphill else rules.every_steps(n)
    member = small.a_member(MOMENTUM, DATA, when=rules.every(epochs, EPOCHS), within=within)
    progress, log_in_fits = finish(member)
    assert without_log(progress) == without_log(whole)
    assert small.bits((log_in_fits.loss, log_in_fits.val)) == small.bits((log.loss, log.val))


@pytest.mark.parametrize("policy", [KERAS_RECOMPILE, SCRATCH], ids=["recompile", "scratch"])
def test_a_boundary_after_the_last_step_of_every_epoch_is_a_boundary_before_every_epoch(policy):
    member = partial(small.a_member, MOMENTUM, DATA, policy=policy)
    before, log = finish(member(when=rules.every(1, EPOCHS), within=rules.no_steps()))
    after, after_log = finish(member(within=rules.every_steps(STEPS)))
    assert without_log(after) == without_log(before)
    assert small.bits(after_log._replace(due=())) == small.bits(log._replace(due=()))
    assert after_log.due.all()


@given(sizes=st.lists(st.integers(1, EPOCHS), min_size=1, max_size=EPOCHS), n=st.sampled_from([2, 3, 5]))
@settings(max_examples=8)
def test_any_split_into_chunks_is_one_run_bitwise(sizes, n):
    member = small.a_member(MOMENTUM, DATA, policy=DROP_MOMENTS, within=rules.every_steps(n))
    whole, _ = small.finish(MOMENTUM, member, DATA, EPOCHS, compiled=small.run_jit)
    progress = start(MOMENTUM, member.origin)
    for size in [*sizes, EPOCHS]:
        end = min(int(progress.clock) + size, EPOCHS)
        progress, _ = small.run_jit(MOMENTUM, member, DATA, progress, EPOCHS, end)
    assert small.bits(progress) == small.bits(whole)


@pytest.mark.parametrize(
    ("n", "fallen"), [(2, [1, 1, 2, 1, 2, 1]), (4, [0, 1, 1, 0, 1, 1]), (3, [0, 1, 1, 1, 1, 1])]
)
def test_every_n_steps_the_optimizer_is_made_again_by_hand(n, fallen, x64):
    learner, data = small.learner("adam"), small.data(10)
    policy = DROP_MOMENTS._replace(moments=0)

    def after(t, now, gradient, updates):
        if t % n == 0:
            now.moments = new_moments(learner, now.params)

    member = small.a_member(learner, data, policy=policy, within=rules.every_steps(n))
    assert agree(learner, member, data, EPOCHS, after=after)[1].boundary.tolist() == fallen


def test_momentum_is_dropped_where_it_goes_uphill_by_hand(x64):
    data, policy, fallen = small.data(10), CONTINUE._replace(moments=0), []

    def after(t, now, gradient, updates):
        if sum(np.vdot(g, u) for g, u in zip(*map(jax.tree.leaves, (gradient, updates)), strict=True)) > 0:
            fallen.append(t)
            now.moments = new_moments(MOMENTUM, now.params)

    member = small.a_member(MOMENTUM, data, rate=0.3, policy=policy, within=rules.against_momentum())
    _, log = agree(MOMENTUM, member, data, EPOCHS, after=after)
    want = [sum(e * STEPS <= t < (e + 1) * STEPS for t in fallen) for e in range(EPOCHS)]
    assert log.boundary.tolist() == want
    assert 0 < sum(want) < EPOCHS * STEPS


def test_a_plateau_of_the_validation_loss_is_a_boundary_by_hand(x64):
    learner, data = small.learner("adam"), small.data(10)
    member = small.a_member(learner, data, rate=0.5, policy=KERAS_RECOMPILE, when=rules.on_plateau(2, EPOCHS))
    val_E = np.asarray(small.finish(learner, member, data, EPOCHS)[1].val)
    since = [e - 1 - int(np.argmin(val_E[:e])) for e in range(1, EPOCHS)]  # epochs since the lowest
    want = [False, *((n > 0) and n % 2 == 0 for n in since)]
    assert any(want)

    def boundary(e, now):
        if want[e]:
            now.moments = new_moments(learner, now.params)

    assert agree(learner, member, data, EPOCHS, boundary)[1].boundary.tolist() == want


def test_rules_share_one_compilation_and_rules_of_ones_own_are_taken():
    made = partial(small.a_member, MOMENTUM, DATA, policy=DROP_MOMENTS)
    withins = [rules.no_steps(), rules.every_steps(2), rules.against_momentum()]
    whens = [
        rules.never(EPOCHS), rules.every(2, EPOCHS), rules.on_plateau(1, EPOCHS), rules.at_epochs([1], EPOCHS)
    ]  # fmt: skip
    traced = []
    signature = jax.jit(lambda member: traced.append(member))
    for within in withins:
        for when in whens:
            signature(made(when=when, within=within))
    assert len(traced) == 1

    def large(limit, instant):
        return jnp.abs(instant.grads["bias"][0]) > limit

    some, log = finish(made(within=rules.custom_rule(large, 0.1)))
    assert 0 < int(log.boundary.sum()) < EPOCHS * STEPS
    none, log = finish(made(within=rules.custom_rule(large, 1e6)))
    assert int(log.boundary.sum()) == 0
    assert without_log(some) != without_log(none)


def test_a_rule_on_steps_refuses_epochs_that_are_cut_short_and_numbers_that_cannot_be():
    learner = small.learner(steps=2)
    member = small.a_member(learner, DATA, within=rules.every_steps(2))
    with pytest.raises(ValueError, match="steps: 2; allowed: with a rule on steps, a divisor"):
        small.finish(learner, member, DATA, EPOCHS)
    with pytest.raises(ValueError, match="every_steps: 0"):
        rules.every_steps(0)
    with pytest.raises(ValueError, match="patience: 0"):
        rules.on_plateau(0, EPOCHS)
