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

from lstm_sched.monitor import Best, Monitor
from lstm_sched.policy import spread
from lstm_sched.presets import CONTINUE, DROP_MOMENTS, POLICIES, SCRATCH
from lstm_sched.state import Origin, Position, TrainState, begin, init_params, mix, restart

mixed = jax.jit(mix)
begun = jax.jit(begin, static_argnames="learner")
restarted = jax.jit(restart, static_argnames="learner")
close = partial(jax.tree.map, partial(np.testing.assert_allclose, rtol=1e-6))


def full_state(seed: int) -> TrainState:
    """Every component in use, with the values that arithmetic would damage."""
    rng = np.random.default_rng(seed)
    number = jnp.asarray(seed, jnp.int32)

    def weights():
        odd = jnp.asarray([np.nan, -0.0, np.inf, 1e-40], jnp.float32)
        return {"w": jnp.asarray(rng.normal(size=3), jnp.float32), "odd": odd}

    def best(wait):
        return Best(jnp.asarray(True), jnp.asarray(np.inf, jnp.float32), wait)

    return TrainState(
        params=weights(),
        moments=(optax.ScaleByAdamState(number, weights(), weights()), optax.EmptyState()),
        step=number,
        epoch=2 * number,
        order=jax.random.key(seed),
        noise=jax.random.key(seed + 100),
        carry=(jnp.asarray(rng.normal(size=(2, 2)), jnp.float32),),
        average=weights(),
        rate=jnp.asarray(rng.uniform(), jnp.float32),
        position=Position(number, jax.random.key(seed + 200)),
        monitor=Monitor(best(number), number % 2 == 0, best(number + 1), number),
        best=weights(),
    )


OLD, FRESH = full_state(7), full_state(8)


def test_all_ones_is_the_identity_and_all_zeros_the_fresh_state():
    assert small.bits(mixed(spread(CONTINUE, OLD), OLD, FRESH)) == small.bits(OLD)
    assert small.bits(mixed(spread(SCRATCH, OLD), OLD, FRESH)) == small.bits(FRESH)


@given(policy=small.policies)
@settings(max_examples=60)
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


# ---- on the states of real learners


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
    return Origin(key, init_params(learner, key), jnp.asarray(redraw), jnp.asarray(reseed))


def test_restart_is_every_named_policy_on_the_state_of_every_optimizer():
    learner = small.of_every_optimizer(dropout=True)
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
    new = restarted(learner, policy, origin, old, 1)
    close(new.params, jax.tree.map(lambda a, b: 0.25 * a + 0.75 * b, old.params, origin.params))
    assert small.bits(new.moments.z) == small.bits(new.params)


EVERYTHING = small.everything()
OF_EVERYTHING = trained(EVERYTHING, origin_of(EVERYTHING).params)
again = partial(restarted, EVERYTHING)


def test_the_state_that_this_is_tried_on_differs_from_a_fresh_one_in_every_leaf():
    fresh = begun(EVERYTHING, jax.random.key(3), origin_of(EVERYTHING).params)
    for old, new in zip(*map(jax.tree.leaves, (OF_EVERYTHING, fresh)), strict=True):
        assert small.bits(old) != small.bits(new)


@given(policy=small.whole_policies, redraw=st.booleans(), reseed=st.booleans(), number=st.integers(1, 5))
@settings(max_examples=60)
@example(policy=CONTINUE, redraw=True, reseed=True, number=3)
@example(policy=SCRATCH, redraw=False, reseed=False, number=3)
def test_restart_is_law_2_over_every_component_of_a_real_state(policy, redraw, reseed, number):
    origin = origin_of(EVERYTHING, redraw, reseed)
    fractions, old = spread(policy, OF_EVERYTHING), OF_EVERYTHING
    new = again(fractions, origin, old, number)
    drawn = init_params(EVERYTHING, origin.key, number) if redraw else origin.params
    fresh = begun(EVERYTHING, origin.key, new.params, number if reseed else 0)._replace(params=drawn)
    for name in TrainState._fields:
        parts = (getattr(tree, name) for tree in (fractions, old, fresh, new))
        for f, kept, dropped, got in zip(*map(jax.tree.leaves, parts), strict=True):
            assert small.bits(got) == small.bits(kept if f == 1 else dropped), name
    assert small.bits(again(fractions, origin, new, number)) == small.bits(new)


@pytest.mark.parametrize("redraw", [False, True])
@pytest.mark.parametrize("reseed", [False, True])
def test_fresh_weights_and_streams_return_or_are_drawn_again_as_the_arm_says(redraw, reseed):
    origin, policy = origin_of(EVERYTHING, redraw, reseed), spread(SCRATCH, OF_EVERYTHING)
    first, second = (again(policy, origin, OF_EVERYTHING, n) for n in (1, 2))
    assert (small.bits(first.params) == small.bits(second.params)) is not redraw
    assert (small.bits(first.params) == small.bits(origin.params)) is not redraw
    for stream in ("order", "noise"):
        assert (small.bits(getattr(first, stream)) == small.bits(getattr(second, stream))) is not reseed


@pytest.mark.parametrize("policy", [SCRATCH, SCRATCH._replace(params=0.3)])
def test_weights_return_to_the_same_bits_whether_or_not_a_draw_is_compiled(policy):
    with_draw = origin_of(EVERYTHING)
    fractions, without = spread(policy, OF_EVERYTHING), with_draw._replace(redraw=())
    states = [again(fractions, origin, OF_EVERYTHING, 2) for origin in (with_draw, without)]
    assert small.bits(states[0]) == small.bits(states[1])


def test_a_fraction_of_the_average_blends_it_with_the_weights_that_survive():
    policy = spread(CONTINUE._replace(params=0.5, average=0.25), OF_EVERYTHING)
    new = again(policy, origin_of(EVERYTHING), OF_EVERYTHING, 1)
    close(new.average, jax.tree.map(lambda a, w: 0.25 * a + 0.75 * w, OF_EVERYTHING.average, new.params))
