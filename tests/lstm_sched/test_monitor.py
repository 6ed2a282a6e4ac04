"""The rules on traced data against Keras' callbacks, transcribed as plain Python over one float at a time; Keras'
arguments become data or are refused by name; what the rules make of a run under each way of calling fit."""

import functools
import math
import re
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import small
from helpers.keras_callbacks import early_stopping, reduce_on_plateau
from hypothesis import example, given
from hypothesis import strategies as st
from jax import lax

from lstm_sched import monitor, rules
from lstm_sched.presets import CONTINUE, KERAS_INITIAL_EPOCH, KERAS_LOOP, KERAS_RECOMPILE

EPOCHS = 16


@jax.jit
def observed(watch: monitor.Watch, vals_E: Any, table: Any):
    """After each epoch: the memory, the factor of the rate, the epoch of the best weights (−1 for none)."""

    def after_epoch(carry, epoch_and_val):
        memory, factor, best = carry
        epoch, val = epoch_and_val
        memory, factor, better = monitor.observe(watch, memory, epoch, val, factor, table)
        carry = memory, factor, jnp.where(better, epoch, best)
        return carry, carry

    begin = monitor.begin(), jnp.ones((), float), jnp.asarray(-1, jnp.int32)
    return lax.scan(after_epoch, begin, (jnp.arange(EPOCHS, dtype=jnp.int32), vals_E))[1]


def real(low: float, high: float):
    """Numbers whose differences are normal or 0: XLA takes subnormal ones for 0 on a CPU, Keras' NumPy does not."""
    return st.floats(low, high).map(lambda x: x if abs(x) > 1e-200 else 0.0)


value = st.one_of(
    st.integers(-8, 8).map(lambda quarters: quarters / 4),  # ties
    real(-1e3, 1e3),
    st.sampled_from([math.nan, math.inf, -math.inf]),
)
losses = st.lists(value, min_size=EPOCHS, max_size=EPOCHS)
delta = st.one_of(st.sampled_from([0.0, 0.25, 1.0]), real(0, 10))
number = st.integers(0, 6)
frequency = st.one_of(st.integers(1, 4), st.lists(st.integers(1, EPOCHS), max_size=EPOCHS))


def seen_by_keras(vals, validation_freq):
    """Trainer._should_eval: the validation loss where there is one, else None."""

    def shown(epoch):
        if isinstance(validation_freq, int):
            return (epoch + 1) % validation_freq == 0
        return epoch + 1 in validation_freq

    return [val if shown(epoch) else None for epoch, val in enumerate(vals)]


@given(
    vals=losses,
    patience=number,
    min_delta=delta,
    start_from=number,
    baseline=st.one_of(st.none(), st.integers(-4, 4), real(-10, 10)),
    validation_freq=frequency,
)
@example([1.0] * EPOCHS, 3, 0.0, 0, None, 1)
@example([math.nan] * EPOCHS, 2, 0.0, 0, None, 1)
@example([0.5, 1.0, *[0.5] * (EPOCHS - 2)], 4, 0.0, 1, 0, [1, 3, 5])
def test_stopping_is_keras_early_stopping(vals, patience, min_delta, start_from, baseline, validation_freq):
    rule = monitor.stopping(patience, min_delta, start_from, baseline)
    shown = seen_by_keras(vals, validation_freq)
    want = early_stopping(shown, patience, min_delta, start_from, baseline)
    with jax.enable_x64(True):
        watch = monitor.watch(EPOCHS, stopping=rule, validation_freq=validation_freq)
        memory, factor, best_E = jax.device_get(observed(watch, jnp.asarray(vals), jnp.ones((), float)))
    for epoch, (stopped, best, best_epoch, wait) in enumerate(want):
        assert memory.stopped[epoch] == stopped
        assert memory.stopping.seen[epoch] == (best is not None)
        assert memory.stopping.wait[epoch] == wait
        assert best_E[epoch] == (-1 if best_epoch is None else best_epoch)
        np.testing.assert_equal(memory.stopping.value[epoch], np.inf if best is None else best)
    assert (factor == 1).all(), "a plateau rule that is not given never acts"


@given(
    vals=losses,
    patience=number,
    factor=st.sampled_from([0.0, 0.1, 0.5, 0.9]),
    min_delta=delta,
    cooldown=st.integers(0, 4),
    table=st.sampled_from([1.0, 0.125, 1e-3, 0.0]),
    floor=st.sampled_from([0.0, 0.03, 0.4, 1.0, 2.0]),
    validation_freq=frequency,
)
@example([1.0] * EPOCHS, 2, 0.5, 0.0, 3, 1e-3, 0.03, 1)
@example([math.nan] * EPOCHS, 1, 0.5, 0.0, 0, 1e-3, 0.0, 1)
def test_the_plateau_rule_is_keras_reduce_on_plateau(
    vals, patience, factor, min_delta, cooldown, table, floor, validation_freq
):
    min_rate = floor * table
    rule = monitor.plateau(patience, factor, min_delta, cooldown, min_rate)
    shown = seen_by_keras(vals, validation_freq)
    want = reduce_on_plateau(shown, table, patience, factor, min_delta, cooldown, min_rate)
    with jax.enable_x64(True):
        watch = monitor.watch(EPOCHS, plateau=rule, validation_freq=validation_freq)
        memory, factor_E, _ = jax.device_get(observed(watch, jnp.asarray(vals), jnp.asarray(table)))
    for epoch, (rate, best, wait, left) in enumerate(want):
        assert table * factor_E[epoch] == pytest.approx(rate, rel=1e-12)
        assert memory.plateau.wait[epoch] == wait
        assert memory.cooldown[epoch] == left
        assert memory.plateau.seen[epoch] == (best is not None)
        np.testing.assert_equal(memory.plateau.value[epoch], np.inf if best is None else best)
    assert not memory.stopped.any(), "a stopping rule that is not given never acts"


def test_in_float32_too_a_rate_at_its_floor_is_not_reduced_again():
    table, floor = np.float32(1e-2), np.float32(1e-5)
    assert floor / table * table > floor, "the factor at the floor rounds to a rate above it"
    rule = monitor.plateau(patience=1, min_delta=0.0, cooldown=2, min_rate=1e-5)
    memory, factor, _ = observed(monitor.watch(EPOCHS, plateau=rule), jnp.ones(EPOCHS), table)
    want = reduce_on_plateau([1.0] * EPOCHS, 1e-2, 1, 0.1, 0.0, 2, 1e-5)
    np.testing.assert_allclose(table * factor, [rate for rate, *_ in want], rtol=1e-6)
    assert memory.plateau.wait.tolist() == [wait for _, _, wait, _ in want]
    assert memory.cooldown.tolist() == [left for *_, left in want]


def test_what_is_not_watched_changes_nothing():
    vals_E = jnp.asarray(np.random.default_rng(0).normal(size=EPOCHS))
    never = monitor.watch(
        EPOCHS, stopping=monitor.stopping(0), plateau=monitor.plateau(0), validation_freq=[]
    )
    memory, factor, best = observed(never, vals_E, 1.0)
    begun = jax.tree.map(partial(np.full, EPOCHS), monitor.begin())
    assert small.bits(memory) == small.bits(jax.tree.map(lambda b, m: b.astype(m.dtype), begun, memory))
    assert (factor == 1).all()
    assert (best == -1).all()


def test_no_fit_stops_after_its_first_epoch_whatever_is_remembered():
    watch, worse = monitor.watch(EPOCHS, stopping=monitor.stopping(0)), jnp.ones(())
    memory, *_ = monitor.observe(watch, monitor.begin(), jnp.asarray(0), jnp.zeros(()), worse, worse)
    stopped = [monitor.observe(watch, memory, jnp.asarray(e), worse, worse, worse)[0].stopped for e in (0, 1)]
    assert [bool(stop) for stop in stopped] == [False, True]


@pytest.mark.parametrize("epoch", [3, 100])
def test_a_rate_rule_beyond_its_table_is_nan_and_a_loss_beyond_its_own_is_seen(epoch):
    rule = monitor.compounding([1.0, 0.5, 0.5])
    assert np.isnan(rule(jnp.asarray(epoch), jnp.ones(())))
    watch = monitor.watch(3, stopping=monitor.stopping(0), validation_freq=[])
    memory, _, better = monitor.observe(
        watch, monitor.begin(), jnp.asarray(epoch), jnp.zeros(()), jnp.ones(()), jnp.ones(())
    )
    assert better
    assert memory.stopping.seen


# ---- Keras' arguments


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


WHOLE, FINITE = "a whole number of epochs, 0 or more", "finite and 0 or more"
PER_EPOCH = "one number per epoch, finite and 0 or more"


@pytest.mark.parametrize(
    ("make", "field", "values", "allowed"),
    [
        (partial(monitor.watch, 5), "validation_freq", [0, -1, 2.0, None], "1 or more epochs"),
        (monitor.stopping, "patience", [-1, 1.5, 2**31, math.nan, "3"], WHOLE),
        (monitor.stopping, "start_from", [-1, 1.5, 2**31, math.nan, "3"], WHOLE),
        (monitor.plateau, "patience", [-1, 1.5], WHOLE),
        (monitor.plateau, "cooldown", [-1, 1.5, 2**31, math.nan, "3"], WHOLE),
        (monitor.stopping, "min_delta", [-0.1, math.nan, math.inf], FINITE),
        (monitor.plateau, "min_delta", [-0.1, math.nan, math.inf], FINITE),
        (monitor.plateau, "factor", [-0.1, math.nan, math.inf], FINITE),
        (monitor.plateau, "min_rate", [-0.1, math.nan, math.inf], FINITE),
        (monitor.plateau, "factor", [1, 1.0, 2.0], "0 to below 1"),
        (monitor.stopping, "baseline", [math.nan, math.inf, -math.inf], "finite, or None"),
        (monitor.compounding, "factor_E", [0.1, [[0.1]], [0.1, -0.1], [math.nan], [math.inf]], PER_EPOCH),
        (monitor.absolute, "multiple_E", [0.1, [[0.1]], [0.1, -0.1], [math.nan], [math.inf]], PER_EPOCH),
    ],
)
def test_an_argument_that_keras_would_refuse_or_ignore_is_refused_by_name(make, field, values, allowed):
    for value in values:
        with pytest.raises(ValueError, match=re.escape(f"{field}: {value!r}; allowed: {allowed}")):
            make(**{field: value})


@pytest.mark.parametrize("make", [monitor.compounding, monitor.absolute])
def test_a_rate_rule_is_as_long_as_the_run(make):
    with pytest.raises(ValueError, match="rate: a table of 2 epochs; allowed: 3 or more"):
        monitor.watch(3, make([1, 1]))
    assert monitor.watch(3, make([1, 1, 1, 1])).rate.args[0].shape == (4,)


def test_every_rule_has_the_leaves_of_every_other_so_that_members_stack():
    def kind(watch):
        return jax.tree.structure(watch), [(leaf.dtype, leaf.shape) for leaf in jax.tree.leaves(watch)]

    plain = monitor.watch(3)
    stops = monitor.stopping(1, 0, 2, baseline=1, restore=True)
    lowers = monitor.plateau(1, 0, 0, 2, 0)
    assert kind(monitor.watch(3, monitor.absolute([1, 1, 0]), stops)) == kind(plain)
    rate = monitor.compounding([1, 1, 0])
    assert kind(monitor.watch(3, rate, plateau=lowers, validation_freq=[1])) == kind(plain)


# ---- what the rules make of a run

FEW, PASS = 6, small.data(10)
WATCHED = small.learner("momentum", watched=True)


def watched(policy=CONTINUE, fits=(), ends=None, end=FEW, **arguments):
    """Progress and log of a run whose validation loss falls and rises."""
    member = small.a_member(
        WATCHED,
        PASS,
        FEW,
        rate=0.1,
        policy=policy,
        when=rules.at_epochs(fits, FEW),
        ends=rules.never(FEW) if ends is None else ends,
        watching=monitor.watch(FEW, **arguments),
    )
    return small.finish(WATCHED, member, PASS, FEW, end)


@functools.cache
def weights_after():
    """Of each epoch of that run without a rule."""
    return [small.bits(watched(end=e + 1)[0].state.params) for e in range(FEW)]


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


FACTORS = np.array([0.5, 1.0, 0.5, 2.0, 0.1, 1.0])


@pytest.mark.parametrize(
    ("rule", "policy", "factors"),
    [
        (monitor.compounding, CONTINUE, np.cumprod(FACTORS)),
        (monitor.compounding, KERAS_INITIAL_EPOCH, np.cumprod(FACTORS)),
        (monitor.compounding, KERAS_LOOP, 0.5 ** np.arange(1, FEW + 1)),  # each fit begins at epoch 0
        (monitor.compounding, KERAS_RECOMPILE, 0.5),  # what has built up is lost with the optimizer
        (monitor.absolute, CONTINUE, FACTORS),
        (monitor.absolute, KERAS_LOOP, 0.5),
    ],
)
def test_what_a_rate_rule_makes_of_a_loop_of_fits_of_one_epoch(rule, policy, factors):
    _, log = watched(policy, range(1, FEW), rate=rule(FACTORS))
    np.testing.assert_allclose(log.rate, np.broadcast_to(0.1 * factors, FEW), rtol=1e-6)


def test_no_other_rule_acts_in_a_loop_of_fits_of_one_epoch():
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
