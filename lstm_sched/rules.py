"""When boundaries fall: rules on a run's own clock, as data of the compiled run.

A rule is a `jax.tree_util.Partial` of a pure function of the run's Progress that returns a bool. Its data are traced,
so members of one population may differ in them. A rule reads `progress.clock`, never `state.epoch`, which a
policy may reset. Letters: E epochs.
"""

from collections.abc import Callable, Iterable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial


def _listed(first_E, progress) -> Any:
    return jnp.asarray(first_E)[progress.clock]


def at(epochs_before: Iterable[int], epochs: int) -> Partial:
    """A boundary before each listed epoch (0 < e < epochs, counted from 0) of a run of `epochs` epochs."""
    first_E = np.zeros(epochs, bool)
    for e in epochs_before:
        if not 0 < e < epochs:
            raise ValueError(
                f"boundary before epoch {e}; allowed: 1 to {epochs - 1} (not before the first, not after the last)"
            )
        first_E[e] = True
    return Partial(_listed, first_E)


def every(n: int, epochs: int) -> Partial:
    """Fits of n epochs: a boundary before epochs n, 2n, …"""
    if n < 1:
        raise ValueError(f"every: {n}; allowed: 1 or more epochs a fit")
    return at(range(n, epochs, n), epochs)


def never(epochs: int) -> Partial:
    """One fit."""
    return at((), epochs)


def when(rule: Callable[..., Any], *data: Any) -> Partial:
    """A rule of your own: `rule(*data, progress) -> bool`, pure; `data` are traced arrays, the function is static."""
    return Partial(rule, *data)
