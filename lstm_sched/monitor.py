"""Per-epoch rules with Keras' exact semantics: rate schedules, plateau decay, early stopping, validation_freq.

Rules are not callbacks but data and pure functions. Their parameters are traced, so members of one population
may differ in them, and a member without a rule has one that never acts. Rules read `state.epoch` and remember
in `state.monitor`, so a policy decides how they act in a loop of fits. Letters: E epochs.
Source: keras/src/callbacks/{early_stopping,reduce_lr_on_plateau,learning_rate_scheduler}.py, version 3.15.
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

NEVER = np.iinfo(np.int32).max  # a patience that no run exhausts

# ---- the rules of a member, made from Keras' own arguments


class Stopping(NamedTuple):
    """Keras' EarlyStopping on the validation loss; its fields are the arguments of `stopping`."""

    patience: Any
    min_delta: Any
    start_from: Any
    baseline: Any  # inf for none
    restore: Any


class Plateau(NamedTuple):
    """Keras' ReduceLROnPlateau on the validation loss; its fields are the arguments of `plateau`."""

    patience: Any
    factor: Any
    min_delta: Any
    cooldown: Any
    min_rate: Any


class Watch(NamedTuple):
    """The per-epoch rules of one member."""

    rate: Partial  # (epoch, factor) -> the factor that multiplies the tabulated rate, before each epoch
    validated_E: Any  # bools: whether validation follows each epoch, by `state.epoch`
    stopping: Stopping
    plateau: Plateau


def watch(
    epochs: int,
    rate: Partial | None = None,
    stopping: Stopping | None = None,
    plateau: Plateau | None = None,
    validation_freq: int | Iterable[int] = 1,
) -> Watch:
    """Make the per-epoch rules of a run, for `Hyper.watch`. A rule that is not given never acts.

    Args:
        epochs: epochs of the run.
        rate: a rule on the learning rate: `compounding` or `absolute`.
        stopping: when a fit stops early, made by `stopping`.
        plateau: when the learning rate falls, made by `plateau`.
        validation_freq: as in Keras, validate after every n-th epoch, or after those listed, both counted from 1.

    Returns:
        The rules.

    Raises:
        ValueError: an n below 1, a listed epoch that the run does not have, or a rate rule shorter than the run.
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
    never_stops = Stopping(np.int32(NEVER), np.zeros(()), np.int32(0), np.asarray(np.inf), np.False_)
    never_lowers = Plateau(np.int32(NEVER), np.ones(()), np.zeros(()), np.int32(0), np.zeros(()))
    return Watch(
        compounding(np.ones(epochs)) if rate is None else rate,
        validated_E,
        never_stops if stopping is None else stopping,
        never_lowers if plateau is None else plateau,
    )


def stopping(
    patience: int = 0,
    min_delta: float = 0.0,
    start_from: int = 0,
    baseline: float | None = None,
    restore: bool = False,
) -> Stopping:
    """Make Keras' EarlyStopping on the validation loss.

    Args:
        patience: validated epochs without improvement after which a fit stops.
        min_delta: by how much a loss must be below the best one to be an improvement, in units of the loss.
        start_from: epoch, counted from 0, before which nothing counts.
        baseline: a loss that an epoch must also beat to reset the patience; None for none.
        restore: whether the best weights are put into the model when the fit ends.

    Returns:
        The rule, for `watch`.

    Raises:
        ValueError: a number of epochs or a difference that is negative or not finite, or a baseline that is not finite.
    """
    _check_epochs("patience", patience)
    _check_epochs("start_from", start_from)
    _check_finite("min_delta", min_delta)
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
    """Make Keras' ReduceLROnPlateau on the validation loss.

    Args:
        patience: validated epochs without improvement after which the learning rate falls.
        factor: the learning rate is multiplied by it; from 0 to below 1.
        min_delta: by how much a loss must be below the best one to be an improvement, in units of the loss.
        cooldown: epochs after a fall in which nothing counts.
        min_rate: the lowest learning rate.

    Returns:
        The rule, for `watch`.

    Raises:
        ValueError: an argument is negative or not finite, or the factor is not below 1.
    """
    _check_epochs("patience", patience)
    _check_epochs("cooldown", cooldown)
    sizes = {"factor": factor, "min_delta": min_delta, "min_rate": min_rate}
    for name, value in sizes.items():
        _check_finite(name, value)
    if not 0 <= factor < 1:
        raise ValueError(f"factor: {factor}; allowed: 0 to below 1")
    arrays = {name: np.asarray(value, float) for name, value in sizes.items()}
    return Plateau(np.int32(patience), cooldown=np.int32(cooldown), **arrays)


def compounding(factor_E: Any) -> Partial:
    """Make Keras' `LearningRateScheduler(lambda epoch, lr: lr * factor[epoch])`.

    Each epoch multiplies the rate of the epoch before, so the factors compound.

    Args:
        factor_E: one factor per epoch.

    Returns:
        The rule on the learning rate, for `watch`.

    Raises:
        ValueError: not one number per epoch, or one that is negative or not finite.
    """
    factor_E = _per_epoch("factor_E", factor_E)
    return Partial(scheduled, factor_E, np.zeros_like(factor_E))


def absolute(multiple_E: Any) -> Partial:
    """Make Keras' `LearningRateScheduler(lambda epoch: lr * multiple[epoch])`.

    Each epoch sets the rate, whatever it was before.

    Args:
        multiple_E: one multiple of the tabulated rate per epoch.

    Returns:
        The rule on the learning rate, for `watch`.

    Raises:
        ValueError: not one number per epoch, or one that is negative or not finite.
    """
    multiple_E = _per_epoch("multiple_E", multiple_E)
    return Partial(scheduled, np.zeros_like(multiple_E), multiple_E)


def scheduled(times_E: Any, plus_E: Any, epoch: Any, factor: Array) -> Array:
    """A rate rule: times_E[epoch] · factor + plus_E[epoch]; NaN beyond the tables, as for the rate of a step."""
    times, plus = (
        jnp.asarray(a, factor.dtype).at[epoch].get(mode="fill", fill_value=jnp.nan) for a in (times_E, plus_E)
    )
    return times * factor + plus


def check_rate(name: str, rule: Partial, epochs: int) -> None:
    """Raise ValueError for a rate rule, called `name`, whose table is shorter than the run."""
    if rule.func is scheduled and (known := np.shape(rule.args[0])[-1]) < epochs:
        raise ValueError(f"{name}: a table of {known} epochs; allowed: {epochs} or more")


def _check_epochs(name: str, value: int) -> None:
    if not (isinstance(value, int | np.integer) and 0 <= value <= NEVER):
        raise ValueError(f"{name}: {value!r}; allowed: a whole number of epochs, 0 or more")


def _check_finite(name: str, value: float) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name}: {value!r}; allowed: finite and 0 or more")


def _per_epoch(name: str, values: Any) -> np.ndarray:
    value_E = np.asarray(values, float)
    if value_E.ndim != 1 or not (np.isfinite(value_E) & (value_E >= 0)).all():
        raise ValueError(f"{name}: {values!r}; allowed: one number per epoch, finite and 0 or more")
    return value_E


# ---- the memory of the rules, and their action after each epoch


class Best(NamedTuple):
    """The lowest validation loss that counted. The first one seen always counts."""

    seen: Any  # whether any loss was seen
    value: Any
    wait: Any  # epochs without improvement since then


class Monitor(NamedTuple):
    """Memory of stopping and plateau. A fit that has stopped stays so until a boundary resets this."""

    stopping: Best
    stopped: Any
    plateau: Best
    cooldown: Any


def begin() -> Monitor:
    """The memory with which a framework begins a fit."""
    no, zero = jnp.zeros((), bool), jnp.zeros((), jnp.int32)
    none = Best(no, jnp.asarray(jnp.inf, float), zero)
    return Monitor(none, no, none, zero)


def validated(watch: Watch, epoch: Array) -> Array:
    """Whether the framework validates after epoch `epoch` of its clock; beyond the table it does."""
    return jnp.asarray(watch.validated_E).at[epoch].get(mode="fill", fill_value=True)


def observe(
    watch: Watch, monitor: Monitor, epoch: Array, val: Array, factor: Array, table: Array
) -> tuple[Monitor, Array, Array]:
    """Apply the rules after an epoch.

    Args:
        watch: the rules.
        monitor: their memory before.
        epoch: the epoch's number on the framework's clock.
        val: its validation loss.
        factor: the factor on the tabulated rate before.
        table: the tabulated rate.

    Returns:
        The memory after the epoch, the rate's factor after it, and whether `val` is the best loss yet.
    """
    seen = validated(watch, epoch)
    counts = seen & (epoch >= watch.stopping.start_from)
    best, stops, better = _stopping(watch.stopping, monitor.stopping, epoch, val)
    flat, cooldown, lowered = _plateau(watch.plateau, monitor.plateau, monitor.cooldown, val, factor, table)
    after = Monitor(
        stopping=_select(counts, best, monitor.stopping),
        stopped=monitor.stopped | (counts & stops),
        plateau=_select(seen, flat, monitor.plateau),
        cooldown=jnp.where(seen, cooldown, monitor.cooldown),
    )
    return after, jnp.where(seen, lowered, factor), counts & better


def _select(condition: Array, if_true: Best, if_false: Best) -> Best:
    return jax.tree.map(partial(jnp.where, condition), if_true, if_false)


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
    lowers = ~better & (cooldown == 0) & (wait >= rule.patience) & (lower < factor)  # exact at the floor
    after = Best(jnp.ones((), bool), jnp.where(better, val, best.value), jnp.where(lowers, 0, wait))
    return after, jnp.where(lowers, rule.cooldown, cooldown), jnp.where(lowers, lower, factor)


def _below(best: Best, val: Array, min_delta: Any) -> Array:
    return ~best.seen | (val + min_delta < best.value)
