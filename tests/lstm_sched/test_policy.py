"""A policy is exhaustive, checked by name, matched to the right leaves, and written as JSON."""

import json
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import pytest
from helpers import small
from hypothesis import example, given, settings

from lstm_sched.optimizers import OPTIMIZERS
from lstm_sched.policy import PARTIAL, from_dict, keep, moment_of, spread, to_dict
from lstm_sched.presets import CONTINUE, POLICIES
from lstm_sched.state import Moments, TrainState, begin


def begun(learner):
    key = jax.random.key(0)
    return begin(learner, key, learner.init(key))


@pytest.mark.parametrize("name", TrainState._fields)
def test_a_policy_names_every_component(name):
    fractions = CONTINUE._asdict()
    del fractions[name]
    with pytest.raises(TypeError, match=name):
        keep(**fractions)


@pytest.mark.parametrize("name", TrainState._fields)
def test_a_fraction_that_cannot_be_is_refused_by_name(name):
    for value in (-0.1, 1.5, float("nan"), float("inf"), "1", None):
        with pytest.raises(ValueError, match=f"policy {name}"):
            keep(**(CONTINUE._asdict() | {name: value}))
    if name not in PARTIAL:  # keys, counters and flags are kept or not
        with pytest.raises(ValueError, match=rf"policy {name}: 0.5; allowed: 0 or 1 "):
            keep(**(CONTINUE._asdict() | {name: 0.5}))


def test_a_count_cannot_be_kept_in_part():
    with pytest.raises(ValueError, match=r"moments\.count"):
        keep(**(CONTINUE._asdict() | {"moments": Moments(1, 1, 0.5, 1)}))


def test_an_integer_leaf_among_the_other_moments_is_refused_when_spread():
    learner = small.learner(lambda rate: optax.MultiSteps(optax.adam(rate), 2).gradient_transformation())
    with pytest.raises(ValueError, match="mini_step"):
        spread(CONTINUE._replace(moments=Moments(1, 1, 1, 0.5)), begun(learner))


def test_one_fraction_for_moments_blends_floats_and_keeps_integers():
    fractions = spread(CONTINUE._replace(moments=0.5), begun(small.learner("keras_adam"))).moments
    assert fractions.count == 1
    assert set(jax.tree.leaves((fractions.mu, fractions.nu))) == {0.5}


def found_in(moments, params):
    leaves = jax.tree_util.tree_leaves_with_path
    shape_of_weight = {path: leaf.shape for path, leaf in leaves(params)}
    return [moment_of(path, leaf.shape, shape_of_weight) for path, leaf in leaves(moments)]


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


EXPECTED = dict.fromkeys(OPTIMIZERS, "mu nu count") | {
    "keras_adam_reinit_v": "mu nu count other",
    "keras_lion": "mu count",
    "lion": "mu count",
    "keras_momentum": "mu",
    "keras_nesterov": "mu",
    "momentum": "mu",
    "keras_rmsprop": "nu",
    "rmsprop": "nu",
    "keras_sgd": "",
    "sgd": "",
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_moments_are_found_in_every_optimizer_offered(name):
    params = small.learner().init(jax.random.key(0))
    assert set(found_in(OPTIMIZERS[name](0.1).init(params), params)) == set(EXPECTED[name].split())


@pytest.mark.parametrize("name", ["keras_adam", "keras_momentum"])
def test_the_moments_of_an_accumulating_optimizer_are_those_of_the_one_inside(name):
    state = begun(small.learner(name, accumulate=3))
    assert set(found_in(state.moments, state.params)) == {*EXPECTED[name].split(), "other"}


def test_every_component_is_spread_over_its_own_leaves():
    state = begun(small.everything())
    assert all(jax.tree.leaves(component) for component in state)
    for name in TrainState._fields:
        fractions = spread(CONTINUE._replace(**{name: 0}), state)
        assert jax.tree.structure(fractions) == jax.tree.structure(state)
        for field, component in fractions._asdict().items():
            assert set(jax.tree.leaves(component)) == {0.0 if field == name else 1.0}


@given(policy=small.policies)
@settings(max_examples=30)
@example(policy=POLICIES["relora"])
def test_a_policy_comes_back_from_json(policy):
    assert from_dict(json.loads(json.dumps(to_dict(policy)))) == policy


def test_a_dictionary_with_an_unknown_component_is_refused():
    with pytest.raises(TypeError, match="momentum"):
        from_dict(to_dict(CONTINUE) | {"momentum": 1})
