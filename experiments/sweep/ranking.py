"""What a sweep's rows say: which configuration is best, how the loss responds to each field, and what went wrong.

A configuration is the rows that differ in nothing but number and seed. All is decided on the lowest validation loss
of each training, as a log, averaged over seeds; the test part is shown and decides nothing.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.sweep.task.rungs import OUTCOME
from lstm_sched import stats

Row = dict[str, Any]
NOT_FIELDS = ("number", "seed", "state", "why", "epochs_run", *OUTCOME)
ONE_FIT = "one_fit"
NONE = "–"  # what is printed where a field has no value
FIRST = ("policy", "lr")  # fields in the order in which they are shown; then the others
FEW = 10  # different numbers of a field: more are put into bins
STATES = ("finished", "pruned", "diverged", "failed")  # from the best to the worst


class Mean(NamedTuple):
    """The geometric mean of a loss over seeds and its 95 % t interval; nan where there is none."""

    mean: float
    lo: float
    hi: float


class Configuration(NamedTuple):
    """A configuration and what came of its seeds."""

    fields: dict[str, Any]
    seeds: tuple[int, ...]
    state: str  # of STATES: the worst of its seeds
    diverged: int  # of its seeds
    epochs_run: int
    best_epoch: float  # median over seeds
    val: Mean  # at the lowest validation loss
    test: Mean  # there
    test_end: Mean
    why: str


class Answered(NamedTuple):
    """A sweep's rows, understood."""

    ranked: list[Configuration]  # the best first
    varied: list[str]  # fields of which there is more than one value
    cells: Counter[str]  # how many trainings of each of STATES


def answer(rows: Sequence[Row]) -> Answered:
    """Configurations in the order of their rank."""
    fields = [name for name in (rows[0] if rows else ()) if name not in NOT_FIELDS]
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in fields), []).append(row)
    found = [_configuration(dict(zip(fields, key, strict=True)), own) for key, own in groups.items()]
    return Answered(sorted(found, key=_rank), _varied(rows, fields), Counter(map(_state, rows)))


def _state(row: Row) -> str:
    return "diverged" if row["diverged"] else row["state"]


def _configuration(fields: dict[str, Any], rows: list[Row]) -> Configuration:
    state = max(map(_state, rows), key=STATES.index)
    ran = [row for row in rows if row["state"] != "failed"]
    return Configuration(
        fields,
        tuple(row["seed"] for row in rows),
        state,
        sum(bool(row["diverged"]) for row in rows),
        max((row["epochs_run"] for row in ran), default=0),
        float(np.median([row["best_epoch"] for row in ran])) if ran else math.nan,
        *(_mean([row[name] for row in ran]) for name in ("val_selected", "test_selected", "test_end")),
        why=next((row["why"] for row in rows if row["why"]), ""),
    )


def _mean(losses: list[float]) -> Mean:
    """Over seeds; nan where one is not finite."""
    if not losses or not all(math.isfinite(loss) and loss > 0 for loss in losses):
        return Mean(math.nan, math.nan, math.nan)
    logs = np.log(losses)
    if len(logs) == 1:
        return Mean(float(np.exp(logs[0])), math.nan, math.nan)
    return Mean(*(float(np.exp(x)) for x in stats.interval(logs, 1)))


def _rank(one: Configuration) -> tuple[int, int, float]:
    """Those that were trained to the end first; of the others those that ran longer."""
    val = one.val.mean
    return (
        STATES.index(one.state),
        -one.epochs_run * (one.state == "pruned"),
        math.inf if math.isnan(val) else val,
    )


def _varied(rows: Sequence[Row], fields: Sequence[str]) -> list[str]:
    """Not `every` where only one fit, which has but one, differs in it."""
    found = [name for name in fields if len({row[name] for row in rows}) > 1]
    loops = {row["every"] for row in rows if row["policy"] != ONE_FIT}
    found = [name for name in found if name != "every" or len(loops) > 1]
    return [name for name in FIRST if name in found] + [name for name in found if name not in FIRST]


class Response(NamedTuple):
    """The loss at one value of a field, or in one bin of its values."""

    label: str
    lo: Any  # the values themselves; the same where there is no bin
    hi: Any
    best: Configuration
    median: float  # of the means of its configurations
    size: int  # configurations, those that diverged or failed left out
    lost: int  # that diverged or failed


def response(answered: Answered, field: str) -> list[Response]:
    """How the lowest validation loss goes with a field, whatever the others are; values where none ran are left out."""
    found = []
    for label, lo, hi, own in _bins(having(answered.ranked, field), field):
        ran = [one for one in own if math.isfinite(one.val.mean) and one.state in ("finished", "pruned")]
        if ran:
            median = float(np.median([one.val.mean for one in ran]))
            found.append(Response(label, lo, hi, ran[0], median, len(ran), len(own) - len(ran)))
    return found


def having(ranked: Sequence[Configuration], field: str) -> list[Configuration]:
    """Those in which the field means something."""
    return [one for one in ranked if value(one, field) != NONE or field != "every"]


def _bins(ranked: Sequence[Configuration], field: str) -> list[tuple[str, Any, Any, list[Configuration]]]:
    """(label, lowest, highest, configurations): one a value, or as many numbers in each where there are many."""
    values = list(dict.fromkeys(one.fields[field] for one in ranked))
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    values = sorted(values) if numbers else values
    if not numbers or len(values) <= FEW:
        parts = [[value] for value in values]
    else:
        parts = [list(part) for part in np.array_split(np.array(values), FEW // 2)]
    found = []
    for part in parts:
        lo, hi = part[0], part[-1]
        label = text(lo) if lo == hi else f"{text(lo)} to {text(hi)}"
        found.append((label, lo, hi, [one for one in ranked if one.fields[field] in part]))
    return found


class BestRate(NamedTuple):
    """A policy at its own best learning rate."""

    policy: str
    best: Configuration
    rates: tuple[float, ...]  # that were tried, rising
    edge: str  # "lowest" or "highest" where the best is at an end of them: a better one may lie beyond


def best_rates(answered: Answered) -> list[BestRate]:
    """Of each policy its best configuration and where its learning rate lies among those tried; the best first."""
    found = []
    for policy in dict.fromkeys(one.fields["policy"] for one in answered.ranked):
        own = [one for one in answered.ranked if one.fields["policy"] == policy]
        rates = tuple(sorted({one.fields["lr"] for one in own}))
        best = own[0].fields["lr"]
        ends = {} if len(rates) == 1 else {rates[0]: "lowest", rates[-1]: "highest"}
        edge = ends.get(best, "")
        found.append(BestRate(policy, own[0], rates, edge))
    return found


def text(value: Any) -> str:
    """A field's value as it is printed."""
    if value is None or value == "":
        return NONE
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def name(one: Configuration, varied: Sequence[str]) -> str:
    """What tells a configuration from the others."""
    told = [(field, value(one, field)) for field in varied]
    words = [shown if field == "policy" else f"{field} {shown}" for field, shown in told if shown != NONE]
    return ", ".join(words) or "the one configuration"


def value(one: Configuration, field: str) -> str:
    """A field's value as it is printed; one fit has no fits of a length."""
    return NONE if field == "every" and one.fields["policy"] == ONE_FIT else text(one.fields[field])
