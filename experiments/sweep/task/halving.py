"""Successive halving: which configurations go on after each rung, and what that costs.

A configuration is the cells that differ in nothing but their seed. Jamieson and Talwalkar 2016. Letters: M cells.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

Cell = Mapping[str, Any]
OWN = ("number", "seed")  # in which cells of one configuration differ


class Rung(NamedTuple):
    """Epochs that those still in it run, and the fraction of their configurations that goes on."""

    start: int
    end: int
    keep: float


def configuration(cell: Cell) -> tuple[tuple[str, Any], ...]:
    """The cell without what is its own."""
    return tuple(item for item in sorted(cell.items()) if item[0] not in OWN)


def rungs(halving: Mapping[str, Any] | None, epochs: int) -> list[Rung]:
    """The whole training cut at the epochs of halving; no cut without it. ValueError where they do not rise, or for
    a fraction that is not one."""
    cuts = [] if halving is None else list(halving["epochs"])
    keep = 1.0 if halving is None else float(halving["keep"])
    if cuts != sorted(set(cuts)) or any(cut < 1 for cut in cuts):
        raise ValueError(f"halving.epochs: {cuts}; allowed: rising whole numbers from 1 on")
    if not 0 < keep <= 1:
        raise ValueError(f"halving.keep: {keep}; allowed: above 0, to 1")
    ends = [cut for cut in cuts if cut < epochs] + [epochs]
    return [Rung(a, b, keep) for a, b in zip([0, *ends], ends, strict=False)]


def best(cells: Sequence[Cell], score_M: np.ndarray, keep: float) -> np.ndarray:
    """Whether each cell goes on: the lowest mean score over a configuration's seeds, at least one configuration.

    A score is +inf where the training diverged; of equal ones the configuration that is named first is the better.
    """
    names = [configuration(cell) for cell in cells]
    first = list(dict.fromkeys(names))
    rows = {name: [m for m, other in enumerate(names) if other == name] for name in first}
    mean = np.array([score_M[rows[name]].mean() for name in first])
    kept = np.argsort(mean, kind="stable")[: max(1, round(keep * len(first)))]
    chosen = {first[i] for i in kept}
    return np.array([name in chosen for name in names], bool)


def cost(cells: Sequence[Cell], halving: Mapping[str, Any] | None, epochs: int) -> int:
    """Epochs of all cells together, where every configuration has as many seeds."""
    size = len({configuration(cell) for cell in cells})
    each, total = len(cells) / size, 0.0
    for rung in rungs(halving, epochs):
        total += each * size * (rung.end - rung.start)
        size = max(1, round(rung.keep * size))
    return round(total)
