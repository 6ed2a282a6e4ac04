"""Learning rates as arrays: an optax schedule tabulated once to the rate of every step.

A table is data, so members of one compiled program may differ in schedule. Letters: S steps.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array


def tabulate(schedule: optax.Schedule | float, steps: int) -> Array:
    """Turn a schedule into a table of learning rates.

    Args:
        schedule: any optax schedule, or a number for a constant rate.
        steps: the number of steps of the run: epochs × `steps_per_epoch`.

    Returns:
        rates_S: the learning rate of steps 0 to steps − 1, for `Hyper`.

    Raises:
        ValueError: no step, or a rate that is negative or not finite.
    """
    if steps < 1:
        raise ValueError(f"steps: {steps}; allowed: 1 or more")
    if not callable(schedule):
        schedule = optax.constant_schedule(schedule)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        rates = jnp.asarray(jax.vmap(schedule)(jnp.arange(steps)), float)
    rates_S = jnp.broadcast_to(rates, (steps,))
    bad = np.flatnonzero(~(np.isfinite(rates_S) & (np.asarray(rates_S) >= 0)))
    if bad.size:
        raise ValueError(f"rate of step {bad[0]}: {rates_S[bad[0]]}; allowed: finite and 0 or more")
    return rates_S


# ---- schedules by name


def sgdr(lr: float, steps: int, cycles: int = 4) -> optax.Schedule:
    """Cosine annealing with warm restarts (Loshchilov and Hutter 2017).

    Args:
        lr: the learning rate at the beginning of each cycle.
        steps: the number of steps of the run.
        cycles: how many cycles; they are of equal length, and the last one takes the steps that are left.

    Returns:
        The schedule, for `tabulate`.

    Raises:
        ValueError: there are no cycles, or more of them than steps.
    """
    if not 1 <= cycles <= steps:
        raise ValueError(f"cycles: {cycles}; allowed: 1 to {steps}, the number of steps")
    length = steps // cycles
    lengths = [length] * (cycles - 1) + [steps - length * (cycles - 1)]
    return optax.join_schedules(
        [optax.cosine_decay_schedule(lr, n) for n in lengths], np.cumsum(lengths[:-1]).tolist()
    )


def warmup_cosine(lr: float, steps: int, warm: float = 0.1) -> optax.Schedule:
    """Linear from 0 over the first tenth of the steps, then half a cosine to 0."""
    return optax.warmup_cosine_decay_schedule(0.0, lr, max(1, int(warm * steps)), max(2, steps))


MakeSchedule = Callable[[float, int], optax.Schedule]  # of a peak rate and a number of steps

SCHEDULES: dict[str, MakeSchedule] = {
    "constant": lambda lr, steps: optax.constant_schedule(lr),
    "linear": lambda lr, steps: optax.linear_schedule(lr, 0.0, steps),
    "cosine": lambda lr, steps: optax.cosine_decay_schedule(lr, steps),
    "warmup_cosine": warmup_cosine,
    "exponential": lambda lr, steps: optax.exponential_decay(lr, steps, 0.01),
    "one_cycle": lambda lr, steps: optax.cosine_onecycle_schedule(max(4, steps), lr),
    "sgdr": partial(sgdr, cycles=4),
}


# ---- tables of arms that change the rate, too


def each_fit(make: MakeSchedule, lr: float, steps: int, fit: int) -> Array:
    """rates_S of a schedule that is as long as a fit, and begins again with each: a saw-tooth."""
    return jnp.tile(tabulate(make(lr, fit), fit), -(-steps // fit))[:steps]


def growing(make: MakeSchedule, lr: float, steps: int, fit: int) -> Array:
    """rates_S where each fit reads a schedule that ends with it, so that the horizon grows with each fit."""

    def last(end: int) -> Array:
        schedule = make(lr, end)
        return tabulate(lambda step: schedule(step + end - fit), fit)  # of one shape, so compiled once

    return jnp.concatenate([last(end) for end in range(fit, steps + fit, fit)])[:steps]


def _rewarmed(make: MakeSchedule, lr: float, steps: int, fit: int, factor: Callable, part: float) -> Array:
    """The run's schedule, but the first `part` of each later fit has `factor` × the rate at its start."""
    rates_S, step_S = tabulate(make(lr, steps), steps), np.arange(steps)
    warm, since_S = max(1, round(part * fit)), step_S % fit
    warms_S = (step_S >= fit) & (since_S < warm)
    return jnp.where(warms_S, jnp.asarray(factor(since_S / warm), float) * rates_S[step_S - since_S], rates_S)


def _fastai_cycle(lr: float, steps: int) -> optax.Schedule:
    """fastai's defaults. In optax the last factor divides the first rate, not the peak."""
    return optax.cosine_onecycle_schedule(
        max(4, steps), lr, pct_start=0.25, div_factor=25.0, final_div_factor=4e3
    )


# Name of a policy -> (schedule, peak rate, steps of the run, steps per fit) -> rates_S
TABLES: dict[str, Callable[[MakeSchedule, float, int, int], Array]] = {
    "hugging_face_train": each_fit,
    "composer_fit": growing,
    "composer_reset_time": each_fit,
    "fastai_one_cycle": lambda make, *sizes: each_fit(_fastai_cycle, *sizes),
    "sgdr": lambda make, *sizes: each_fit(SCHEDULES["cosine"], *sizes),
    # SPAM warms up along a cosine, for 150 of the 500 steps between two resets
    "spam": partial(_rewarmed, factor=lambda k: 1 - 0.99 * (1 + np.cos(np.pi * k)) / 2, part=0.3),
    # ReLoRA warms up linearly, for a tenth of a cycle
    "relora": partial(_rewarmed, factor=lambda k: k, part=0.1),
}


def rates(name: str, schedule: str, lr: float, steps: int, fit: int) -> Array:
    """Make the table of learning rates of an arm.

    Args:
        name: a policy; those in TABLES change the learning rate in each fit, all others leave the schedule as it is.
            `spam` and `relora` scale their warm-ups with the length of a fit. Sources are those of `presets`.
        schedule: a name in SCHEDULES.
        lr: the peak learning rate.
        steps: steps of the run.
        fit: steps per fit.

    Returns:
        rates_S, for `Hyper`.
    """
    make = SCHEDULES[schedule]
    return TABLES[name](make, lr, steps, fit) if name in TABLES else tabulate(make(lr, steps), steps)
