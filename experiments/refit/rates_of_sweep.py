"""Each arm's best learning rate from the results of an earlier sweep, read by path."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars

from experiments.harness import run_folder
from experiments.harness.arms import Arm
from experiments.harness.setting import FIRST_SEED, WHERE, Setting
from experiments.harness.source import Source
from experiments.refit.tuning import Swept
from lstm_sched.presets import ALIASES

RULE = (
    "the lowest mean over seeds of the log of the lowest validation loss, among rates at which none was lost"
)
FREE = (*WHERE, "seeds", "lr", "every", "data", "period")  # checked otherwise, or read by no training
Row = dict[str, Any]


def decide(setting: Setting, folder: Path, source: Source, arms: Sequence[Arm]) -> Swept:
    """The rates and their source. ValueError if the sweep lacks them, or used seeds that will be reported."""
    file, table = folder / "config.json", folder / "results.parquet"
    stored = run_folder.read_json(file) if file.exists() else {}
    if stored.get("experiment") != "sweep" or not table.exists():
        raise ValueError(f"tuned: {folder}; allowed: the folder of a sweep that has results")
    if stored["data"]["digest"] != source.digest:
        data = ", ".join(stored["config"]["data"])
        raise ValueError(f"tuned: {folder} is a sweep of {data}; allowed: of the values of {source.name}")
    rows = _of_setting(folder, setting, polars.read_parquet(table).to_dicts())
    reported = range(FIRST_SEED, FIRST_SEED + setting.seeds)
    used = sorted({row["seed"] for row in rows})
    if set(used) & set(reported):
        raise ValueError(
            f"tuned: {folder} has seeds {used[0]} to {used[-1]}, of which some of {reported[0]} to {reported[-1]} "
            "are to be reported; allowed: others, such as --grid.seed 1000:1008"
        )
    means = {arm.name: _means(folder, arm, setting, rows) for arm in arms}
    best = {name: min(mean, key=lambda lr, mean=mean: mean[lr]) for name, mean in means.items()}
    return Swept(
        sweep=str(folder),
        sweep_hash=stored["hash"],
        seeds=used,
        rule=RULE,
        rates=best,
        tried={name: sorted(mean) for name, mean in means.items()},
        notes=[
            _at_edge(name, best[name], sorted(mean))
            for name, mean in means.items()
            if best[name] in (min(mean), max(mean))
        ],
    )


def _at_edge(name: str, rate: float, tried: Sequence[float]) -> str:
    edge = "only" if len(tried) == 1 else "lowest" if rate == tried[0] else "highest"
    return f"{name} is best at {rate:g}, the {edge} rate that the sweep tried: a better one may lie beyond"


def _of_setting(folder: Path, setting: Setting, rows: list[Row]) -> list[Row]:
    """The rows trained with this setting. ValueError, naming a field, if no row has the setting's value."""
    for field in dataclasses.fields(Setting):
        if field.name in FREE:
            continue
        wanted, there = _text(getattr(setting, field.name)), {_text(row[field.name]) for row in rows}
        if wanted not in there:
            raise ValueError(
                f"tuned: {folder} has {field.name} {', '.join(sorted(there)) or 'of no training'}; allowed: that of "
                f"this run, {wanted or 'none'}"
            )
        rows = [row for row in rows if _text(row[field.name]) == wanted]
    return rows


def _text(value: Any) -> str:
    """A value in the form of the sweep's table: a tuple is joined by spaces, and None is empty."""
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def _means(folder: Path, arm: Arm, setting: Setting, rows: list[Row]) -> dict[float, float]:
    """rate -> mean over seeds of the log of the lowest validation loss; +inf if a run diverged or failed."""
    stem = arm.name.partition("@")[0]
    policy, every = ALIASES.get(stem, stem), arm.every or setting.epochs  # one fit has all epochs
    of_rate: dict[float, list[Row]] = {}
    for row in rows:
        if (row["policy"], row["every"]) == (policy, every):
            of_rate.setdefault(row["lr"], []).append(row)
    means = {
        lr: float(np.mean([np.log(row["val_selected"]) if _sound(row) else np.inf for row in several]))
        for lr, several in of_rate.items()
    }
    if not np.isfinite(list(means.values())).any():
        loop = f"{arm.name} in fits of {every} epochs" if arm.every else arm.name
        raise ValueError(
            f"tuned: {folder} has no rate at which all trainings of {loop} ended well; allowed: one or more"
        )
    return means


def _sound(row: Row) -> bool:
    return row["state"] == "finished" and not row["diverged"]
