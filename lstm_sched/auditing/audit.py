"""The audit of a boundary: the state before it compared with the state after it, component by component."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lstm_sched import monitor
from lstm_sched.auditing.components import COLUMN, components, weight_of, weight_path
from lstm_sched.auditing.fate import Pair, Row, row
from lstm_sched.auditing.leaves import Leaf, leaves
from lstm_sched.policy import fates
from lstm_sched.presets import CONTINUE, DIALECTS, POLICIES

ZERO = ("m", "v", "count", "schedule clock", "accumulator", "step", "epoch", "carry", "position")
AS_WEIGHTS = ("average", "best", "schedule-free")  # they begin as the weights that the boundary leaves
OF_OPTIMIZER = ("m", "v", "count", "schedule clock", "accumulator")
COMPONENTS = (*fates(CONTINUE), *COLUMN)  # in the order of the table


@dataclass(frozen=True, kw_only=True)
class Audit:
    """The fate of each component at a boundary. It prints as a table with a sentence below it."""

    rows: tuple[Row, ...]  # one per component
    policies: tuple[str, ...]  # named policies that do just this, in the order of `named_policies`

    def __str__(self) -> str:
        cells = [COLUMNS, *map(in_words, self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]
        return "\n".join([*lines, describe(seen(self.rows))])

    __repr__ = __str__


COLUMNS = ("component", "fate", "numbers that differ", "largest distance", "first leaf that differs", "note")


def in_words(component: Row) -> tuple[str, ...]:
    """The cells of a component under COLUMNS."""
    differ = f"{component.differing:,} of {component.numbers:,}" if component.differing else "none"
    ulp = "" if component.ulp is None else f"{component.ulp:,} ulp"
    return component.component, component.fate, differ, ulp, component.first, component.note


def audit(before: Any, after: Any, fresh: Any = None) -> Audit:
    """Find the fate of each component, from the state before a boundary and the state after it.

        >>> import numpy as np, lstm_sched as ls
        >>> before = {"params": {"w": np.ones(3)}, "opt_state": {"mu": np.ones(3), "count": np.int32(7)}}
        >>> after = before | {"opt_state": {"mu": np.ones(3), "count": np.int32(0)}}
        >>> print(ls.audit(before, after))
        component  fate   numbers that differ  largest distance  first leaf that differs  note
        weights    kept   none
        m          kept   none
        count      reset  1 of 1                                 ['opt_state']['count']
        Dropped or changed: count. Named policies that do just this: drop_count.

    Args:
        before: the state just before the boundary: a tree of arrays, a `Progress`, or the path of an .npz file or a
            checkpoint folder.
        after: the state just after it.
        fresh: the run's first state, to which a reset returns. Without it a reset means 0 for moments, counts
            and clocks, 1 for `rate`, and the weights after the boundary for averages and schedule-free's z;
            new weights then count as changed, and a stream that has never moved counts as kept.

    Raises:
        ValueError: the two states have no leaf in common, or a file holds pickled objects.
        TypeError: a leaf is no array.
        FileNotFoundError: no such file.
    """
    old, new = leaves(before), leaves(after)
    first = {f".monitor{leaf.name}": leaf for leaf in leaves(monitor.begin())}
    first |= {leaf.name: leaf for leaf in ([] if fresh is None else leaves(fresh))}
    before_by, after_by = ({leaf.name: leaf for leaf in side} for side in (old, new))
    if not before_by.keys() & after_by.keys():
        raise ValueError(
            f"after: no leaf of before is in it; before has {_some(old)}, after has {_some(new)}"
        )
    weights = {path: leaf.value for leaf in new if (path := weight_path(leaf)) is not None}
    union = old + [leaf for leaf in new if leaf.name not in before_by]
    pairs: dict[str, list[Pair]] = {}
    for leaf, component in zip(union, components(union), strict=True):
        initial = _initial(leaf, component, first, weights)
        pair = Pair(before=before_by.get(leaf.name), after=after_by.get(leaf.name), initial=initial)
        pairs.setdefault(component, []).append(pair)
    rows = tuple(row(component, pairs[component]) for component in COMPONENTS if component in pairs)
    return Audit(rows=rows, policies=named_policies(seen(rows)))


def _some(side: list[Leaf]) -> str:
    return ", ".join(leaf.name or "one array" for leaf in side[:3]) or "none"


def _initial(
    leaf: Leaf, component: str, first: Mapping[str, Leaf], weights: Mapping[tuple[str, ...], np.ndarray]
) -> list[np.ndarray]:
    """The values that a leaf may have after a reset."""
    values = [first[leaf.name].value] if leaf.name in first else []
    if component in AS_WEIGHTS:
        path = weight_of(leaf, {path: weight.shape for path, weight in weights.items()})
        values += [weights[path]] if path else []
    if not leaf.key and leaf.value.dtype.kind in "biufV":
        if component in ZERO and not values:
            values.append(np.zeros_like(leaf.value))
        if component == "rate" and leaf.name.endswith(".rate"):
            values.append(np.ones_like(leaf.value))
    return values


def seen(rows: Sequence[Row]) -> dict[str, float | None]:
    """The observed keep-fraction of each component whose row `tells`; None where no fraction fits."""
    return {row.component: row.fraction for row in rows if row.tells}


def differences(name: str, kept: Mapping[str, float | None]) -> list[str]:
    """The components whose fraction under a named policy is not the observed one (`kept`, from `seen`)."""
    policy = fates(POLICIES[name])
    columns = {component: COLUMN.get(component, component) for component in kept}
    return [c for c, column in columns.items() if column is not None and not _agree(policy[column], kept[c])]


def _agree(fraction: float, kept: float | None) -> bool:
    """Whether a policy's fraction is the observed one, up to the rounding of a blend."""
    return kept == fraction or (
        kept is not None and 0 < kept < 1 and math.isclose(fraction, kept, rel_tol=1e-3)
    )


def named_policies(kept: Mapping[str, float | None]) -> tuple[str, ...]:
    """Name the policies that agree with the observed fractions.

    Keras' come before the others; in each group, those come first that drop fewest unobserved components.
    """
    if not kept:
        return ()
    columns = {COLUMN.get(component, component) for component in kept}

    def rank(name: str) -> tuple[bool, int]:
        unseen = [fraction for column, fraction in fates(POLICIES[name]).items() if column not in columns]
        return name in DIALECTS, sum(fraction != 1 for fraction in unseen)

    return tuple(sorted((name for name in POLICIES if not differences(name, kept)), key=rank))


def describe(kept: Mapping[str, float | None]) -> str:
    """Write sentences: what was dropped, whether the optimizer is a new one, and which policies do this."""
    dropped = [component for component, fraction in kept.items() if fraction != 1]
    if not kept:
        return "Nothing can be said: every component still had its initial value."
    if not dropped:
        return "Nothing was dropped: every component that could tell was kept bit for bit."
    sentences = [f"Dropped or changed: {', '.join(dropped)}."]
    optimizer = {component: kept[component] for component in OF_OPTIMIZER if component in kept}
    if optimizer.keys() & {"m", "v"} and all(fraction == 0 for fraction in optimizer.values()):
        sentences.append("That is a new optimizer object (opt.init, or compile, at the boundary).")
    names = named_policies(kept)
    if names:
        sentences.append(f"Named policies that do just this: {', '.join(names)}.")
    else:
        nearest = min(POLICIES, key=lambda name: len(differences(name, kept)))
        but = ", ".join(differences(nearest, kept))
        sentences.append(f"No named policy does just this; the nearest is {nearest}, which differs in {but}.")
    return " ".join(sentences)
