"""Law 2: what a boundary does to a state, over every component, policy and optimizer."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import small
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lstm_sched import state as sta
from lstm_sched.monitor import Best, Monitor
from lstm_sched.optimizers import OPTIMIZERS
from lstm_sched.policy import spread
from lstm_sched.presets import CONTINUE, DROP_MOMENTS, POLICIES, SCRATCH
from lstm_sched.state import TrainState, mix, restart


def full_state(seed: int) -> TrainState:
    """Every component in use, with the values that arithmetic would damage."""
    rng = np.random.default_rng(seed)

    def weights():
        return {
            "w": jnp.asarray(rng.normal(size=3), jnp.float32),
            "odd": jnp.asarray([np.nan, -0.0, np.inf, 1e-40], jnp.float32),
        }

    def best(wait):
        return Best(jnp.asarray(True), jnp.asarray(np.inf, jnp.float32), jnp.asarray(wait, jnp.int32))

    return TrainState(
        params=weights(),
        moments=(
            optax.ScaleByAdamState(jnp.asarray(seed, jnp.int32), weights(), weights()),
            optax.EmptyState(),
        ),
        step=jnp.asarray(seed, jnp.int32),
        epoch=jnp.asarray(2 * seed, jnp.int32),
        order=jax.random.key(seed),
        noise=jax.random.key(seed + 100),
        carry=(jnp.asarray(rng.normal(size=(2, 2)), jnp.float32),),
        average=weights(),
        rate=jnp.asarray(rng.uniform(), jnp.float32),
        position=sta.Position(jnp.asarray(seed, jnp.int32), jax.random.key(seed + 200)),
        monitor=Monitor(best(seed), jnp.asarray(seed % 2 == 0), best(seed + 1), jnp.asarray(seed, jnp.int32)),
        best=weights(),
    )


OLD, FRESH = full_state(7), full_state(8)
mixed = jax.jit(mix)
begun = jax.jit(sta.begin, static_argnames="learner")
restarted = jax.jit(restart, static_argnames="learner")


def test_all_ones_is_the_identity_and_all_zeros_the_fresh_state():
    ones, zeros = spread(CONTINUE, OLD), spread(SCRATCH, OLD)
    assert small.bits(mixed(ones, OLD, FRESH)) == small.bits(OLD)
    assert small.bits(mixed(zeros, OLD, FRESH)) == small.bits(FRESH)


@given(policy=small.whole_policies)
@settings(deadline=None, max_examples=60)
def test_whole_fractions_are_idempotent_and_touch_nothing_that_they_keep(policy):
    fractions = spread(policy, OLD)
    once = mixed(fractions, OLD, FRESH)
    assert small.bits(mixed(fractions, once, FRESH)) == small.bits(once)
    leaves = zip(*map(jax.tree.leaves, (fractions, OLD, FRESH, once)), strict=True)
    for f, old, fresh, new in leaves:
        assert small.bits(new) == small.bits(old if f == 1 else fresh)


@given(policy=small.policies)
@settings(deadline=None, max_examples=60)
def test_a_fraction_between_interpolates_and_every_other_leaf_is_exact(policy):
    fractions = spread(policy, OLD)
    new = mixed(fractions, OLD, FRESH)
    for f, old, fresh, got in zip(*map(jax.tree.leaves, (fractions, OLD, FRESH, new)), strict=True):
        if 0 < f < 1:
            f, old, fresh = np.float32(f), np.asarray(old), np.asarray(fresh)
            with np.errstate(all="ignore"):
                want = f * old + (np.float32(1) - f) * fresh
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-7)
        else:
            assert small.bits(got) == small.bits(old if f == 1 else fresh)


def trained(learner, params):
    """A state in which nothing is as it began."""
    state = begun(learner, jax.random.key(5), params)

    def moved(x):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.fold_in(x, 9)
        more = x + jnp.ones((), x.dtype)  # of a flag: True
        return jnp.where(jnp.isfinite(x), more, 2) if jnp.issubdtype(x.dtype, jnp.floating) else more

    return jax.tree.map(moved, state)


def origin_of(learner, redraw=False, reseed=False):
    key = jax.random.key(3)
    return sta.Origin(key, sta.init_params(learner, key), jnp.asarray(redraw), jnp.asarray(reseed))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_restart_is_every_named_policy_on_a_real_state(optimizer):
    learner = small.learner(optimizer, dropout=True)
    origin = origin_of(learner)
    old = trained(learner, origin.params)
    for name, named in POLICIES.items():
        policy = spread(named, old)
        new = restarted(learner, policy, origin, old, 2)
        fresh = begun(learner, origin.key, new.params)
        want = mixed(policy, old, fresh._replace(params=origin.params))
        assert small.bits(new) == small.bits(want), name
        if {0.0, 1.0} >= {float(f) for f in jax.tree.leaves(policy)}:
            assert small.bits(restarted(learner, policy, origin, new, 2)) == small.bits(new), name


def test_fresh_moments_are_built_around_the_weights_that_survive():
    learner = small.learner(lambda rate: optax.contrib.schedule_free_sgd(rate))
    origin = origin_of(learner)
    old = trained(learner, origin.params)
    policy = spread(DROP_MOMENTS._replace(params=0.25, moments=0), old)
    new = restart(learner, policy, origin, old, 1)
    want = jax.tree.map(lambda a, b: 0.25 * a + 0.75 * b, old.params, origin.params)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6), new.params, want)
    assert small.bits(new.moments.z) == small.bits(new.params)


@pytest.mark.parametrize("redraw", [False, True])
@pytest.mark.parametrize("reseed", [False, True])
def test_fresh_weights_and_streams_return_or_are_drawn_anew_as_the_arm_says(redraw, reseed):
    learner = small.learner(dropout=True)
    origin = origin_of(learner, redraw, reseed)
    old = trained(learner, origin.params)
    policy = spread(SCRATCH, old)
    first, second = (restart(learner, policy, origin, old, n) for n in (1, 2))
    assert (small.bits(first.params) == small.bits(second.params)) is not redraw
    assert (small.bits(first.params) == small.bits(origin.params)) is not redraw
    for stream in ("order", "noise"):
        assert (small.bits(getattr(first, stream)) == small.bits(getattr(second, stream))) is not reseed


EVERYTHING = small.everything()
OF_EVERYTHING = trained(EVERYTHING, origin_of(EVERYTHING).params)
again = partial(restarted, EVERYTHING)


@given(
    policy=small.whole_policies,
    redraw=st.booleans(),
    reseed=st.booleans(),
    number=st.integers(1, 5),
)
@settings(max_examples=60)
@example(policy=CONTINUE, redraw=True, reseed=True, number=3)
@example(policy=SCRATCH, redraw=False, reseed=False, number=3)
def test_restart_is_law_2_over_every_component_of_a_real_state(policy, redraw, reseed, number):
    origin = origin_of(EVERYTHING, redraw, reseed)
    fractions, old = spread(policy, OF_EVERYTHING), OF_EVERYTHING
    new = again(fractions, origin, old, number)
    anew = sta.init_params(EVERYTHING, origin.key, number) if redraw else origin.params
    fresh = begun(EVERYTHING, origin.key, new.params, number if reseed else 0)._replace(params=anew)
    for name in TrainState._fields:
        parts = (getattr(tree, name) for tree in (fractions, old, fresh, new))
        for f, kept, dropped, got in zip(*map(jax.tree.leaves, parts), strict=True):
            assert small.bits(got) == small.bits(kept if f == 1 else dropped), name
    assert small.bits(again(fractions, origin, new, number)) == small.bits(new)


@pytest.mark.parametrize("policy", [SCRATCH, SCRATCH._replace(params=0.3)])
def test_where_no_draw_is_compiled_weights_return_to_the_same_bits_as_where_one_is_but_not_made(policy):
    with_draw = origin_of(EVERYTHING)
    fractions, without = spread(policy, OF_EVERYTHING), with_draw._replace(redraw=())
    one, other = (again(fractions, origin, OF_EVERYTHING, 2) for origin in (with_draw, without))
    assert small.bits(one) == small.bits(other)


def test_the_state_that_this_is_tried_on_differs_from_a_fresh_one_in_every_leaf():
    fresh = sta.begin(EVERYTHING, jax.random.key(3), origin_of(EVERYTHING).params)
    for old, new in zip(*map(jax.tree.leaves, (OF_EVERYTHING, fresh)), strict=True):
        assert small.bits(old) != small.bits(new)


def test_a_fraction_of_the_average_blends_it_with_the_weights_that_survive():
    origin = origin_of(EVERYTHING)
    policy = spread(CONTINUE._replace(params=0.5, average=0.25), OF_EVERYTHING)
    new = again(policy, origin, OF_EVERYTHING, 1)
    want = jax.tree.map(lambda a, w: 0.25 * a + 0.75 * w, OF_EVERYTHING.average, new.params)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6), new.average, want)
