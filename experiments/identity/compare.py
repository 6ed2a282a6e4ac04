"""How two states differ: bits, distance, and the first difference by epoch, step, component and leaf."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.identity.design import Cell
from experiments.identity.lowerings import LAYOUTS, Training, advance, begin
from lstm_sched import population
from lstm_sched.auditing.fate import distance
from lstm_sched.auditing.leaves import Leaf, leaves
from lstm_sched.learner import steps_per_epoch
from lstm_sched.members import Progress


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The difference between two states with the same leaves."""

    bits: int = 0  # number of bits that differ
    ulp: int = 0  # largest distance of two floats, in units in the last place
    weight: float = 0.0  # largest difference of two weights
    component: str = ""  # the first component that differs; empty if none does
    leaf: str = ""  # the first leaf of that component that differs


@dataclass(frozen=True, kw_only=True)
class First:
    """The point where two trainings part; `exact` is False if they may have parted earlier."""

    epoch: int
    step: int
    component: str
    leaf: str
    exact: bool


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of a cell."""

    cell: Cell
    same: Difference  # from one fit in the same lowering
    across: Difference  # of the state, from one fit in the run scan
    first: First | None  # where it parts from the training that it differs from
    note: str
    held: bool  # whether it is as expected


def result_of(fields: Mapping[str, Any]) -> Result:
    """A result from the JSON of its fields."""
    return Result(
        cell=Cell(**fields["cell"]),
        same=Difference(**fields["same"]),
        across=Difference(**fields["across"]),
        first=None if fields["first"] is None else First(**fields["first"]),
        note=fields["note"],
        held=fields["held"],
    )


def everything(progress: Progress) -> dict[str, Any]:
    """All arrays that a run carries, by component, except the flag for a boundary before its last epoch."""
    rest = {"clock": progress.clock, "selected": progress.selected._asdict()}
    log = progress.log._replace(boundary=())._asdict()
    return progress.state._asdict() | rest | {"log": log}


def trained_state(training: Training, progress: Progress) -> dict[str, Any]:
    """The state of the first member, which every lowering trains."""
    return (population.take(progress, 0) if training.lowering in LAYOUTS else progress).state._asdict()


def difference(components: dict[str, Any], reference: dict[str, Any]) -> Difference:
    """The difference between the components of two states. ValueError if leaves differ in type or shape."""
    bits, ulp, weight, first = 0, 0, 0.0, ("", "")
    for (component, name, a), (_, _, b) in zip(_named(components), _named(reference), strict=True):
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
    return Difference(bits=bits, ulp=ulp, weight=weight, component=first[0], leaf=first[1])


def _named(components: dict[str, Any]) -> list[tuple[str, str, Leaf]]:
    """(component, name in it, array) of every leaf."""
    return [(name, ".".join(leaf.path), leaf) for name, tree in components.items() for leaf in leaves(tree)]


def first_seen(training: Training, after_fits: Sequence[Progress]) -> First | None:
    """The first state after a fit that differs from one fit trained equally far without a pause."""
    for progress in after_fits:
        clock = int(np.max(progress.clock))
        expected = advance(training, begin(training), clock)
        apart = difference(everything(progress), everything(expected))
        if apart.bits:
            step = int(np.max(np.asarray(expected.state.step)))
            return First(epoch=clock, step=step, component=apart.component, leaf=apart.leaf, exact=False)
    return None


def first_apart(training: Training, reference: Training, freezes: bool) -> First | None:
    """The epoch where two lowerings of one training part, and the step if a rate of 0 freezes the weights.

    Rates are data: if those after step s are 0, the same compiled program ends an epoch with the weights of
    step s. Only weights are compared in this case, since moments still change.
    """
    pair, steps = (training, reference), steps_per_epoch(training.learner, training.data.train.size)

    def apart(end: int, last: int, *only: str) -> Difference:
        a, b = (trained_state(t, advance(_until(t, last), begin(t), end)) for t in pair)
        names = only or tuple(a)
        return difference({name: a[name] for name in names}, {name: b[name] for name in names})

    for epoch in range(1, training.epochs + 1):
        whole = apart(epoch, epoch * steps)
        if not whole.bits:
            continue
        for step in range((epoch - 1) * steps + 1, epoch * steps + 1) if freezes else ():
            early = apart(epoch, step, "params")
            if early.bits:
                return First(epoch=epoch, step=step, component="params", leaf=early.leaf, exact=True)
        last = epoch * steps
        return First(epoch=epoch, step=last, component=whole.component, leaf=whole.leaf, exact=False)
    return None


def _until(training: Training, last: int) -> Training:
    """The same training with rates of 0 after step `last`."""
    rates_MS = training.member_M.hp.rates_S
    live_S = np.arange(rates_MS.shape[-1]) < last
    hp = training.member_M.hp._replace(rates_S=np.where(live_S, np.asarray(rates_MS), np.float32(0)))
    return dataclasses.replace(training, member_M=training.member_M._replace(hp=hp))
