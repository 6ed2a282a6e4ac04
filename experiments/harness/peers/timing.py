"""Times that can be compared: taken in turn, reported as medians with quartiles.

One machine's speed changes from minute to minute, so only times of one repetition are compared.
Letters: R repetitions.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The median, and the quartiles around it."""

    median: float
    low: float
    high: float


def spread(values_R: ArrayLike) -> Spread:
    """ValueError where there are no values."""
    values_R = np.asarray(values_R, float)
    if not values_R.size:
        raise ValueError("values_R: none; allowed: one repetition or more")
    low, median, high = np.percentile(values_R, (25, 50, 75)).tolist()
    return Spread(median=median, low=low, high=high)


def ratio(slow_R: ArrayLike, fast_R: ArrayLike) -> Spread:
    """How many times longer the first takes, repetition by repetition."""
    return spread(np.asarray(slow_R, float) / np.asarray(fast_R, float))


def turns(jobs: Sequence[T], group: Callable[[T], Hashable], rng: np.random.Generator) -> Iterator[T]:
    """All jobs once, in a random order that keeps those of one group together.

    A job that always followed the same other one would be timed with what that leaves in caches, clocks and threads.
    """
    groups: dict[Hashable, list[T]] = {}
    for job in jobs:
        groups.setdefault(group(job), []).append(job)
    together = list(groups.values())
    for g in rng.permutation(len(together)):
        yield from (together[g][i] for i in rng.permutation(len(together[g])))


def number(x: float) -> str:
    """Three digits; thousands are set apart."""
    return f"{x:,.0f}" if abs(x) >= 100 else f"{x:.3g}"


def in_words(values: Spread, unit: str = "", scale: float = 1.0) -> str:
    """median [quartiles] unit, each times `scale`."""
    median, low, high = (number(scale * x) for x in astuple(values))
    return f"{median} [{low}, {high}] {unit}".rstrip()
