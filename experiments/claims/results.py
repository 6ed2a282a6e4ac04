"""Results of other experiments, read by path: the newest run of each series in the question's setting."""

import csv
import dataclasses
import json
import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.harness import run_folder
from experiments.harness.setting import WHERE, Setting
from lstm_sched import stats

RECORDED = Path(__file__).resolve().parents[2] / "docs"  # results that are published with the code
FREE = {  # fields in which a run may differ from the question's setting
    *("data", "target", "time", "features", "group", "missing", "period"),
    *("seeds", *WHERE),
}
EARLY = 10  # epoch at which convergence "at first" is compared
KERAS = "Keras"  # the start of the names of Keras' packages
CALLS = ("package", "arm", "steps", "call_median", "share_low", "share_median", "share_high")
RULES = ("rule", "patience", "memory", "n", "epochs_median", "metric", "mean", "lo", "hi", "verdict")


@dataclass(frozen=True, kw_only=True)
class Table:
    """A file of results and the configuration that it came from."""

    file: Path
    command: str
    config: dict[str, Any]
    rows: list[dict[str, str]]

    @property
    def series(self) -> str:
        return self.config["data"][0]

    @property
    def place(self) -> str:
        """The path of the file's folder, as it can be typed."""
        folder = self.file.parent.resolve()
        return str(folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder)


@dataclass(frozen=True, kw_only=True)
class Refit:
    """The results of `refit` on one series, without controls."""

    table: Table
    effects: dict[str, tuple[stats.Effect, stats.Effect]]  # arm -> effects on END and SELECTED
    early: stats.Effect | None  # on keras_recompile's validation loss at epoch EARLY; None without curves


@dataclass(frozen=True, kw_only=True)
class Rule:
    """The result of `monitoring` for one rule, relative to one fit without it."""

    table: Table
    rule: str  # stopping, plateau
    patience: int
    memory: str  # one fit; in a loop: kept, or reset or initial_epoch, which restart the rule in each fit
    epochs_median: float  # trained
    metric: str
    effect: stats.Effect  # n, mean, interval and verdict; the rest is not in the file


@dataclass(frozen=True, kw_only=True)
class Call:
    """The time that a call or boundary adds to an epoch of `steps` steps, as measured by `overhead`."""

    table: Table
    package: str
    arm: str  # calls, recompile, scratch; for this library also keep, a boundary that drops nothing
    steps: int
    seconds: float
    low: float  # the share of the epoch: lower quartile, median, upper quartile
    share: float
    high: float


def newest(experiment: str, name: str, columns: Collection[str], runs: Path) -> list[Table]:
    """One table per series, from files called `name`; the published ones if no run has any.

    ValueError, naming the file, if a column is missing.
    """
    for root in (runs, RECORDED):
        newest_of = {}
        for file in sorted((root / experiment).rglob(name), key=lambda path: path.stat().st_mtime):
            stored = run_folder.read_json(file.parent / "config.json")
            config = stored["config"]
            if _is_question(config) and "rates" not in stored:  # with them each arm has its own
                newest_of[config["data"][0]] = file
        if newest_of:
            return [_table(file, experiment, columns) for file in newest_of.values()]
    return []


def _table(file: Path, experiment: str, columns: Collection[str]) -> Table:
    """Read a file of results. ValueError, naming the file, if a column is missing."""
    stored = run_folder.read_json(file.parent / "config.json")
    with file.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    for column in columns:
        if any(row.get(column) is None for row in rows) or not rows:
            raise ValueError(f"{file}: no column {column!r}; allowed: results of {experiment}")
    return Table(file=file, command=stored["command"], config=stored["config"], rows=rows)


def _is_question(config: dict[str, Any]) -> bool:
    """Whether a run has the question's setting; fields missing from an older config have their defaults."""
    asked = {field.name: field.default for field in dataclasses.fields(Setting) if field.name not in FREE}
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in asked.items()}
    return {**plain, **{k: config[k] for k in plain if k in config}} == plain


def refits(runs: Path) -> list[Refit]:
    """The newest results of `refit`."""
    columns = ("arm", "metric", "control", *stats.Effect._fields)
    return [_refit(table) for table in newest("refit", "effects.csv", columns, runs)]


def _refit(table: Table) -> Refit:
    by = {(row["arm"], row["metric"]): _effect(row) for row in table.rows if row["control"] == "False"}
    effects = {arm: (by[arm, stats.Metric.END], by[arm, stats.Metric.SELECTED]) for arm, _ in by}
    return Refit(table=table, effects=effects, early=_early(table.file.parent / "metrics.jsonl"))


def _effect(row: dict[str, str]) -> stats.Effect:
    kinds = stats.Effect.__annotations__
    fields: list[Any] = [kind(row[k]) if kind in (int, float) else row[k] for k, kind in kinds.items()]
    return stats.Effect(*fields)


def _early(curves: Path) -> stats.Effect | None:
    """The effect at epoch EARLY, paired by seed; a run with a non-finite loss counts as diverged."""
    if not curves.exists():
        return None
    val: dict[str, dict[int, float]] = {"keras_recompile": {}, "one_fit": {}}
    with curves.open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            if row["epoch"] == EARLY and row["arm"] in val:
                val[row["arm"]][row["seed"]] = math.inf if row["val"] is None else math.log(row["val"])
    seeds = sorted(val["keras_recompile"])
    if not seeds:
        return None
    return stats.compare(*(np.array([val[arm][seed] for seed in seeds]) for arm in val), family=1)


def rules(runs: Path) -> list[Rule]:
    """The newest results of `monitoring`."""
    return [
        Rule(
            table=table,
            rule=row["rule"],
            patience=int(row["patience"]),
            memory=row["memory"],
            epochs_median=float(row["epochs_median"]),
            metric=row["metric"],
            effect=_effect(dict.fromkeys(stats.Effect._fields, "0") | row | {"qualifier": ""}),
        )
        for table in newest("monitoring", "rules.csv", RULES, runs)
        for row in table.rows
    ]


def calls(runs: Path) -> list[Call]:
    """The newest results of `overhead` that have Keras among them."""
    for root in (runs, RECORDED):
        files = (root / "overhead").rglob("costs.csv")
        for file in sorted(files, key=lambda path: path.stat().st_mtime, reverse=True):
            table = _table(file, "overhead", CALLS)
            measured = [_call(table, row) for row in table.rows]
            if any(call.package.startswith(KERAS) for call in measured):
                return measured
    return []


def _call(table: Table, row: dict[str, str]) -> Call:
    seconds, low, share, high = (float(row[name]) for name in CALLS[3:])
    return Call(
        table=table,
        package=row["package"],
        arm=row["arm"],
        steps=int(row["steps"]),
        seconds=seconds,
        low=low,
        share=share,
        high=high,
    )
