"""When boundaries fall and when fits end: rules on a run's own clocks, as data of the compiled run.

A rule is a `jax.tree_util.Partial` of a pure function that returns a bool: of the run's Progress before an epoch, or
of an Instant after a step. Its data are traced, so members of one population may differ in them, and so that they
stack, all rules here before an epoch share one function, all after a step another. A rule reads `progress.clock` or
`instant.clock`, never `state.epoch` or `state.step`, which a policy may reset. Letters: E epochs.
"""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

NEVER = np.iinfo(np.int32).max  # more than any run has


def _before_epoch(chosen_E, patience, progress) -> Any:
    flat = progress.clock - progress.selected.epoch
    return jnp.asarray(chosen_E)[progress.clock] | ((flat > 0) & (flat % patience == 0))


def at_epochs(epochs_before: Iterable[int], epochs: int) -> Partial:
    """A boundary before each listed epoch (0 < e < epochs, counted from 0) of a run of `epochs` epochs."""
    return Partial(_before_epoch, _before(epochs_before, epochs), np.int32(NEVER))


def every(n: int, epochs: int) -> Partial:
    """Fits of n epochs: a boundary before epochs n, 2n, …"""
    return Partial(_before_epoch, _multiples(n, epochs), np.int32(NEVER))


def never(epochs: int) -> Partial:
    """One fit. As an end rule: nothing happens when a fit ends."""
    return at_epochs((), epochs)


def on_plateau(patience: int, epochs: int) -> Partial:
    """A boundary whenever `patience` more epochs have passed without a new lowest validation loss of the run."""
    if patience < 1:
        raise ValueError(f"patience: {patience}; allowed: 1 or more epochs")
    return Partial(_before_epoch, _before((), epochs), np.int32(patience))


def custom_rule(rule: Callable[..., Any], *data: Any) -> Partial:
    """A rule of your own: `rule(*data, progress or instant) -> bool`, pure; `data` are traced, it is static."""
    return Partial(rule, *data)


def ends(n: int, epochs: int) -> Partial:
    """A fit ends after every n epochs and after the run's last: where a framework puts the average, or the best
    weights, into the model. It is no boundary: nothing is dropped."""
    last_E = _multiples(n, epochs)
    last_E[epochs] = True
    return Partial(_before_epoch, last_E, np.int32(NEVER))


def _after_step(n, against, instant) -> Any:
    rises = sum(map(jnp.vdot, jax.tree.leaves(instant.grads), jax.tree.leaves(instant.updates)))
    return (instant.clock % n == 0) | (against & (rises > 0))


def every_steps(n: int) -> Partial:
    """A boundary after every n steps of the run; it falls before the next step."""
    if n < 1:
        raise ValueError(f"every_steps: {n}; allowed: 1 or more steps")
    return Partial(_after_step, np.int32(n), np.False_)


def no_steps() -> Partial:
    """None within an epoch: for a member whose population has some."""
    return every_steps(NEVER)


def against_momentum() -> Partial:
    """A boundary whenever the last update went uphill: gradient · update > 0, where momentum outweighs the gradient.

    O'Donoghue and Candès 2015, the gradient scheme; there it drops the momentum and its count.
    """
    return Partial(_after_step, np.int32(NEVER), np.True_)


def _multiples(n: int, epochs: int) -> np.ndarray:
    if n < 1:
        raise ValueError(f"every: {n}; allowed: 1 or more epochs a fit")
    return _before(range(n, epochs, n), epochs)


def _before(chosen: Iterable[int], epochs: int) -> np.ndarray:
    """Whether each clock from 0 to `epochs` is among the chosen."""
    chosen_E = np.zeros(epochs + 1, bool)
    for e in chosen:
        if not 0 < e < epochs:
            raise ValueError(
                f"boundary before epoch {e}; allowed: 1 to {epochs - 1} (not before the first, not after the last)"
            )
        chosen_E[e] = True
    return chosen_E
