"""Times that can be compared: taken in turn, told as medians with quartiles.

One machine's speed changes from minute to minute, so only times of one repetition are set against each other.
Letters: R repetitions.
"""

from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike

Name = TypeVar("Name", bound=Hashable)
T = TypeVar("T")


class Spread(NamedTuple):
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
    return Spread(median, low, high)


def ratio(slow_R: ArrayLike, fast_R: ArrayLike) -> Spread:
    """How many times longer the first takes, repetition by repetition."""
    return spread(np.asarray(slow_R, float) / np.asarray(fast_R, float))


def interleaved(
    arms: Mapping[Name, Callable[[], T]], repetitions: int, rng: np.random.Generator
) -> dict[Name, list[T]]:
    """What each arm returns in each repetition. Every repetition runs all of them, in an order of its own: an arm that
    always followed the same other one would be told with what that leaves in caches, clocks and threads."""
    names = list(arms)
    found: dict[Name, list[T]] = {name: [] for name in names}
    for _ in range(repetitions):
        for i in rng.permutation(len(names)):
            found[names[i]].append(arms[names[i]]())
    return found


def number(x: float) -> str:
    """Three digits, thousands apart."""
    return f"{x:,.0f}" if abs(x) >= 100 else f"{x:.3g}"


def told(s: Spread, unit: str) -> str:
    """median [quartiles] unit"""
    return f"{number(s.median)} [{number(s.low)}, {number(s.high)}] {unit}"
