"""A policy is exhaustive, checked by name, matched to the right leaves, and written as JSON."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import pytest
from helpers import small
from hypothesis import given, settings

from lstm_sched import policy as po
from lstm_sched.optimizers import OPTIMIZERS
from lstm_sched.policy import moment_of, spread
from lstm_sched.presets import CONTINUE
from lstm_sched.state import Moments, TrainState, begin


def begun(learner):
    key = jax.random.key(0)
    return begin(learner, key, learner.init(key))


@pytest.mark.parametrize("name", TrainState._fields)
def test_a_policy_names_every_component(name):
    fractions = CONTINUE._asdict()
    del fractions[name]
    with pytest.raises(TypeError, match=name):
        po.keep(**fractions)


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan"), float("inf"), "1", None])
@pytest.mark.parametrize("name", TrainState._fields)
def test_a_fraction_outside_0_to_1_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"policy {name}"):
        po.keep(**(CONTINUE._asdict() | {name: value}))


@pytest.mark.parametrize("name", [f for f in TrainState._fields if f not in po.PARTIAL])
def test_keys_counters_and_flags_are_kept_or_not(name):
    with pytest.raises(ValueError, match=f"policy {name}.*cannot be kept in part"):
        po.keep(**(CONTINUE._asdict() | {name: 0.5}))


def test_a_count_cannot_be_kept_in_part():
    with pytest.raises(ValueError, match=r"moments\.count"):
        po.keep(**(CONTINUE._asdict() | {"moments": Moments(1, 1, 0.5, 1)}))


def test_an_integer_leaf_among_the_other_moments_is_refused_when_spread():
    learner = small.learner(lambda rate: optax.MultiSteps(optax.adam(rate), 2).gradient_transformation())
    state = begun(learner)
    policy = CONTINUE._replace(moments=Moments(1, 1, 1, 0.5))
    with pytest.raises(ValueError, match="mini_step"):
        spread(policy, state)


def test_one_fraction_for_moments_blends_floats_and_keeps_integers():
    fractions = spread(CONTINUE._replace(moments=0.5), begun(small.learner("keras_adam"))).moments
    assert fractions.count == 1
    assert set(jax.tree.leaves((fractions.mu, fractions.nu))) == {0.5}


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
    "keras_adam_reinit_v": {"mu", "nu", "count", "other"},
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
    state = begun(learner)
    assert set(found_in(state.moments, state.params)) == EXPECTED[name]


@pytest.mark.parametrize("name", ["keras_adam", "keras_momentum"])
def test_the_moments_of_an_accumulating_optimizer_are_those_of_the_one_inside(name):
    learner = small.learner(name, accumulate=3)
    state = begun(learner)
    assert set(found_in(state.moments, state.params)) == EXPECTED[name] | {"other"}


def test_every_component_is_spread_over_its_own_leaves():
    state = begun(small.everything())
    assert all(jax.tree.leaves(component) for component in state)
    for name in TrainState._fields:
        fractions = spread(CONTINUE._replace(**{name: 0}), state)
        assert jax.tree.structure(fractions) == jax.tree.structure(state)
        for other, component in fractions._asdict().items():
            assert set(jax.tree.leaves(component)) == {0.0 if other == name else 1.0}


@given(policy=small.policies)
@settings(deadline=None, max_examples=30)
def test_a_policy_comes_back_from_its_dictionary(policy):
    assert po.from_dict(po.to_dict(policy)) == policy


def test_a_dictionary_with_an_unknown_component_is_refused():
    with pytest.raises(TypeError, match="momentum"):
        po.from_dict(po.to_dict(CONTINUE) | {"momentum": 1})
