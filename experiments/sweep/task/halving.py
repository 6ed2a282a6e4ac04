"""Successive halving: which configurations go on after each rung, and what that costs.

A configuration is all trials that differ in nothing but number and seed. Jamieson and Talwalkar 2016.

Letters: M trials.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Trial = Mapping[str, Any]  # one training: its number, seed and traced fields
NOT_CONFIGURATION = ("number", "seed")


@dataclass(frozen=True, kw_only=True)
class Rung:
    """Epochs that the configurations still in it run, and the fraction of them that goes on."""

    start: int
    end: int
    keep: float


def configuration(trial: Trial) -> tuple[tuple[str, Any], ...]:
    """The fields of a trial without number and seed."""
    return tuple(item for item in sorted(trial.items()) if item[0] not in NOT_CONFIGURATION)


def rungs(halving: Mapping[str, Any] | None, epochs: int) -> list[Rung]:
    """The whole training cut at the epochs of halving; one rung without it. ValueError where they do not increase."""
    cuts = [] if halving is None else list(halving["epochs"])
    keep = 1.0 if halving is None else float(halving["keep"])
    if cuts != sorted(set(cuts)) or any(cut < 1 for cut in cuts):
        raise ValueError(f"halving.epochs: {cuts}; allowed: increasing whole numbers from 1 on")
    if not 0 < keep <= 1:
        raise ValueError(f"halving.keep: {keep}; allowed: a fraction above 0, up to 1")
    ends = [cut for cut in cuts if cut < epochs] + [epochs]
    return [Rung(start=a, end=b, keep=keep) for a, b in zip([0, *ends], ends, strict=False)]


def best(trials: Sequence[Trial], score_M: np.ndarray, keep: float) -> np.ndarray:
    """Whether each trial goes on: those of the configurations with the lowest mean score over seeds, at least one.

    A score is +inf where the training diverged; of equal configurations the one that is named first is the better.
    """
    names = [configuration(trial) for trial in trials]
    distinct = list(dict.fromkeys(names))
    rows = {name: [m for m, other in enumerate(names) if other == name] for name in distinct}
    mean = np.array([score_M[rows[name]].mean() for name in distinct])
    lowest = np.argsort(mean, kind="stable")[: max(1, round(keep * len(distinct)))]
    chosen = {distinct[i] for i in lowest}
    return np.array([name in chosen for name in names], bool)


def cost(trials: Sequence[Trial], halving: Mapping[str, Any] | None, epochs: int) -> int:
    """Epochs of all trials together, where every configuration has as many seeds."""
    size = len({configuration(trial) for trial in trials})
    seeds, total = len(trials) / size, 0.0
    for rung in rungs(halving, epochs):
        total += seeds * size * (rung.end - rung.start)
        size = max(1, round(rung.keep * size))
    return round(total)
