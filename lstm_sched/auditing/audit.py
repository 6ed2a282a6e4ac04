"""What did this boundary drop? On any two states, and on a user's own training code."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from lstm_sched import monitor
from lstm_sched.auditing.components import COLUMN, components, weight_of, weight_path
from lstm_sched.auditing.fate import Pair, Row, row
from lstm_sched.auditing.leaves import Leaf, leaves
from lstm_sched.policy import fates
from lstm_sched.presets import CONTINUE, DIALECTS, POLICIES

ZERO = ("m", "v", "count", "schedule clock", "accumulator", "step", "epoch", "carry", "position")
AS_WEIGHTS = ("average", "best", "schedule-free")  # they begin as the weights that the boundary leaves
KINDS = (*fates(CONTINUE), *COLUMN)  # in the order of the table


class Audit(NamedTuple):
    """rows: one a component; idioms: every named policy that does just this, in the order of `idioms`."""

    rows: tuple[Row, ...]
    idioms: tuple[str, ...]


def audit(before: Any, after: Any, fresh: Any = None) -> Audit:
    """What became of each component between the state just before a boundary and the one just after it.

    before, after, fresh: states as `snapshot.leaves` takes them: trees, `Progress`, .npz files, checkpoint folders.
    fresh: the run's first state. It decides what a reset returns to; without it that is 0 for moments, counts and
    clocks, 1 for `rate`, and the weights left by the boundary for averages and schedule-free's z, and neither a
    redraw of weights nor an unmoved stream can be told from other changes. Errors as `snapshot.leaves`; ValueError
    where the two have no leaf in common.
    """
    old, new = leaves(before), leaves(after)
    first = {f".monitor{leaf.name}": leaf for leaf in leaves(monitor.begin())}
    first |= {leaf.name: leaf for leaf in ([] if fresh is None else leaves(fresh))}
    before_by, after_by = ({leaf.name: leaf for leaf in side} for side in (old, new))
    if not before_by.keys() & after_by.keys():
        raise ValueError(
            f"after: no leaf of before is in it; before has {_some(old)}, after has {_some(new)}"
        )
    weights = {path: leaf for leaf in new if (path := weight_path(leaf)) is not None}
    union = old + [leaf for leaf in new if leaf.name not in before_by]
    found: dict[str, list[Pair]] = {}
    for leaf, kind in zip(union, components(union), strict=True):
        pair = Pair(before_by.get(leaf.name), after_by.get(leaf.name), _initial(leaf, kind, first, weights))
        found.setdefault(kind, []).append(pair)
    rows = tuple(row(kind, found[kind]) for kind in KINDS if kind in found)
    return Audit(rows, idioms(seen(rows)))


def _some(side: list[Leaf]) -> str:
    return ", ".join(leaf.name or "one array" for leaf in side[:3]) or "none"


def _initial(
    leaf: Leaf, kind: str, first: Mapping[str, Leaf], weights: Mapping[tuple[str, ...], Leaf]
) -> list[np.ndarray]:
    """The values that a reset may leave."""
    found = [first[leaf.name].value] if leaf.name in first else []
    if kind in AS_WEIGHTS:
        path = weight_of(leaf, {p: w.value.shape for p, w in weights.items()})
        found += [weights[path].value] if path else []
    if not leaf.key and leaf.value.dtype.kind in "biufV":
        if kind in ZERO and not found:
            found.append(np.zeros_like(leaf.value))
        if kind == "rate" and leaf.name.endswith(".rate"):
            found.append(np.ones_like(leaf.value))
    return found


def seen(rows: tuple[Row, ...]) -> dict[str, float | None]:
    """Keep-fraction of every component that tells anything."""
    return {r.component: r.fraction for r in rows if r.tells}


def differences(name: str, kept: Mapping[str, float | None]) -> list[str]:
    """Components of which a named policy keeps another part than what was seen."""
    policy = fates(POLICIES[name])
    columns = {component: COLUMN.get(component, component) for component in kept}
    return [c for c, column in columns.items() if column is not None and not _alike(policy[column], kept[c])]


def _alike(fraction: float, seen: float | None) -> bool:
    """What is kept in part is seen with the rounding of the blend."""
    return seen == fraction or (
        seen is not None and 0 < seen < 1 and math.isclose(fraction, seen, rel_tol=1e-3)
    )


def idioms(kept: Mapping[str, float | None]) -> tuple[str, ...]:
    """The named policies that agree with what was seen, Keras' before other frameworks', and of these first those that
    drop least of what was not seen."""
    fitting = [name for name in POLICIES if not differences(name, kept)]
    columns = {COLUMN.get(component, component) for component in kept}

    def supposed(name: str) -> tuple[bool, int]:
        return name in DIALECTS, sum(
            fraction != 1 for c, fraction in fates(POLICIES[name]).items() if c not in columns
        )

    return tuple(sorted(fitting, key=supposed)) if kept else ()


def describe(kept: Mapping[str, float | None]) -> str:
    """What was seen, in words: what is dropped, what kind of mistake that is, and the idioms that do it."""
    dropped = [c for c, fraction in kept.items() if fraction != 1]
    if not kept:
        return "Nothing can be said: every component still had its initial value."
    if not dropped:
        return "Nothing is dropped: of what could tell, every bit is kept."
    words = [f"Dropped or changed: {', '.join(dropped)}."]
    own = {c: f for c, f in kept.items() if c in ("m", "v", "count", "schedule clock", "accumulator")}
    if own.keys() & {"m", "v"} and not any(own.values()) and None not in own.values():
        words.append("That is a new optimizer object (opt.init, or compile, at the boundary).")
    names = idioms(kept)
    if names:
        words.append(f"Named idioms that do just this: {', '.join(names)}.")
    else:
        nearest = min(POLICIES, key=lambda name: len(differences(name, kept)))
        but = ", ".join(differences(nearest, kept))
        words.append(f"No named idiom does just this; the nearest is {nearest}, but for {but}.")
    return " ".join(words)
