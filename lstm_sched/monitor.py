"""Per-epoch rules with Keras' exact semantics: rate schedules, plateau decay, early stopping, validation_freq.

Pure functions of monitor, rate and epoch, in place of callbacks. Their parameters are traced, so that arms of one
population may differ in them, and an arm without a rule has one that never acts. They read `state.epoch` and
keep their memory in `state.monitor`, so a policy decides what a loop of fits makes of them. Letters: E epochs.
Source: keras/src/callbacks/{early_stopping,reduce_lr_on_plateau,learning_rate_scheduler}.py, version 3.15.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial


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
