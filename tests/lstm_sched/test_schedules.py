"""A table is its schedule, step by step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lstm_sched.schedules import SCHEDULES, sgdr, tabulate


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 7, 100])
def test_every_schedule_offered_starts_or_peaks_at_the_rate_and_stays_finite(name, steps):
    if name == "sgdr" and steps < 4:
        with pytest.raises(ValueError, match="cycles"):
            SCHEDULES[name](0.1, steps)
        return
    rates_S = np.asarray(tabulate(SCHEDULES[name](0.1, steps), steps))
    assert rates_S.shape == (steps,)
    assert rates_S.max() <= 0.1 * (1 + 1e-6)
    if steps == 100:
        assert rates_S.max() == pytest.approx(0.1, rel=1e-2)


@pytest.mark.parametrize(
    "schedule", [optax.cosine_decay_schedule(0.3, 50), optax.exponential_decay(0.1, 10, 0.5, 20)]
)
def test_a_table_is_the_schedule_called_at_every_step(schedule):
    with jax.numpy_dtype_promotion("standard"):
        want = [float(schedule(s)) for s in range(60)]
    np.testing.assert_allclose(tabulate(schedule, 60), want, rtol=1e-6, atol=1e-7)


def test_a_number_is_a_constant_schedule():
    np.testing.assert_array_equal(tabulate(0.25, 3), np.full(3, 0.25, np.float32))


def test_sgdr_restarts_at_the_peak_and_ends_its_last_cycle_with_the_run():
    rates_S = np.asarray(tabulate(sgdr(1.0, 103, cycles=4), 103))
    np.testing.assert_allclose(rates_S[[0, 25, 50, 75]], 1.0)
    assert np.flatnonzero(np.diff(rates_S) > 0).tolist() == [24, 49, 74]
    k = np.arange(25)
    np.testing.assert_allclose(rates_S[25:50], (1 + np.cos(np.pi * k / 25)) / 2, atol=1e-6)
    k = np.arange(28)
    np.testing.assert_allclose(rates_S[75:], (1 + np.cos(np.pi * k / 28)) / 2, atol=1e-6)


@pytest.mark.parametrize("rate", [-1.0, float("nan"), float("inf")])
def test_a_rate_that_cannot_be_is_refused_with_its_step(rate):
    with pytest.raises(ValueError, match="rate of step 2"):
        tabulate(lambda step: jnp.where(jnp.asarray(step) >= 2, rate, 1.0), 5)


def test_a_table_has_at_least_one_step():
    with pytest.raises(ValueError, match="steps: 0"):
        tabulate(0.1, 0)
