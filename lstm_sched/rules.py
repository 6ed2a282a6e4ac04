"""When boundaries fall and when fits end: rules on a run's own clock, as data of the compiled run.

A rule is a `jax.tree_util.Partial` of a pure function of the run's Progress that returns a bool. Its data are traced,
so members of one population may differ in them. A rule reads `progress.clock`, never `state.epoch`, which a
policy may reset. Letters: E epochs.
"""

from collections.abc import Callable, Iterable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial


def _listed(chosen_E, progress) -> Any:
    return jnp.asarray(chosen_E)[progress.clock]


def at(epochs_before: Iterable[int], epochs: int) -> Partial:
    """A boundary before each listed epoch (0 < e < epochs, counted from 0) of a run of `epochs` epochs."""
    return Partial(_listed, _before(epochs_before, epochs))


def every(n: int, epochs: int) -> Partial:
    """Fits of n epochs: a boundary before epochs n, 2n, …"""
    return Partial(_listed, _multiples(n, epochs))


def never(epochs: int) -> Partial:
    """One fit. As an end rule: nothing happens when a fit ends."""
    return at((), epochs)


def when(rule: Callable[..., Any], *data: Any) -> Partial:
    """A rule of your own: `rule(*data, progress) -> bool`, pure; `data` are traced arrays, the function is static."""
    return Partial(rule, *data)


def ends(n: int, epochs: int) -> Partial:
    """A fit ends after every n epochs and after the run's last: where a framework puts the average, or the best
    weights, into the model. It is no boundary: nothing is dropped."""
    last_E = _multiples(n, epochs)
    last_E[epochs] = True
    return Partial(_listed, last_E)


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
