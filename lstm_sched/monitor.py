"""Keras' callbacks as data: what `monitor.py` reads, made from Keras' own arguments and checked.

Letters: E epochs.
"""

import math
from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

# Per-epoch rules with Keras' exact semantics: rate schedules, plateau decay, early stopping,
# validation_freq. Pure functions of monitor, rate and epoch, in place of callbacks. Their parameters are
# traced, so that arms of one population may differ in them, and an arm without a rule has one that never
# acts. They read `state.epoch` and keep their memory in `state.monitor`, so a policy decides what a loop of
# fits makes of them. Letters: E epochs. Source:
# keras/src/callbacks/{early_stopping,reduce_lr_on_plateau,learning_rate_scheduler}.py, version 3.15.


class Stopping(NamedTuple):
    """Keras' EarlyStopping on the validation loss, in its words."""

    patience: Any
    min_delta: Any
    start_from: Any  # epoch before which nothing counts
    baseline: Any  # inf for none
    restore: Any  # put the best weights into the model when the fit ends


class Plateau(NamedTuple):
    """Keras' ReduceLROnPlateau on the validation loss, in its words."""

    patience: Any
    factor: Any
    min_delta: Any
    cooldown: Any
    min_rate: Any


class Watch(NamedTuple):
    """The rules of one member."""

    rate: Partial  # (epoch, factor) -> factor of the tabulated rate, before each epoch
    validated_E: Any  # after which epochs of `state.epoch` the validation loss is seen
    stopping: Stopping
    plateau: Plateau


class Best(NamedTuple):
    """The lowest value that counted, and how long ago; the first value seen counts whatever it is."""

    seen: Any
    value: Any
    wait: Any


class Monitor(NamedTuple):
    """Memory of stopping and plateau. A fit that has stopped trains no further until a boundary forgets it."""

    stopping: Best
    stopped: Any
    plateau: Best
    cooldown: Any


def begin() -> Monitor:
    """The memory with which a framework begins a fit."""
    no, zero = jnp.zeros((), bool), jnp.zeros((), jnp.int32)
    none = Best(no, jnp.asarray(jnp.inf, float), zero)
    return Monitor(none, no, none, zero)


def scheduled(times_E: Any, plus_E: Any, epoch: Any, factor: Array) -> Array:
    """A rate rule: times_E[epoch] · factor + plus_E[epoch]; NaN beyond the tables, as for the rate of a step."""
    times, plus = (
        jnp.asarray(a, factor.dtype).at[epoch].get(mode="fill", fill_value=jnp.nan) for a in (times_E, plus_E)
    )
    return times * factor + plus


def check_rate(name: str, rule: Partial, epochs: int) -> None:
    """ValueError for a rate rule, called `name`, whose table is shorter than the run."""
    if rule.func is scheduled and (known := np.shape(rule.args[0])[-1]) < epochs:
        raise ValueError(f"{name}: a table of {known} epochs; allowed: {epochs} or more")


def validated(watch: Watch, epoch: Array) -> Array:
    """Whether the framework validates after epoch `epoch` of its clock; beyond the table it does."""
    return jnp.asarray(watch.validated_E).at[epoch].get(mode="fill", fill_value=True)


def observe(
    watch: Watch, monitor: Monitor, epoch: Array, val: Array, factor: Array, table: Array
) -> tuple[Monitor, Array, Array]:
    """After epoch `epoch` of the framework's clock: the memory, the rate's factor, and whether `val` is the best yet.

    `table` is the tabulated rate, which the factor multiplies.
    """
    seen = validated(watch, epoch)
    counts = seen & (epoch >= watch.stopping.start_from)
    best, stops, better = _stopping(watch.stopping, monitor.stopping, epoch, val)
    flat, cooldown, reduced = _plateau(watch.plateau, monitor.plateau, monitor.cooldown, val, factor, table)
    after = Monitor(
        stopping=_choose(counts, best, monitor.stopping),
        stopped=monitor.stopped | (counts & stops),
        plateau=_choose(seen, flat, monitor.plateau),
        cooldown=jnp.where(seen, cooldown, monitor.cooldown),
    )
    return after, jnp.where(seen, reduced, factor), counts & better


def _choose(condition: Array, new: Best, old: Best) -> Best:
    return jax.tree.map(partial(jnp.where, condition), new, old)


def _below(best: Best, val: Array, min_delta: Any) -> Array:
    return ~best.seen | (val + min_delta < best.value)


def _stopping(rule: Stopping, best: Best, epoch: Array, val: Array) -> tuple[Best, Array, Array]:
    """EarlyStopping.on_epoch_end; also whether it stops, and whether the weights are the best yet."""
    better = _below(best, val, rule.min_delta)
    passes = (rule.baseline == jnp.inf) | (val + rule.min_delta < rule.baseline)
    wait = jnp.where(better & passes, 0, best.wait + 1)
    stops = ~better & (wait >= rule.patience) & (epoch > 0)
    return Best(jnp.ones((), bool), jnp.where(better, val, best.value), wait), stops, better


def _plateau(
    rule: Plateau, best: Best, cooldown: Array, val: Array, factor: Array, table: Array
) -> tuple[Best, Array, Array]:
    """ReduceLROnPlateau.on_epoch_end; also the cooldown that is left and the rate's factor."""
    wait = jnp.where(cooldown > 0, 0, best.wait)
    cooldown = jnp.maximum(cooldown - 1, 0)
    better = _below(best, val, rule.min_delta)
    wait = jnp.where(better, 0, jnp.where(cooldown == 0, wait + 1, wait))
    lower = jnp.maximum(factor * rule.factor, rule.min_rate / table)
    reduces = ~better & (cooldown == 0) & (wait >= rule.patience) & (lower < factor)  # exact at the floor
    after = Best(jnp.ones((), bool), jnp.where(better, val, best.value), jnp.where(reduces, 0, wait))
    return after, jnp.where(reduces, rule.cooldown, cooldown), jnp.where(reduces, lower, factor)


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
