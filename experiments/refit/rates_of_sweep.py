"""Each arm's best learning rate from the results of an earlier sweep."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.harness import arms as ar
from experiments.harness import run_folder
from experiments.harness.setting import FIRST_SEED, Setting
from experiments.harness.source import Source
from experiments.sweep import ranking, results
from experiments.sweep.task import trials
from lstm_sched.presets import ALIASES

RULE = (
    "the lowest mean over seeds of the log of the lowest validation loss, among rates at which none was lost"
)
OTHERWISE = ("lr", "every", "data", "period")  # fields told apart in other ways, or read by no training


def decided(setting: Setting, folder: Path, source: Source, arms: Sequence[ar.Arm]) -> dict[str, Any]:
    """The rates and where they come from. ValueError where the sweep does not say, or used seeds to be reported."""
    file = folder / "config.json"
    stored = run_folder.read_json(file) if file.exists() else {}
    if stored.get("experiment") != "sweep" or not (folder / "results.parquet").exists():
        raise ValueError(f"tuned: {folder}; allowed: the folder of a sweep that has results")
    if stored["data"]["digest"] != source.digest:
        other = ", ".join(stored["config"]["data"])
        raise ValueError(f"tuned: {folder} is a sweep of {other}; allowed: of the values of {source.name}")
    rows = _of_setting(folder, setting, results.read(folder))
    reported = range(FIRST_SEED, FIRST_SEED + setting.seeds)
    used = sorted({row["seed"] for row in rows})
    if set(used) & set(reported):
        raise ValueError(
            f"tuned: {folder} has seeds {used[0]} to {used[-1]}, of which some of {reported[0]} to {reported[-1]} "
            "are to be reported; allowed: others, such as --grid.seed 1000:1008"
        )
    best = {arm.name: _best(folder, arm, setting, rows) for arm in arms}
    return {
        "sweep": str(folder),
        "sweep_hash": stored["hash"],
        "seeds": used,
        "rule": RULE,
        "rates": {name: found.best.fields["lr"] for name, found in best.items()},
        "tried": {name: list(found.rates) for name, found in best.items()},
        "notes": [
            f"{name} is best at {found.best.fields['lr']:g}, the {found.edge} rate that the sweep tried: a better one "
            "may lie beyond"
            for name, found in best.items()
            if found.edge or len(found.rates) == 1
        ],
    }


def _of_setting(folder: Path, setting: Setting, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows that were trained as this setting would be. ValueError naming a field in which all others differ."""
    cell = dict.fromkeys(trials.FIELDS) | {"schedule": setting.schedule}
    known = {field.name for field in dataclasses.fields(Setting)} - {*OTHERWISE, *trials.APART}
    wanted = {name: _text(x) for name, x in trials.columns(cell, setting).items() if name in known}
    for name, value in wanted.items():
        there = {_text(row[name]) for row in rows}
        rows = [row for row in rows if _text(row[name]) == value]
        if not rows:
            raise ValueError(
                f"tuned: {folder} has {name} {', '.join(sorted(there)) or 'of no training'}; allowed: that of this "
                f"run, {value or 'none'}"
            )
    return rows


def _text(value: Any) -> str:
    """Values are equal where their texts are; no value is none."""
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def _best(folder: Path, arm: ar.Arm, setting: Setting, rows: list[dict[str, Any]]) -> ranking.BestRate:
    stem = arm.name.partition("@")[0]
    policy, every = ALIASES.get(stem, stem), arm.every or setting.epochs  # one fit has all epochs
    own = [row for row in rows if (row["policy"], row["every"]) == (policy, every)]
    found = ranking.best_rates(ranking.answer(own))
    if not found or found[0].best.state != "finished":
        loop = f"{arm.name} in fits of {every} epochs" if arm.every else arm.name
        raise ValueError(
            f"tuned: {folder} has no rate at which all trainings of {loop} ended well; allowed: one or more"
        )
    return found[0]
