"""A sweep's tables, put together from the files of its tasks alone, in the order of the cells' numbers.

results.csv, results.parquet   a row a cell; deterministic columns only: the same bits however the sweep was run
curves.npz                     loss, val, … of [cell, epoch]; nan after a cell's last epoch
timing.csv                     a row a task: seconds, attempts, slices, host, devices and versions
"""

import contextlib
import csv
import dataclasses
import typing
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import polars as pl

from experiments.harness import run_folder
from experiments.harness.setting import Setting
from experiments.sweep.task import events as ev
from experiments.sweep.task import run as task

WHOLE = ("number", "every", "seed", "epochs_run", "best_epoch")
REAL = ("lr", "test_end", "test_selected", "val_end", "val_selected", "train_end")
SPENT = ("attempts", "parts", "seconds", "seconds_compiling", "seconds_training", "seconds_saving")
EPOCH = (1980, 1, 1, 0, 0, 0)  # of files in an archive: the same bytes each time


def write(folder: Path, tasks: Sequence[Path]) -> None:
    """All four files in the folder. A task that has not finished has failed rows, and no curves."""
    rows = sorted((row for one in tasks for row in task.rows(one)), key=lambda row: int(row["number"]))
    run_folder.write_csv(folder / "results.csv", rows)
    _write_parquet(folder / "results.parquet", rows)
    run_folder.write_csv(folder / "timing.csv", (_timing(one) for one in tasks))
    _write_curves(folder, [one for one in tasks if task.finished(one) is not None])


def read(folder: Path) -> list[dict[str, Any]]:
    """The rows of results.parquet; None where a failed cell has no value."""
    return pl.read_parquet(folder / "results.parquet").to_dicts()


def _write_parquet(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    columns = {name: _kind(name) for name in (rows[0] if rows else ())}
    typed = {
        name: pl.Series(name, [_typed(row[name], kind) for row in rows], kind)
        for name, kind in columns.items()
    }
    part = path.with_suffix(".part")
    pl.DataFrame(typed).write_parquet(part)
    part.replace(path)


def _kind(name: str) -> type[pl.DataType]:
    """Of a column: its own, or that of the setting's field."""
    if name in WHOLE:
        return pl.Int64
    if name in REAL:
        return pl.Float64
    if name == "diverged":
        return pl.Boolean
    declared = {field.name: field.type for field in dataclasses.fields(Setting)}.get(name, str)
    kinds = (declared,) if typing.get_origin(declared) is tuple else typing.get_args(declared) or (declared,)
    found = {bool: pl.Boolean, int: pl.Int64, float: pl.Float64}
    return next((found[kind] for kind in kinds if kind in found), pl.String)


def _typed(value: Any, kind: type[pl.DataType]) -> Any:
    text = "" if value is None else str(value)
    if kind == pl.String:
        return text
    if not text:
        return None
    return text == "True" if kind == pl.Boolean else int(text) if kind == pl.Int64 else float(text)


def _timing(folder: Path) -> dict[str, Any]:
    """Of the attempt that came to the end; empty where none did."""
    file, done = folder / "timing.json", folder / "done.json"
    spent = run_folder.read_json(file) if file.exists() else {}
    state = run_folder.read_json(done)["state"] if done.exists() else "unfinished"
    events = [row["event"] for row in ev.read(folder)]
    row = {
        "task": folder.name,
        "state": state,
        "cells": len(run_folder.read_json(folder / "task.json")["cells"]),
    }
    row |= {name: spent.get(name, "") for name in SPENT}
    row |= {"attempts": events.count("began"), "died": events.count("died")}
    row |= {name: spent.get(name, "") for name in ("host", "platform", "processor", "python")}
    row["devices"] = "; ".join(spent.get("devices", ()))
    return row | {name: spent.get("packages", {}).get(name) or "" for name in run_folder.PACKAGES}


def _write_curves(folder: Path, tasks: Sequence[Path]) -> None:
    """Each curve goes through a file on disk, a task at a time: all of them need not fit into memory."""
    several = [_stored(one, ("number", "epoch")) for one in tasks]
    number = np.sort(np.concatenate([np.zeros(0, int), *(own["number"] for own in several)]))
    epochs = max((own["epoch"].size for own in several), default=0)
    small = {"dims": np.array(["cell", "epoch"]), "number": number, "epoch": np.arange(1, epochs + 1)}
    part, whole = folder / "curves.part", folder / "curve.part"
    with zipfile.ZipFile(part, "w") as archive:
        for name, array in small.items():
            with _member(archive, name) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
        for name in run_folder.CURVES if number.size else ():
            all_ME = np.lib.format.open_memmap(whole, "w+", np.float64, (number.size, epochs))
            all_ME[:] = np.nan
            for one in tasks:
                own = _stored(one, ("number", name))
                all_ME[np.searchsorted(number, own["number"]), : own[name].shape[1]] = own[name]
            all_ME.flush()
            del all_ME
            with _member(archive, name) as file, whole.open("rb") as stored:
                file.writelines(iter(lambda stored=stored: stored.read(2**20), b""))
    whole.unlink(missing_ok=True)
    part.replace(folder / "curves.npz")


def _stored(folder: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    with np.load(folder / "curves.npz") as arrays:
        return {name: arrays[name] for name in names}


def _member(archive: zipfile.ZipFile, name: str) -> contextlib.AbstractContextManager[IO[bytes]]:
    return archive.open(zipfile.ZipInfo(f"{name}.npy", EPOCH), "w", force_zip64=True)


def mixed(folder: Path) -> str:
    """A sentence where timing.csv has rows of more than one platform; else ""."""
    with (folder / "timing.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["state"] == "finished"]
    platforms = Counter(_platform(row) for row in rows)
    if len(platforms) < 2:
        return ""
    each = "; ".join(f"{name}: {n} task{'s' * (n > 1)}" for name, n in platforms.most_common())
    return f" These rows come from {len(platforms)} platforms, which round otherwise: {each} (timing.csv)."


def _platform(row: Mapping[str, str]) -> str:
    """Devices, processor and versions, which decide the bits."""
    kinds = " and ".join(sorted(set(row["devices"].split("; "))))
    return f"{kinds} ({row['processor'] or row['platform']}) with jax {row['jax']}, jaxlib {row['jaxlib']}"
