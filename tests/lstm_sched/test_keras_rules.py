"""Keras' arguments become data or are refused by name; what a rate rule does to a run under each way of calling fit."""

import functools
import math

import jax
import numpy as np
import pytest
from helpers import small
from helpers.keras_callbacks import early_stopping, reduce_on_plateau

from lstm_sched import monitor, rules
from lstm_sched.loop import run
from lstm_sched.members import start
from lstm_sched.presets import CONTINUE, KERAS_INITIAL_EPOCH, KERAS_LOOP, KERAS_RECOMPILE

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
        watching=monitor.watch(EPOCHS, rate),
    )
    return np.asarray(run_jit(LEARNER, member, DATA, start(LEARNER, member.origin), EPOCHS)[1].rate)


@pytest.mark.parametrize("policy", [CONTINUE, KERAS_INITIAL_EPOCH], ids=["one fit", "initial_epoch"])
def test_a_rule_that_multiplies_the_current_rate_compounds_to_nothing(policy):
    rate_E = rates(monitor.compounding(FALLING), policy)
    np.testing.assert_allclose(rate_E[:80], 1e-3 * np.cumprod(FALLING)[:80], rtol=1e-5)
    assert (rate_E[83:] < 1e-36).all()
    assert (rate_E[92:] == 0).all()


def test_the_same_rule_never_acts_where_each_fit_begins_at_epoch_0():
    assert (rates(monitor.compounding(FALLING), KERAS_LOOP) == np.float32(1e-3)).all()


def test_a_rule_that_sets_the_rate_sets_it_once():
    rate_E = rates(monitor.absolute(FALLING), CONTINUE)
    np.testing.assert_allclose(rate_E, 1e-3 * FALLING, rtol=1e-6)
    assert (rates(monitor.absolute(FALLING), KERAS_LOOP) == np.float32(1e-3)).all()


def test_what_has_built_up_is_lost_with_the_optimizer():
    halving = monitor.compounding(np.full(EPOCHS, 0.5))
    np.testing.assert_allclose(rates(halving, KERAS_LOOP), 1e-3 * 0.5 ** np.arange(1, 101), rtol=1e-5)
    np.testing.assert_allclose(rates(halving, KERAS_RECOMPILE), 5e-4, rtol=1e-6)


@pytest.mark.parametrize("epochs", [1, 7])
@pytest.mark.parametrize("frequency", [1, 2, np.int64(3), 10, [2, 5], (1,), np.array([7]), [], range(1, 4)])
def test_validation_freq_counts_from_1_as_an_interval_or_a_list(epochs, frequency):
    def shown(number):
        return number % frequency == 0 if np.ndim(frequency) == 0 else number in list(frequency)

    if np.ndim(frequency) and not set(frequency) <= set(range(1, epochs + 1)):
        with pytest.raises(ValueError, match=rf"validation_freq: .*; allowed: epochs from 1 to {epochs}"):
            monitor.watch(epochs, validation_freq=frequency)
        return
    watch = monitor.watch(epochs, validation_freq=frequency)
    assert watch.validated_E.tolist() == [shown(number) for number in range(1, epochs + 1)]


@pytest.mark.parametrize("frequency", [0, -1, 2.0, None])
def test_an_interval_is_a_whole_number_of_epochs(frequency):
    with pytest.raises(ValueError, match=f"validation_freq: {frequency}; allowed: 1 or more epochs"):
        monitor.watch(5, validation_freq=frequency)


@pytest.mark.parametrize("value", [-1, 1.5, 2**31, math.nan, "3"])
@pytest.mark.parametrize("name", ["patience", "start_from", "cooldown"])
def test_a_number_of_epochs_is_whole_and_not_negative(name, value):
    make = monitor.plateau if name == "cooldown" else monitor.stopping
    with pytest.raises(ValueError, match=rf"{name}: {value!r}; allowed: a whole number of epochs, 0 or more"):
        make(**{name: value})


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
@pytest.mark.parametrize("name", ["min_delta", "factor", "min_rate"])
def test_a_difference_and_a_rate_are_finite_and_not_negative(name, value):
    with pytest.raises(ValueError, match=rf"{name}: {value!r}; allowed: finite and 0 or more"):
        monitor.plateau(**{name: value})
    if name == "min_delta":
        with pytest.raises(ValueError, match=rf"min_delta: {value!r}"):
            monitor.stopping(min_delta=value)


@pytest.mark.parametrize("factor", [1, 1.0, 2.0])
def test_a_plateau_lowers_the_rate(factor):
    with pytest.raises(ValueError, match=f"factor: {factor}; allowed: 0 to below 1"):
        monitor.plateau(factor=factor)


@pytest.mark.parametrize("baseline", [math.nan, math.inf, -math.inf])
def test_a_baseline_is_a_finite_loss(baseline):
    with pytest.raises(ValueError, match=f"baseline: {baseline}; allowed: finite, or None"):
        monitor.stopping(baseline=baseline)


@pytest.mark.parametrize("value", [0.1, [[0.1]], [0.1, -0.1], [math.nan], [math.inf]])
@pytest.mark.parametrize(
    ("make", "name"), [(monitor.compounding, "factor_E"), (monitor.absolute, "multiple_E")]
)
def test_a_rate_rule_is_one_number_an_epoch(make, name, value):
    with pytest.raises(ValueError, match=rf"{name}: .*; allowed: one number an epoch, finite and 0 or more"):
        make(value)


@pytest.mark.parametrize("make", [monitor.compounding, monitor.absolute])
def test_a_rate_rule_is_as_long_as_the_run(make):
    with pytest.raises(ValueError, match="rate: a table of 2 epochs; allowed: 3 or more"):
        monitor.watch(3, make([1, 1]))
    assert monitor.watch(3, make([1, 1, 1, 1])).rate.args[0].shape == (4,)


def test_every_rule_has_the_leaves_of_every_other_so_that_members_stack():
    def kinds(watch):
        return [(leaf.dtype, leaf.shape) for leaf in jax.tree.leaves(watch)]

    plain = monitor.watch(3)
    others = [
        monitor.watch(3, monitor.absolute([1, 1, 0]), monitor.stopping(1, 0, 2, baseline=1, restore=True)),
        monitor.watch(
            3, monitor.compounding([1, 1, 0]), plateau=monitor.plateau(1, 0, 0, 2, 0), validation_freq=[1]
        ),
    ]
    assert all(kinds(other) == kinds(plain) for other in others)
    assert all(jax.tree.structure(other) == jax.tree.structure(plain) for other in others)


# ---- what the rules make of a run

FEW, PASS = 6, small.data(10)
WATCHED = small.learner("momentum", watched=True)


def watched(policy=CONTINUE, fits=(), ends=None, **rules_of_keras):
    """Progress and log of a run whose validation loss falls and rises."""
    watching = monitor.watch(FEW, **rules_of_keras)
    when, ends = rules.at_epochs(fits, FEW), rules.never(FEW) if ends is None else ends
    member = small.a_member(
        WATCHED, PASS, FEW, rate=0.1, policy=policy, when=when, ends=ends, watching=watching
    )
    return run_jit(WATCHED, member, PASS, start(WATCHED, member.origin), FEW, FEW)


@functools.cache
def weights_after():
    """Of each epoch of that run without a rule."""
    member = small.a_member(WATCHED, PASS, FEW, rate=0.1, ends=rules.never(FEW))
    begin = start(WATCHED, member.origin)
    runs = [run_jit(WATCHED, member, PASS, begin, FEW, e + 1)[0] for e in range(FEW)]
    return [small.bits(progress.state.params) for progress in runs]


@pytest.mark.parametrize(
    ("patience", "min_delta", "start_from", "restore"),
    [
        (0, 0.0, 0, False),
        (1, 0.0, 0, True),
        (2, 0.0, 0, True),
        (2, 0.0, 2, True),
        (1, 10.0, 0, False),
        (9, 0.0, 0, True),
        (0, 0.0, 9, True),  # no epoch counts: there is no best to restore
    ],
)
def test_a_run_stops_where_keras_would_and_ends_with_the_weights_that_keras_would(
    patience, min_delta, start_from, restore
):
    rule = monitor.stopping(patience, min_delta, start_from, restore=restore)
    progress, log = watched(stopping=rule, ends=rules.ends(FEW, FEW))
    trace = early_stopping(watched()[1].val.tolist(), patience, min_delta, start_from, None)
    last = next((e for e, (stopped, *_) in enumerate(trace) if stopped), FEW - 1)
    assert log.trained.tolist() == [e <= last for e in range(FEW)]
    assert (log.val[last:] == log.val[last]).all()
    assert int(progress.clock) == FEW
    assert int(progress.state.step) == 3 * (last + 1)
    best = trace[last][2]
    kept = best if restore and best is not None else last
    assert small.bits(progress.state.params) == weights_after()[kept]


@pytest.mark.parametrize("cooldown", [0, 2])
def test_a_runs_rate_falls_where_keras_would_lower_it(cooldown):
    _, log = watched(plateau=monitor.plateau(1, 0.5, cooldown=cooldown, min_rate=0.03))
    trace = reduce_on_plateau(log.val.tolist(), 0.1, 1, 0.5, 1e-4, cooldown, 0.03)
    rates = [0.1] + [rate for rate, *_ in trace[:-1]]
    assert len(set(rates)) > 1
    np.testing.assert_allclose(log.rate, rates, rtol=1e-6)


def test_no_rule_acts_in_a_loop_of_fits_of_one_epoch():
    plain, plain_log = watched()
    progress, log = watched(
        KERAS_LOOP,
        range(1, FEW),
        rules.ends(1, FEW),
        stopping=monitor.stopping(0, restore=True),
        plateau=monitor.plateau(0),
        validation_freq=1,
    )
    assert small.bits(log._replace(boundary=())) == small.bits(plain_log._replace(boundary=()))
    assert small.bits(progress.state.params) == small.bits(plain.state.params)


def test_a_fit_that_has_stopped_trains_on_after_a_boundary_that_forgets_it():
    rule = monitor.stopping(1)
    for policy, after in ((KERAS_LOOP, True), (CONTINUE, False)):
        progress, log = watched(policy, [4], stopping=rule)
        assert log.trained.tolist() == [True, True, True, False, after, after]
        assert log.boundary.tolist() == [e == 4 for e in range(FEW)]
        assert int(progress.state.step) == 3 * sum(log.trained.tolist())


@pytest.mark.parametrize(("policy", "seen"), [(CONTINUE, True), (KERAS_LOOP, False)])
def test_a_loop_of_fits_of_one_epoch_never_validates_every_second_one(policy, seen):
    progress, log = watched(policy, range(1, FEW), stopping=monitor.stopping(0), validation_freq=2)
    assert progress.state.monitor.stopping.seen == seen
    assert log.trained.all() != seen
