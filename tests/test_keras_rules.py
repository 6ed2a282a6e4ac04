"""Keras' arguments become data or are refused by name; what a rate rule does to a run under each way of calling fit."""

import math

import jax
import numpy as np
import pytest
import small

from lstm_sched import keras_rules as K
from lstm_sched import rules
from lstm_sched.member import start
from lstm_sched.policies import CONTINUE, KERAS_INITIAL_EPOCH, KERAS_LOOP, KERAS_RECOMPILE
from lstm_sched.train import run

EPOCHS = 100
DATA = small.data(4)
LEARNER = small.learner(watched=True)
run_jit = jax.jit(run, static_argnames=("learner", "epochs"))
FALLING = np.where(np.arange(EPOCHS) < 50, 1.0, 0.1)  # example 3: lr if epoch < 50 else lr * 0.1


def rates(rate, policy):
    """The rate of each epoch that a run logs, from 1e-3, with a boundary before every epoch."""
    member = small.a_member(
        LEARNER,
        DATA,
        EPOCHS,
        rate=1e-3,
        policy=policy,
        when=rules.every(1, EPOCHS),
        watching=K.watch(EPOCHS, rate),
    )
    return np.asarray(run_jit(LEARNER, member, DATA, start(LEARNER, member.origin), EPOCHS)[1].rate)


@pytest.mark.parametrize("policy", [CONTINUE, KERAS_INITIAL_EPOCH], ids=["one fit", "initial_epoch"])
def test_a_rule_that_multiplies_the_current_rate_compounds_to_nothing(policy):
    rate_E = rates(K.compounding(FALLING), policy)
    np.testing.assert_allclose(rate_E[:80], 1e-3 * np.cumprod(FALLING)[:80], rtol=1e-5)
    assert (rate_E[83:] < 1e-36).all()
    assert (rate_E[92:] == 0).all()


def test_the_same_rule_never_acts_where_each_fit_begins_at_epoch_0():
    assert (rates(K.compounding(FALLING), KERAS_LOOP) == np.float32(1e-3)).all()


def test_a_rule_that_sets_the_rate_sets_it_once():
    rate_E = rates(K.absolute(FALLING), CONTINUE)
    np.testing.assert_allclose(rate_E, 1e-3 * FALLING, rtol=1e-6)
    assert (rates(K.absolute(FALLING), KERAS_LOOP) == np.float32(1e-3)).all()


def test_what_has_built_up_is_lost_with_the_optimizer():
    halving = K.compounding(np.full(EPOCHS, 0.5))
    np.testing.assert_allclose(rates(halving, KERAS_LOOP), 1e-3 * 0.5 ** np.arange(1, 101), rtol=1e-5)
    np.testing.assert_allclose(rates(halving, KERAS_RECOMPILE), 5e-4, rtol=1e-6)


@pytest.mark.parametrize("epochs", [1, 7])
@pytest.mark.parametrize("frequency", [1, 2, np.int64(3), 10, [2, 5], (1,), np.array([7]), [], range(1, 4)])
def test_validation_freq_counts_from_1_as_an_interval_or_a_list(epochs, frequency):
    def shown(number):
        return number % frequency == 0 if np.ndim(frequency) == 0 else number in list(frequency)

    if np.ndim(frequency) and not set(frequency) <= set(range(1, epochs + 1)):
        with pytest.raises(ValueError, match=rf"validation_freq: .*; allowed: epochs from 1 to {epochs}"):
            K.watch(epochs, validation_freq=frequency)
        return
    watch = K.watch(epochs, validation_freq=frequency)
    assert watch.validated_E.tolist() == [shown(number) for number in range(1, epochs + 1)]


@pytest.mark.parametrize("frequency", [0, -1, 2.0, None])
def test_an_interval_is_a_whole_number_of_epochs(frequency):
    with pytest.raises(ValueError, match=f"validation_freq: {frequency}; allowed: 1 or more epochs"):
        K.watch(5, validation_freq=frequency)


@pytest.mark.parametrize("value", [-1, 1.5, 2**31, math.nan, "3"])
@pytest.mark.parametrize("name", ["patience", "start_from", "cooldown"])
def test_a_number_of_epochs_is_whole_and_not_negative(name, value):
    make = K.plateau if name == "cooldown" else K.stopping
    with pytest.raises(ValueError, match=rf"{name}: {value!r}; allowed: a whole number of epochs, 0 or more"):
        make(**{name: value})


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
@pytest.mark.parametrize("name", ["min_delta", "factor", "min_rate"])
def test_a_difference_and_a_rate_are_finite_and_not_negative(name, value):
    with pytest.raises(ValueError, match=rf"{name}: {value!r}; allowed: finite and 0 or more"):
        K.plateau(**{name: value})
    if name == "min_delta":
        with pytest.raises(ValueError, match=rf"min_delta: {value!r}"):
            K.stopping(min_delta=value)


@pytest.mark.parametrize("factor", [1, 1.0, 2.0])
def test_a_plateau_lowers_the_rate(factor):
    with pytest.raises(ValueError, match=f"factor: {factor}; allowed: 0 to below 1"):
        K.plateau(factor=factor)


@pytest.mark.parametrize("baseline", [math.nan, math.inf, -math.inf])
def test_a_baseline_is_a_finite_loss(baseline):
    with pytest.raises(ValueError, match=f"baseline: {baseline}; allowed: finite, or None"):
        K.stopping(baseline=baseline)


@pytest.mark.parametrize("value", [0.1, [[0.1]], [0.1, -0.1], [math.nan], [math.inf]])
@pytest.mark.parametrize(("make", "name"), [(K.compounding, "factor_E"), (K.absolute, "multiple_E")])
def test_a_rate_rule_is_one_number_an_epoch(make, name, value):
    with pytest.raises(ValueError, match=rf"{name}: .*; allowed: one number an epoch, finite and 0 or more"):
        make(value)


def test_every_rule_has_the_leaves_of_every_other_so_that_members_stack():
    def kinds(watch):
        return [(leaf.dtype, leaf.shape) for leaf in jax.tree.leaves(watch)]

    plain = K.watch(3)
    others = [
        K.watch(3, K.absolute([1, 1, 0]), K.stopping(1, 0, 2, baseline=1, restore=True)),
        K.watch(3, K.compounding([1, 1, 0]), plateau=K.plateau(1, 0, 0, 2, 0), validation_freq=[1]),
    ]
    assert all(kinds(other) == kinds(plain) for other in others)
    assert all(jax.tree.structure(other) == jax.tree.structure(plain) for other in others)
