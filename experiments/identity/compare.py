"""How two states differ: bits, distance, and the first difference by epoch, step, component and leaf."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.identity.design import Cell
from experiments.identity.lowerings import LAYOUTS, Training, advance, begin
from lstm_sched import population
from lstm_sched.auditing.fate import distance
from lstm_sched.auditing.leaves import Leaf, leaves
from lstm_sched.learner import steps_per_epoch
from lstm_sched.members import Progress


class Difference(NamedTuple):
    """Of two states with the same leaves."""

    bits: int  # that differ
    ulp: int  # largest distance of two floats
    weight: float  # largest difference of two weights
    component: str  # the first that differs; nothing where none does
    leaf: str  # of it


class First(NamedTuple):
    """Where two trainings part; `exact` is False where they are first seen apart later than they parted."""

    epoch: int
    step: int
    component: str
    leaf: str
    exact: bool


class Result(NamedTuple):
    """A cell and what was found."""

    cell: Cell
    same: Difference  # from one fit in the same lowering
    across: Difference  # of the state, from one fit in the run scan
    first: First | None  # where it parts from the one that it differs from
    note: str
    held: bool


def _named(components: dict[str, Any]) -> list[tuple[str, str, Leaf]]:
    """Component, name in it, and array of every leaf."""
    return [(name, ".".join(leaf.path), leaf) for name, tree in components.items() for leaf in leaves(tree)]


def everything(progress: Progress) -> dict[str, Any]:
    """All that a run carries, by component, but whether a boundary fell before its last epoch."""
    rest = {"clock": progress.clock, "selected": progress.selected._asdict()}
    log = progress.log._replace(boundary=())._asdict()
    return progress.state._asdict() | rest | {"log": log}


def trained(one: Training, progress: Progress) -> dict[str, Any]:
    """The state of the first member, which every lowering trains."""
    return (population.take(progress, 0) if one.lowering in LAYOUTS else progress).state._asdict()


def difference(one: dict[str, Any], other: dict[str, Any]) -> Difference:
    """Of the same components of two states. ValueError where their leaves are of other types or shapes."""
    bits, ulp, weight, first = 0, 0, 0.0, ("", "")
    for (component, name, a), (_, _, b) in zip(_named(one), _named(other), strict=True):
        x, y = (np.ascontiguousarray(leaf.value) for leaf in (a, b))
        if x.dtype != y.dtype or x.shape != y.shape:
            raise ValueError(f"{component} {name}: {x.dtype}{x.shape} and {y.dtype}{y.shape}; allowed: alike")
        apart = int(np.bitwise_count(x.reshape(-1).view(np.uint8) ^ y.reshape(-1).view(np.uint8)).sum())
        if not apart:
            continue
        bits, ulp = bits + apart, max(ulp, distance(a, b) or 0)
        first = first if first[0] else (component, name)
        if component == "params":
            apart_N = np.abs(x.astype(float) - y.astype(float))
            weight = max(weight, float(np.nan_to_num(apart_N, nan=np.inf).max()))
    return Difference(bits, ulp, weight, *first)


def first_seen(one: Training, seen: Sequence[Progress]) -> First | None:
    """The first of the states after fits that one fit, run so far without a pause, does not have."""
    for progress in seen:
        clock = int(np.max(progress.clock))
        want = advance(one, begin(one), clock)
        found = difference(everything(progress), everything(want))
        if found.bits:
            step = int(np.max(np.asarray(want.state.step)))
            return First(clock, step, found.component, found.leaf, exact=False)
    return None


def first_apart(one: Training, other: Training, freezes: bool) -> First | None:
    """Where two lowerings of one training part: first by epoch, then, where a rate of 0 leaves the weights as they
    are, by step.

    The rates are data: with those after step s at 0, the same compiled program ends an epoch with the weights of step
    s. Only weights tell then, as moments move on.
    """
    pair, steps = (one, other), steps_per_epoch(one.learner, one.data.train.size)

    def apart(end: int, last: int, *only: str) -> Difference:
        a, b = (trained(t, advance(_until(t, last), begin(t), end)) for t in pair)
        names = only or tuple(a)
        return difference({name: a[name] for name in names}, {name: b[name] for name in names})

    for epoch in range(1, one.epochs + 1):
        found = apart(epoch, epoch * steps)
        if not found.bits:
            continue
        for step in range((epoch - 1) * steps + 1, epoch * steps + 1) if freezes else ():
            early = apart(epoch, step, "params")
            if early.bits:
                return First(epoch, step, "params", early.leaf, exact=True)
        return First(epoch, epoch * steps, found.component, found.leaf, exact=False)
    return None


def _until(one: Training, last: int) -> Training:
    """The rates after step `last` at 0."""
    rates_MS = one.member_M.hp.rates_S
    live_S = np.arange(rates_MS.shape[-1]) < last
    hp = one.member_M.hp._replace(rates_S=np.where(live_S, np.asarray(rates_MS), np.float32(0)))
    return one._replace(member_M=one.member_M._replace(hp=hp))
