"""Rules that decide when boundaries fall and when fits end, as data of the compiled run.

A rule is a `jax.tree_util.Partial` of a pure function that returns a bool, given the run's Progress before
an epoch or an Instant after a step. Its data are traced, so members of one population may differ in them. The
rules here stack, since all on epochs share one function, and so do all on steps. A rule reads
`progress.clock` or `instant.clock`, since a policy may reset those of the state. Letters: E epochs.
"""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

NEVER = np.iinfo(np.int32).max  # more epochs or steps than any run has

# ---- before epochs


def every(n: int, epochs: int) -> Partial:
    """Cut a run into fits of n epochs.

    Args:
        n: epochs per fit, 1 or more.
        epochs: epochs of the run.

    Returns:
        The rule: a boundary before epochs n, 2n, … (counted from 0), none after the last epoch.

    Raises:
        ValueError: n is less than 1.
    """
    return _on_epochs(_multiples(n, epochs))


def at_epochs(epochs_before: Iterable[int], epochs: int) -> Partial:
    """Let boundaries fall before chosen epochs.

    Args:
        epochs_before: the epochs, counted from 0.
        epochs: epochs of the run.

    Returns:
        The rule: a boundary before each of them.

    Raises:
        ValueError: a number is not between 1 and epochs − 1.
    """
    return _on_epochs(_before(epochs_before, epochs))


def never(epochs: int) -> Partial:
    """Let no boundary fall: one fit of `epochs` epochs. As `Member.ends`, nothing happens when a fit ends."""
    return at_epochs((), epochs)


def on_plateau(patience: int, epochs: int) -> Partial:
    """Let a boundary fall where the validation loss no longer improves.

    Args:
        patience: epochs without a new lowest validation loss of the run, 1 or more.
        epochs: epochs of the run.

    Returns:
        The rule: a boundary whenever `patience` more such epochs have passed.

    Raises:
        ValueError: patience is less than 1.
    """
    if patience < 1:
        raise ValueError(f"patience: {patience}; allowed: 1 or more epochs")
    return _on_epochs(_before((), epochs), patience)


def ends(n: int, epochs: int) -> Partial:
    """Let fits end every n epochs: there a framework puts the average, or the best weights, into the model.

    An end is not a boundary: it drops nothing.

    Args:
        n: epochs per fit, 1 or more.
        epochs: epochs of the run.

    Returns:
        The rule for `Member.ends`: after every n epochs and after the last epoch of the run.

    Raises:
        ValueError: n is less than 1.
    """
    last_E = _multiples(n, epochs)
    last_E[epochs] = True
    return _on_epochs(last_E)


def custom_rule(rule: Callable[..., Any], *data: Any) -> Partial:
    """Make a rule of your own.

    Args:
        rule: a pure function `rule(*data, progress) -> bool` for epochs, or `rule(*data, instant) -> bool` for steps.
        data: arrays that it reads; they are traced, while the function itself is static.

    Returns:
        The rule. Members of one population must share its function.
    """
    return Partial(rule, *data)


def _on_epochs(chosen_E: np.ndarray, patience: int = NEVER) -> Partial:
    return Partial(_before_epoch, chosen_E, np.int32(patience))


def _before_epoch(chosen_E, patience, progress) -> Any:
    flat = progress.clock - progress.selected.epoch
    return jnp.asarray(chosen_E)[progress.clock] | ((flat > 0) & (flat % patience == 0))


def _multiples(n: int, epochs: int) -> np.ndarray:
    if n < 1:
        raise ValueError(f"every: {n}; allowed: 1 or more epochs per fit")
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


# ---- after steps


def every_steps(n: int) -> Partial:
    """Let a boundary fall after every n steps of the run, 1 or more; it falls before the next step."""
    if n < 1:
        raise ValueError(f"every_steps: {n}; allowed: 1 or more steps")
    return Partial(_after_step, np.int32(n), np.False_)


def no_steps() -> Partial:
    """Let no boundary fall after a step: for a member of a population in which others have some."""
    return every_steps(NEVER)


def against_momentum() -> Partial:
    """Let a boundary fall whenever momentum outweighs the gradient, so that the last update went uphill.

    This is so where gradient · update > 0. It is the gradient scheme of O'Donoghue and Candès (2015), which
    drops the momentum and its count.
    """
    return Partial(_after_step, np.int32(NEVER), np.True_)


def _after_step(n, against, instant) -> Any:
    rises = sum(map(jnp.vdot, jax.tree.leaves(instant.grads), jax.tree.leaves(instant.updates)))
    return (instant.clock % n == 0) | (against & (rises > 0))
