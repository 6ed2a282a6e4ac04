"""Keras' callbacks, transcribed as plain Python over one float at a time, against the rules on traced data."""

import math
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

from lstm_sched import monitor as mo
from lstm_sched import monitor as mon

EPOCHS = 16


@jax.jit
def observed(watch: mon.Watch, vals_E: Any, table: Any):
    """After each epoch: the memory, the factor of the rate, the epoch of the best weights (−1 for none)."""

    def one(carry, epoch_and_val):
        monitor, factor, best = carry
        epoch, val = epoch_and_val
        monitor, factor, better = mon.observe(watch, monitor, epoch, val, factor, table)
        carry = monitor, factor, jnp.where(better, epoch, best)
        return carry, carry

    begin = mon.begin(), jnp.ones((), float), jnp.asarray(-1, jnp.int32)
    return lax.scan(one, begin, (jnp.arange(EPOCHS, dtype=jnp.int32), vals_E))[1]


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
    rule = mo.stopping(patience, min_delta, start_from, baseline)
    shown = seen_by_keras(vals, validation_freq)
    want = early_stopping(shown, patience, min_delta, start_from, baseline)
    with jax.enable_x64(True):
        watch = mo.watch(EPOCHS, stopping=rule, validation_freq=validation_freq)
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
    rule = mo.plateau(patience, factor, min_delta, cooldown, min_rate)
    shown = seen_by_keras(vals, validation_freq)
    want = reduce_on_plateau(shown, table, patience, factor, min_delta, cooldown, min_rate)
    with jax.enable_x64(True):
        watch = mo.watch(EPOCHS, plateau=rule, validation_freq=validation_freq)
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
    rule = mo.plateau(patience=1, min_delta=0.0, cooldown=2, min_rate=1e-5)
    memory, factor, _ = observed(mo.watch(EPOCHS, plateau=rule), jnp.ones(EPOCHS), table)
    want = reduce_on_plateau([1.0] * EPOCHS, 1e-2, 1, 0.1, 0.0, 2, 1e-5)
    np.testing.assert_allclose(table * factor, [rate for rate, *_ in want], rtol=1e-6)
    assert memory.plateau.wait.tolist() == [wait for _, _, wait, _ in want]
    assert memory.cooldown.tolist() == [left for *_, left in want]


def test_what_is_not_watched_changes_nothing():
    vals_E = jnp.asarray(np.random.default_rng(0).normal(size=EPOCHS))
    never = mo.watch(EPOCHS, stopping=mo.stopping(0), plateau=mo.plateau(0), validation_freq=[])
    memory, factor, best = observed(never, vals_E, 1.0)
    begun = jax.tree.map(partial(np.full, EPOCHS), mon.begin())
    assert small.bits(memory) == small.bits(jax.tree.map(lambda b, m: b.astype(m.dtype), begun, memory))
    assert (factor == 1).all()
    assert (best == -1).all()


def test_no_fit_stops_after_its_first_epoch_whatever_is_remembered():
    watch, worse = mo.watch(EPOCHS, stopping=mo.stopping(0)), jnp.ones(())
    memory, *_ = mon.observe(watch, mon.begin(), jnp.asarray(0), jnp.zeros(()), worse, worse)
    stopped = [mon.observe(watch, memory, jnp.asarray(e), worse, worse, worse)[0].stopped for e in (0, 1)]
    assert [bool(stop) for stop in stopped] == [False, True]


@pytest.mark.parametrize("epoch", [3, 100])
def test_a_rate_rule_beyond_its_table_is_nan_and_a_loss_beyond_its_own_is_seen(epoch):
    rule = mo.compounding([1.0, 0.5, 0.5])
    assert np.isnan(rule(jnp.asarray(epoch), jnp.ones(())))
    watch = mo.watch(3, stopping=mo.stopping(0), validation_freq=[])
    memory, _, better = mon.observe(
        watch, mon.begin(), jnp.asarray(epoch), jnp.zeros(()), jnp.ones(()), jnp.ones(())
    )
    assert better
    assert memory.stopping.seen
