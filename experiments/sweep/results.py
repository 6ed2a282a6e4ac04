"""A sweep's tables, put together from the files of its tasks alone, in the order of the trials' numbers.

results.csv, results.parquet   one row per trial; deterministic columns only: the same bits however the sweep was run
curves.npz                     loss, val, … of [trial, epoch]; nan after a trial's last epoch
timing.csv                     one row per task: seconds, starts, slices, host, devices and versions
"""

import csv
import dataclasses
import typing
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from experiments.harness import run_folder
from experiments.harness.setting import Setting
from experiments.sweep.task import events as ev
from experiments.sweep.task import rungs, trials
from experiments.sweep.task.events import finished

INTEGERS = ("number", "every", "seed", "epochs_run", "best_epoch")
NUMBERS = ("lr", "test_end", "test_selected", "val_end", "val_selected", "train_end")
SPENT = ("slices", "seconds", "seconds_compiling", "seconds_training", "seconds_saving")
MACHINE = ("host", "platform", "processor", "python")
Row = dict[str, Any]


def rows(tasks: Iterable[Path]) -> list[Row]:
    """One row per trial, with typed values; None where a failed trial has none."""
    of_trials = [row for folder in tasks for row in _rows(folder)]
    kinds = {name: _kind(name) for name in (of_trials[0] if of_trials else ())}
    typed = [{name: _typed(row[name], kind) for name, kind in kinds.items()} for row in of_trials]
    return sorted(typed, key=lambda row: row["number"])


def _rows(path: Path) -> list[Row]:
    """The rows of rows.csv as text, or rows that say why an unfinished task has no results."""
    if finished(path) is not None:
        with (path / "rows.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    file = path / "done.json"
    why = run_folder.read_json(file)["why"] if file.exists() else "it was not run"
    task = run_folder.read_json(path / "task.json")
    setting = run_folder.config_of(Setting, task["config"])
    return [trials.columns(trial, setting) | rungs.failed(why) for trial in task["trials"]]


def _kind(name: str) -> type[pl.DataType]:
    """The type of a column: its own, or that of the setting's field."""
    if name in INTEGERS:
        return pl.Int64
    if name in NUMBERS:
        return pl.Float64
    if name == "diverged":
        return pl.Boolean
    declared = {field.name: field.type for field in dataclasses.fields(Setting)}.get(name, str)
    kinds = (declared,) if typing.get_origin(declared) is tuple else typing.get_args(declared) or (declared,)
    columns = {bool: pl.Boolean, int: pl.Int64, float: pl.Float64}
    return next((columns[kind] for kind in kinds if kind in columns), pl.String)


def _typed(value: Any, kind: type[pl.DataType]) -> Any:
    text = "" if value is None else str(value)
    if kind == pl.String:
        return text
    if not text:
        return None
    return text == "True" if kind == pl.Boolean else int(text) if kind == pl.Int64 else float(text)


def timing(tasks: Iterable[Path]) -> list[Row]:
    """One row per task, from the process that finished it; empty values if none did."""
    return [_timing(folder) for folder in tasks]


def _timing(folder: Path) -> Row:
    spent, done = (
        run_folder.read_json(file) if (file := folder / name).exists() else {}
        for name in ("timing.json", "done.json")
    )
    events = [row["event"] for row in ev.read(folder)]
    row = {"task": folder.name, "state": done.get("state", "unfinished")}
    row["trials"] = len(run_folder.read_json(folder / "task.json")["trials"])
    row |= {"starts": events.count("began"), "died": events.count("died")}
    row |= {name: spent.get(name, "") for name in (*SPENT, *MACHINE)}
    row["devices"] = "; ".join(spent.get("devices", ()))
    return row | {name: spent.get("packages", {}).get(name) or "" for name in run_folder.PACKAGES}


def baselines(tasks: Iterable[Path]) -> dict[int, dict[str, dict[str, float]]]:
    """Losses of forecasts that need no network: window -> forecast -> part -> loss."""
    of_windows: dict[int, dict[str, dict[str, float]]] = {}
    for folder in tasks:
        if (done := finished(folder)) is not None and done["baselines"]:
            window = run_folder.read_json(folder / "task.json")["config"]["window"]
            of_windows.setdefault(window, done["baselines"])
    return of_windows


def write(folder: Path, tasks: Sequence[Path], trials: Sequence[Row]) -> None:
    """results.parquet from the rows of all trials, and curves.npz of the tasks that finished."""
    columns = {name: _kind(name) for name in (trials[0] if trials else ())}
    series = {name: pl.Series(name, [row[name] for row in trials], kind) for name, kind in columns.items()}
    part = folder / "results.part"
    pl.DataFrame(series).write_parquet(part)
    part.replace(folder / "results.parquet")
    _write_curves(folder, [place for place in tasks if finished(place) is not None])


def _write_curves(folder: Path, tasks: Sequence[Path]) -> None:
    several = []
    for place in tasks:
        with np.load(place / "curves.npz") as arrays:
            several.append(dict(arrays))
    number = np.sort(np.concatenate([np.zeros(0, int), *(curves["number"] for curves in several)]))
    epochs = max((curves["epoch"].size for curves in several), default=0)
    whole = {name: np.full((number.size, epochs), np.nan) for name in run_folder.CURVES if number.size}
    for curves in several:
        rows = np.searchsorted(number, curves["number"])
        for name, all_ME in whole.items():
            all_ME[rows, : curves[name].shape[1]] = curves[name]
    labels = {"dims": np.array(["cell", "epoch"]), "number": number, "epoch": np.arange(1, epochs + 1)}
    part = folder / "curves.part"
    with part.open("wb") as file:
        np.savez(file, allow_pickle=False, **labels, **whole)
    part.replace(folder / "curves.npz")


def platforms(times: Sequence[Mapping[str, str]]) -> str:
    """A sentence where finished tasks ran on more than one platform; else ""."""
    counts = Counter(_platform(row) for row in times if row["state"] == "finished")
    if len(counts) < 2:
        return ""
    names = "; ".join(f"{name}: {n} task{'s' * (n > 1)}" for name, n in counts.most_common())
    return f" These rows come from {len(counts)} platforms, which round differently: {names} (timing.csv)."


def _platform(row: Mapping[str, str]) -> str:
    """Devices, processor and versions, which decide the bits."""
    kinds = " and ".join(sorted(set(row["devices"].split("; "))))
    return f"{kinds} ({row['processor'] or row['platform']}) with jax {row['jax']}, jaxlib {row['jaxlib']}"
