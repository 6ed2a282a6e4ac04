"""The ranking of a sweep's configurations, the response of the loss to each field, and the failures.

Rows that differ only in number and seed are one configuration. All decisions rest on the log of the lowest
validation loss, averaged over seeds; the test loss is shown and decides nothing.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.harness.arms import REFERENCE
from experiments.sweep.results import Row
from experiments.sweep.task.rungs import OUTCOME
from lstm_sched import stats

NOT_FIELDS = ("number", "seed", "state", "why", "epochs_run", *OUTCOME)
NONE = "–"  # printed where a field has no value
FIRST = ("policy", "lr")  # fields that are shown before the others
FEW = 10  # distinct numbers of a field; more are put into bins
STATES = ("finished", "pruned", "diverged", "failed")  # from the best to the worst


@dataclass(frozen=True, kw_only=True)
class Mean:
    """The geometric mean of a loss over seeds and its 95 % t interval; nan where there is none."""

    mean: float = math.nan
    lo: float = math.nan
    hi: float = math.nan


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """A configuration and the results of its seeds."""

    fields: dict[str, Any]
    seeds: tuple[int, ...]
    state: str  # of STATES: the worst of its seeds
    diverged: int  # seeds
    epochs_run: int
    best_epoch: float  # median over seeds
    val: Mean  # at the lowest validation loss
    test: Mean  # at the same epoch
    test_end: Mean
    why: str

    @property
    def ran(self) -> bool:
        """Whether all its seeds were trained and none failed or diverged."""
        return math.isfinite(self.val.mean) and self.state in ("finished", "pruned")


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """All configurations of a sweep."""

    ranked: list[Ranked]  # the best first
    varied: list[str]  # fields that have more than one value
    counts: Counter[str]  # trainings in each of STATES


def rank(rows: Sequence[Row]) -> Ranking:
    """The configurations of a sweep's rows, the best first."""
    fields = [name for name in (rows[0] if rows else ()) if name not in NOT_FIELDS]
    alike: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        alike.setdefault(tuple(row[name] for name in fields), []).append(row)
    ranked = [_ranked(dict(zip(fields, key, strict=True)), several) for key, several in alike.items()]
    return Ranking(
        ranked=sorted(ranked, key=_place), varied=_varied(rows, fields), counts=Counter(map(_state, rows))
    )


def _state(row: Row) -> str:
    return "diverged" if row["diverged"] else row["state"]


def _ranked(fields: dict[str, Any], rows: list[Row]) -> Ranked:
    ran = [row for row in rows if row["state"] != "failed"]
    val, test, test_end = (
        _mean([row[name] for row in ran]) for name in ("val_selected", "test_selected", "test_end")
    )
    return Ranked(
        fields=fields,
        seeds=tuple(row["seed"] for row in rows),
        state=max(map(_state, rows), key=STATES.index),
        diverged=sum(bool(row["diverged"]) for row in rows),
        epochs_run=max((row["epochs_run"] for row in ran), default=0),
        best_epoch=float(np.median([row["best_epoch"] for row in ran])) if ran else math.nan,
        val=val,
        test=test,
        test_end=test_end,
        why=next((row["why"] for row in rows if row["why"]), ""),
    )


def _mean(losses: list[float]) -> Mean:
    """The mean over seeds; nan if a loss is not finite."""
    if not losses or not all(math.isfinite(loss) and loss > 0 for loss in losses):
        return Mean()
    logs = np.log(losses)
    if len(logs) == 1:
        return Mean(mean=float(np.exp(logs[0])))
    mean, lo, hi = (float(np.exp(x)) for x in stats.interval(logs, 1))
    return Mean(mean=mean, lo=lo, hi=hi)


def _place(configuration: Ranked) -> tuple[int, int, float]:
    """A sort key: finished configurations come first; pruned ones that ran longer precede others."""
    val = configuration.val.mean
    return (
        STATES.index(configuration.state),
        -configuration.epochs_run * (configuration.state == "pruned"),
        math.inf if math.isnan(val) else val,
    )


def _varied(rows: Sequence[Row], fields: Sequence[str]) -> list[str]:
    """The fields that vary, without `every` if it is the same for all loops."""
    varied = [name for name in fields if len({row[name] for row in rows}) > 1]
    if len({row["every"] for row in rows if row["policy"] != REFERENCE}) <= 1:
        varied = [name for name in varied if name != "every"]
    return [name for name in FIRST if name in varied] + [name for name in varied if name not in FIRST]


@dataclass(frozen=True, kw_only=True)
class Response:
    """The loss at one value of a field, or in one bin of its values."""

    label: str
    lo: Any  # the lowest and highest value; equal where there is no bin
    hi: Any
    best: Ranked
    median: float  # of the means of its configurations
    size: int  # configurations, without those that diverged or failed
    lost: int  # configurations that diverged or failed


def response(ranking: Ranking, field: str) -> list[Response]:
    """How the lowest validation loss depends on a field, over all values of the other fields."""
    responses = []
    for label, lo, hi, several in _bins(having(ranking.ranked, field), field):
        if ran := [configuration for configuration in several if configuration.ran]:
            median = float(np.median([configuration.val.mean for configuration in ran]))
            lost = len(several) - len(ran)
            responses.append(
                Response(label=label, lo=lo, hi=hi, best=ran[0], median=median, size=len(ran), lost=lost)
            )
    return responses


def having(ranked: Sequence[Ranked], field: str) -> list[Ranked]:
    """The configurations in which the field means something."""
    return [c for c in ranked if value(c, field) != NONE or field != "every"]


def _bins(ranked: Sequence[Ranked], field: str) -> list[tuple[str, Any, Any, list[Ranked]]]:
    """(label, lowest, highest, configurations): one bin per value, or bins of equal size for many numbers."""
    values = list(dict.fromkeys(c.fields[field] for c in ranked))
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in values)
    values = sorted(values) if numbers else values
    if not numbers or len(values) <= FEW:
        parts = [[x] for x in values]
    else:
        parts = [list(part) for part in np.array_split(np.array(values), FEW // 2)]
    bins = []
    for part in parts:
        lo, hi = part[0], part[-1]
        label = text(lo) if lo == hi else f"{text(lo)} to {text(hi)}"
        bins.append((label, lo, hi, [c for c in ranked if c.fields[field] in part]))
    return bins


@dataclass(frozen=True, kw_only=True)
class BestRate:
    """A policy at its own best learning rate."""

    policy: str
    best: Ranked
    rates: tuple[float, ...]  # the rates that were tried, in increasing order
    edge: str  # "lowest" or "highest" if the best is at an end of them, so that a better one may lie beyond


def best_rates(ranking: Ranking) -> list[BestRate]:
    """Each policy's best configuration and where its learning rate lies among those tried; the best policy first."""
    best_of_policies = []
    for policy in dict.fromkeys(c.fields["policy"] for c in ranking.ranked):
        several = [c for c in ranking.ranked if c.fields["policy"] == policy]
        rates = tuple(sorted({c.fields["lr"] for c in several}))
        ends = {} if len(rates) == 1 else {rates[0]: "lowest", rates[-1]: "highest"}
        edge = ends.get(several[0].fields["lr"], "")
        best_of_policies.append(BestRate(policy=policy, best=several[0], rates=rates, edge=edge))
    return best_of_policies


def text(x: Any) -> str:
    """A value as it is printed."""
    if x is None or x == "":
        return NONE
    return f"{x:.4g}" if isinstance(x, float) else str(x)


def name(configuration: Ranked, varied: Sequence[str]) -> str:
    """The values of a configuration that distinguish it from the others."""
    values = {field: value(configuration, field) for field in varied}
    parts = [x if field == "policy" else f"{field} {x}" for field, x in values.items() if x != NONE]
    return ", ".join(parts) or "the one configuration"


def value(configuration: Ranked, field: str) -> str:
    """A field's value as it is printed; one fit has no `every`."""
    one_fit = field == "every" and configuration.fields["policy"] == REFERENCE
    return NONE if one_fit else text(configuration.fields[field])
