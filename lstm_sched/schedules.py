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
    """rates_S: the learning rate of steps 0 … steps−1. Raises ValueError for a rate that is negative or not finite."""
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


def sgdr(lr: float, steps: int, cycles: int = 4) -> optax.Schedule:
    """Cosine annealing with warm restarts (Loshchilov and Hutter 2017): equal cycles, the last takes what is left."""
    if not 1 <= cycles <= steps:
        raise ValueError(f"cycles: {cycles}; allowed: 1 to {steps}, the number of steps")
    length = steps // cycles
    lengths = [length] * (cycles - 1) + [steps - length * (cycles - 1)]
    return optax.join_schedules(
        [optax.cosine_decay_schedule(lr, n) for n in lengths], np.cumsum(lengths[:-1]).tolist()
    )


def warmup_cosine(lr: float, steps: int, warm: float = 0.1) -> optax.Schedule:
    """Linear from 0 over the first tenth, then half a cosine to 0."""
    return optax.warmup_cosine_decay_schedule(0.0, lr, max(1, int(warm * steps)), max(2, steps))


# name -> (peak rate, steps of the whole run) -> schedule
SCHEDULES: dict[str, Callable[[float, int], optax.Schedule]] = {
    "constant": lambda lr, steps: optax.constant_schedule(lr),
    "linear": lambda lr, steps: optax.linear_schedule(lr, 0.0, steps),
    "cosine": lambda lr, steps: optax.cosine_decay_schedule(lr, steps),
    "warmup_cosine": warmup_cosine,
    "exponential": lambda lr, steps: optax.exponential_decay(lr, steps, 0.01),
    "one_cycle": lambda lr, steps: optax.cosine_onecycle_schedule(max(4, steps), lr),
    "sgdr": partial(sgdr, cycles=4),
}
