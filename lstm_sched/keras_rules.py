"""Keras' callbacks as data: what `monitor.py` reads, made from Keras' own arguments and checked.

Letters: E epochs.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from jax.tree_util import Partial

from lstm_sched.monitor import Plateau, Stopping, Watch, check_rate, scheduled

NEVER = np.iinfo(np.int32).max  # a patience that no run exhausts


def watch(
    epochs: int,
    rate: Partial | None = None,
    stopping: Stopping | None = None,
    plateau: Plateau | None = None,
    validation_freq: int | Iterable[int] = 1,
) -> Watch:
    """The rules of a run of `epochs` epochs; what is not given never acts.

    `validation_freq` as in Keras: after every n-th epoch, or after those listed, both counted from 1. ValueError for
    an n below 1, a listed epoch that the run has not, or a rate table that is shorter than the run.
    """
    if rate is not None:
        check_rate("rate", rate, epochs)
    number_E = np.arange(1, epochs + 1)
    if isinstance(validation_freq, Iterable):
        listed = list(validation_freq)
        if not set(listed) <= set(number_E.tolist()):
            raise ValueError(f"validation_freq: {listed}; allowed: epochs from 1 to {epochs}")
        validated_E = np.isin(number_E, listed)
    else:
        if not (isinstance(validation_freq, int | np.integer) and validation_freq >= 1):
            raise ValueError(
                f"validation_freq: {validation_freq!r}; allowed: 1 or more epochs, or a list of them"
            )
        validated_E = number_E % validation_freq == 0
    off = Stopping(np.int32(NEVER), np.zeros(()), np.int32(0), np.asarray(np.inf), np.False_)
    flat = Plateau(np.int32(NEVER), np.ones(()), np.zeros(()), np.int32(0), np.zeros(()))
    return Watch(
        compounding(np.ones(epochs)) if rate is None else rate,
        validated_E,
        off if stopping is None else stopping,
        flat if plateau is None else plateau,
    )


def stopping(
    patience: int = 0,
    min_delta: float = 0.0,
    start_from: int = 0,
    baseline: float | None = None,
    restore: bool = False,
) -> Stopping:
    """Stop a fit after `patience` validated epochs without a loss more than `min_delta` below the best.

    ValueError for an epoch number or a difference below 0 or not finite.
    """
    _count("patience", patience)
    _count("start_from", start_from)
    _size("min_delta", min_delta)
    if baseline is not None and not math.isfinite(baseline):
        raise ValueError(f"baseline: {baseline!r}; allowed: finite, or None")
    return Stopping(
        np.int32(patience),
        np.asarray(min_delta, float),
        np.int32(start_from),
        np.asarray(math.inf if baseline is None else baseline, float),
        np.bool_(restore),
    )


def plateau(
    patience: int = 10, factor: float = 0.1, min_delta: float = 1e-4, cooldown: int = 0, min_rate: float = 0.0
) -> Plateau:
    """Multiply the rate by `factor` after `patience` epochs without improvement. Raises as `stopping` does."""
    _count("patience", patience)
    _count("cooldown", cooldown)
    sizes = {"factor": factor, "min_delta": min_delta, "min_rate": min_rate}
    for name, value in sizes.items():
        _size(name, value)
    if not 0 <= factor < 1:
        raise ValueError(f"factor: {factor}; allowed: 0 to below 1")
    scaled = {name: np.asarray(value, float) for name, value in sizes.items()}
    return Plateau(np.int32(patience), cooldown=np.int32(cooldown), **scaled)


def _count(name: str, value: int) -> None:
    if not (isinstance(value, int | np.integer) and 0 <= value <= NEVER):
        raise ValueError(f"{name}: {value!r}; allowed: a whole number of epochs, 0 or more")


def _size(name: str, value: float) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name}: {value!r}; allowed: finite and 0 or more")


def _per_epoch(name: str, values: Any) -> np.ndarray:
    value_E = np.asarray(values, float)
    if value_E.ndim != 1 or not (np.isfinite(value_E) & (value_E >= 0)).all():
        raise ValueError(f"{name}: {values!r}; allowed: one number an epoch, finite and 0 or more")
    return value_E


def compounding(factor_E: Any) -> Partial:
    """Keras' `f(epoch, lr) = lr * factor[epoch]`: each epoch multiplies the rate that it finds.

    ValueError for what is not one factor an epoch, each finite and 0 or more.
    """
    factor_E = _per_epoch("factor_E", factor_E)
    return Partial(scheduled, factor_E, np.zeros_like(factor_E))


def absolute(multiple_E: Any) -> Partial:
    """Keras' `f(epoch) = lr * multiple[epoch]`: each epoch sets the rate, whatever it finds. Raises as
    `compounding` does."""
    multiple_E = _per_epoch("multiple_E", multiple_E)
    return Partial(scheduled, np.zeros_like(multiple_E), multiple_E)
