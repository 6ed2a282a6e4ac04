"""What a field may be, as it is typed: a list `1e-4 3e-4`, whole numbers `8:24`, a range to draw from `1e-5:1e-1:log`.

Of whole numbers the last is left out, as Python does; of a continuous range both ends may be drawn.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

Words = tuple[str | float, ...]  # as typed, or numbers from Python
MOST = 100_000  # values in a list
TRUTH = {"true": True, "false": False}


class Range(NamedTuple):
    """Numbers between two ends; `low` < `high`, and above 0 where they lie evenly on a log scale."""

    low: float
    high: float
    log: bool = False
    whole: bool = False  # whole numbers, without `high`


Values = tuple[Any, ...] | Range


def parse(field: str, kind: type, words: Words) -> Values:
    """The values of a field of type int, float, bool or str. ValueError naming field, word and what is allowed."""
    if len(words) == 1 and (found := _range(field, kind, str(words[0]))):
        return found
    values: list[Any] = []
    for word in words:
        several = _range(field, kind, str(word))
        values += [_one(field, kind, str(word))] if several is None else listed(field, several)
    seen = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{field}: {value} is given twice; allowed: each value once")
        seen.add(value)
    return tuple(values)


def listed(field: str, values: Values) -> tuple[Any, ...]:
    """All of the values one by one. ValueError for a range that has no end of them."""
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
    """The value at u, 0 to below 1, of the way through them: uniform where u is."""
    if not isinstance(values, Range):
        return values[int(u * len(values))]
    low, high = values.low, values.high
    found = low * (high / low) ** u if values.log else low + (high - low) * u
    return min(math.floor(found), int(high) - 1) if values.whole else min(found, high)


def text(values: Values) -> str:
    """As it would be typed."""
    if isinstance(values, Range):
        return f"{values.low:g}:{values.high:g}" + ":log" * values.log
    return " ".join(str(value) for value in values)


def _range(field: str, kind: type, word: str) -> Range | None:
    """None where the word is a single value."""
    if kind not in (int, float) or ":" not in word:
        return None
    low, high, *scale = word.split(":")
    if scale not in ([], ["log"]):
        raise ValueError(f"{field}: {word!r}; allowed: low:high or low:high:log")
    ends: Sequence[Any] = [_one(field, kind, end, word) for end in (low, high)]
    found = Range(*ends, log=bool(scale), whole=kind is int)
    if not (math.isfinite(found.low) and math.isfinite(found.high) and found.low < found.high):
        raise ValueError(f"{field}: {word!r} is empty; allowed: low:high with low below high")
    if found.log and found.low <= 0:
        raise ValueError(f"{field}: {word!r}; allowed on a log scale: above 0")
    return found


def _one(field: str, kind: type, word: str, whole_word: str = "") -> Any:
    where = f" in {whole_word!r}" if whole_word else ""
    if kind is bool:
        if word.lower() not in TRUTH:
            raise ValueError(f"{field}: {word!r}{where}; allowed: true, false")
        return TRUTH[word.lower()]
    try:
        return kind(word)
    except ValueError:
        allowed = "whole numbers such as 8 or 8:24" if kind is int else "numbers such as 1e-3"
        raise ValueError(f"{field}: {word!r}{where}; allowed: {allowed}") from None
