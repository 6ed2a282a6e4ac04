"""Law 2, and that a policy is exhaustive, checked and matched to the right leaves."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_sched import fractions as F
from lstm_sched import state as S
from lstm_sched.fractions import moment_of, spread
from lstm_sched.optimizers import OPTIMIZERS
from lstm_sched.policies import CONTINUE, DROP_MOMENTS, POLICIES, SCRATCH
from lstm_sched.state import Moments, TrainState, mix, restart

PARTS = ("mu", "nu", "count", "other")


def full_state(seed: int) -> TrainState:
    """Every component in use, with the values that arithmetic would damage."""
    rng = np.random.default_rng(seed)

    def weights():
        return {
            "w": jnp.asarray(rng.normal(size=3), jnp.float32),
            "odd": jnp.asarray([np.nan, -0.0, np.inf, 1e-40], jnp.float32),
        }

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
        position=jnp.asarray(seed, jnp.int32),
        monitor={"wait": jnp.asarray(seed, jnp.int32), "stopped": jnp.asarray(seed % 2 == 0)},
        best=weights(),
    )


OLD, FRESH = full_state(7), full_state(8)
fraction = st.one_of(st.sampled_from([0, 1]), st.floats(1e-6, 1 - 1e-6))
flag = st.sampled_from([0, 1])
moments = st.one_of(fraction, st.builds(Moments, mu=fraction, nu=fraction, count=flag, other=flag))
kinds = {"params": fraction, "moments": moments, "average": fraction}
policies = st.builds(F.keep, **{name: kinds.get(name, flag) for name in TrainState._fields})
whole = st.one_of(flag, st.builds(Moments, mu=flag, nu=flag, count=flag, other=flag))
whole_policies = st.builds(
    F.keep, **{name: whole if name == "moments" else flag for name in TrainState._fields}
)
mixed = jax.jit(mix)


def test_all_ones_is_the_identity_and_all_zeros_the_fresh_state():
    ones, zeros = spread(CONTINUE, OLD), spread(SCRATCH, OLD)
    assert small.bits(mixed(ones, OLD, FRESH)) == small.bits(OLD)
    assert small.bits(mixed(zeros, OLD, FRESH)) == small.bits(FRESH)


@given(policy=whole_policies)
@settings(deadline=None, max_examples=60)
def test_whole_fractions_are_idempotent_and_touch_nothing_that_they_keep(policy):
    fractions = spread(policy, OLD)
    once = mixed(fractions, OLD, FRESH)
    assert small.bits(mixed(fractions, once, FRESH)) == small.bits(once)
    leaves = zip(*map(jax.tree.leaves, (fractions, OLD, FRESH, once)), strict=True)
    for f, old, fresh, new in leaves:
        assert small.bits(new) == small.bits(old if f == 1 else fresh)


@given(policy=policies)
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


@pytest.mark.parametrize("name", TrainState._fields)
def test_a_policy_names_every_component(name):
    fractions = CONTINUE._asdict()
    del fractions[name]
    with pytest.raises(TypeError, match=name):
        F.keep(**fractions)


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan"), float("inf"), "1", None])
@pytest.mark.parametrize("name", TrainState._fields)
def test_a_fraction_outside_0_to_1_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"policy {name}"):
        F.keep(**(CONTINUE._asdict() | {name: value}))


@pytest.mark.parametrize("name", [f for f in TrainState._fields if f not in F.PARTIAL])
def test_keys_counters_and_flags_are_kept_or_not(name):
    with pytest.raises(ValueError, match=f"policy {name}.*cannot be kept in part"):
        F.keep(**(CONTINUE._asdict() | {name: 0.5}))


def test_a_count_cannot_be_kept_in_part():
    with pytest.raises(ValueError, match=r"moments\.count"):
        F.keep(**(CONTINUE._asdict() | {"moments": Moments(1, 1, 0.5, 1)}))


def test_an_integer_leaf_among_the_other_moments_is_refused_when_spread():
    learner = small.learner(lambda rate: optax.MultiSteps(optax.adam(rate), 2).gradient_transformation())
    state = S.begin(learner, jax.random.key(0), learner.init(jax.random.key(0)))
    policy = CONTINUE._replace(moments=Moments(1, 1, 1, 0.5))
    with pytest.raises(ValueError, match="mini_step"):
        spread(policy, state)


def test_one_fraction_for_moments_blends_floats_and_keeps_integers():
    fractions = spread(CONTINUE._replace(moments=0.5), OLD).moments[0]
    assert fractions.count == 1
    assert fractions.mu["w"] == 0.5
    assert fractions.nu["w"] == 0.5


def found_in(moments, params):
    leaves = jax.tree_util.tree_leaves_with_path
    weights = {path: leaf.shape for path, leaf in leaves(params)}
    return [moment_of(path, leaf.shape, weights) for path, leaf in leaves(moments)]


class Named(NamedTuple):
    """Weights whose own field names look like an optimizer's."""

    mu: Any
    count: Any


def test_the_innermost_optax_name_decides_whatever_the_weights_are_called():
    params = Named(mu=jnp.ones(2), count=jnp.ones(2))
    moments = optax.chain(optax.clip(1.0), optax.adam(1.0)).init(params)
    assert found_in(moments, params) == ["count", "mu", "mu", "nu", "nu"]
    wrapped = optax.MultiSteps(optax.adam(1.0), 2).init(params)
    assert found_in(wrapped, params) == ["other"] * 2 + ["count", "mu", "mu", "nu", "nu"] + ["other"] * 2


EXPECTED = {
    "keras_adam": {"mu", "nu", "count"},
    "keras_adamw": {"mu", "nu", "count"},
    "keras_lion": {"mu", "count"},
    "keras_momentum": {"mu"},
    "keras_nesterov": {"mu"},
    "keras_rmsprop": {"nu"},
    "keras_sgd": set(),
    "adam": {"mu", "nu", "count"},
    "adamw": {"mu", "nu", "count"},
    "adamax": {"mu", "nu", "count"},
    "adabelief": {"mu", "nu", "count"},
    "amsgrad": {"mu", "nu", "count"},
    "lamb": {"mu", "nu", "count"},
    "lion": {"mu", "count"},
    "nadam": {"mu", "nu", "count"},
    "radam": {"mu", "nu", "count"},
    "rmsprop": {"nu"},
    "sgd": set(),
    "momentum": {"mu"},
    "yogi": {"mu", "nu", "count"},
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_moments_are_found_in_every_optimizer_offered(name):
    learner = small.learner(name)
    params = learner.init(jax.random.key(0))
    state = S.begin(learner, jax.random.key(0), params)
    assert set(found_in(state.moments, params)) == EXPECTED[name]


def trained(learner, params):
    """A state in which nothing is as it began."""
    state = S.begin(learner, jax.random.key(5), params)

    def moved(x):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.fold_in(x, 9)
        return x + jnp.ones((), x.dtype)

    return jax.tree.map(moved, state)


def origin_of(learner, redraw=False, reseed=False):
    key = jax.random.key(3)
    return S.Origin(key, S.draw(learner, key), jnp.asarray(redraw), jnp.asarray(reseed))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", POLICIES)
def test_restart_is_the_named_policy_on_a_real_state(name, optimizer):
    learner = small.learner(optimizer, noisy=True)
    origin = origin_of(learner)
    old = trained(learner, origin.params)
    policy = spread(POLICIES[name], old)
    again = jax.jit(partial(restart, learner))
    new = again(policy, origin, old, 2)
    fresh = S.begin(learner, origin.key, new.params)
    assert small.bits(new) == small.bits(mix(policy, old, fresh._replace(params=origin.params)))
    assert small.bits(again(policy, origin, new, 2)) == small.bits(new)


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
    learner = small.learner(noisy=True)
    origin = origin_of(learner, redraw, reseed)
    old = trained(learner, origin.params)
    policy = spread(SCRATCH, old)
    first, second = (restart(learner, policy, origin, old, n) for n in (1, 2))
    assert (small.bits(first.params) == small.bits(second.params)) is not redraw
    assert (small.bits(first.params) == small.bits(origin.params)) is not redraw
    for stream in ("order", "noise"):
        assert (small.bits(getattr(first, stream)) == small.bits(getattr(second, stream))) is not reseed


@given(policy=policies)
@settings(deadline=None, max_examples=30)
def test_a_policy_comes_back_from_its_dictionary(policy):
    assert F.from_dict(F.to_dict(policy)) == policy


def test_a_dictionary_with_an_unknown_component_is_refused():
    with pytest.raises(TypeError, match="momentum"):
        F.from_dict(F.to_dict(CONTINUE) | {"momentum": 1})
