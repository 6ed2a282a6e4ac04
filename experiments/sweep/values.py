"""Values of a field as they are typed: a list `1e-4 3e-4`, whole numbers `8:24`, or a range `1e-5:1e-1:log`.

Whole numbers leave out the last, as Python does; both ends of a continuous range may be drawn.
"""

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

Words = tuple[str | float, ...]  # words as typed, or numbers from Python
MOST = 100_000  # values in a list
TRUTH = {"true": True, "false": False}


@dataclass(frozen=True, kw_only=True)
class Range:
    """Numbers between two ends, low < high; on a log scale both are above 0."""

    low: float
    high: float
    log: bool = False
    whole: bool = False  # whole numbers, without `high`


Values = tuple[Any, ...] | Range


def parse(field: str, kind: type, words: Words) -> Values:
    """The values of a field of type int, float, bool or str. ValueError naming field, word and what is allowed."""
    if len(words) == 1 and (alone := _range(field, kind, str(words[0]))):
        return alone
    values: list[Any] = []
    for word in words:
        inside = _range(field, kind, str(word))
        values += [_value(field, kind, str(word))] if inside is None else listed(field, inside)
    if twice := [value for value, times in Counter(values).items() if times > 1]:
        raise ValueError(f"{field}: {twice[0]} is given twice; allowed: each value once")
    return tuple(values)


def listed(field: str, values: Values) -> tuple[Any, ...]:
    """All values one by one. ValueError for a continuous range."""
    if not isinstance(values, Range):
        return values
    if not values.whole or values.log:
        raise ValueError(
            f"{field}: {text(values)} is a range to draw from; allowed: a list, or whole numbers such as 8:24 "
            f"(or --search.{field.rpartition('.')[2].replace('_', '-')}, with --search.trials)"
        )
    if values.high - values.low > MOST:
        raise ValueError(f"{field}: {text(values)} is too many; allowed: up to {MOST} values")
    return tuple(range(int(values.low), int(values.high)))


def at(values: Values, u: float) -> Any:
    """The value at u, from 0 to below 1, of the way through the values: uniform where u is."""
    if not isinstance(values, Range):
        return values[int(u * len(values))]
    low, high = values.low, values.high
    number = low * (high / low) ** u if values.log else low + (high - low) * u
    return min(math.floor(number), int(high) - 1) if values.whole else min(number, high)


def text(values: Values) -> str:
    """The values as they would be typed."""
    if isinstance(values, Range):
        return f"{values.low:g}:{values.high:g}" + ":log" * values.log
    return " ".join(map(str, values))


def _range(field: str, kind: type, word: str) -> Range | None:
    """Parse a range; None if the word is a single value."""
    if kind not in (int, float) or ":" not in word:
        return None
    low_word, high_word, *scale = word.split(":")
    if scale not in ([], ["log"]):
        raise ValueError(f"{field}: {word!r}; allowed: low:high or low:high:log")
    low, high = (_value(field, kind, end, f" in {word!r}") for end in (low_word, high_word))
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"{field}: {word!r} is empty; allowed: low:high with low below high")
    if scale and low <= 0:
        raise ValueError(f"{field}: {word!r}; allowed on a log scale: above 0")
    return Range(low=low, high=high, log=bool(scale), whole=kind is int)


def _value(field: str, kind: type, word: str, place: str = "") -> Any:
    if kind is bool:
        if word.lower() not in TRUTH:
            raise ValueError(f"{field}: {word!r}{place}; allowed: true, false")
        return TRUTH[word.lower()]
    try:
        return kind(word)
    except ValueError:
        allowed = "whole numbers such as 8 or 8:24" if kind is int else "numbers such as 1e-3"
        raise ValueError(f"{field}: {word!r}{place}; allowed: {allowed}") from None
