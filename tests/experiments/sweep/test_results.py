"""A sweep's tables hold what its tasks found, in one order and one form, however the cells were shared out."""

import csv
import dataclasses

import numpy as np
import polars as pl
import pytest
from helpers import tasks

from experiments.harness import run_folder
from experiments.harness.setting import Setting
from experiments.sweep import results
from experiments.sweep.task import events, trials
from experiments.sweep.task import run as task

CELLS = tasks.cells(seeds=(8, 9))
FILES = ("results.csv", "results.parquet", "curves.npz")


def test_slices_and_their_order_change_no_bit(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    whole = [tasks.finish(one / "tasks" / "0", CELLS)]
    odd, even = (tasks.finish(other / "tasks" / str(i), CELLS[i::2]) for i in range(2))
    results.write(one, whole)
    results.write(other, [even, odd])
    for name in FILES:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_the_tables_hold_what_the_tasks_found(tmp_path):
    own = [
        tasks.finish(tmp_path / "tasks" / "0", CELLS[:4]),
        tasks.finish(tmp_path / "tasks" / "1", CELLS[4:9], why="no room"),
    ]
    own.append(tasks.write(tmp_path / "tasks" / "2", CELLS[9:]))
    results.write(tmp_path, own)
    with (tmp_path / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = results.read(tmp_path)
    assert [int(row["number"]) for row in rows] == [row["number"] for row in table] == list(range(12))
    for row, typed, cell in zip(rows, table, CELLS, strict=True):
        assert list(row) == list(typed)
        assert (typed["lr"], typed["policy"], typed["seed"]) == (cell["lr"], cell["policy"], cell["seed"])
        for name, value in typed.items():
            assert row[name] == ("" if value is None else str(value)), name
    assert [row["state"] for row in rows] == ["finished"] * 4 + ["failed"] * 8
    assert [row["why"] for row in table] == [""] * 4 + ["no room"] * 5 + ["it was not run"] * 3
    assert table[3]["test_end"] == 0.1 + 3 / 3
    assert table[4]["test_end"] is table[4]["diverged"] is None
    assert table[1]["diverged"] is True


def test_columns_have_the_types_of_their_fields(tmp_path):
    own = [tasks.finish(tmp_path / "tasks" / "0", CELLS, features=("a", "b"), period=7, target="x")]
    results.write(tmp_path, own)
    kinds = pl.read_parquet(tmp_path / "results.parquet").schema
    expected = {
        "number": pl.Int64,
        "lr": pl.Float64,
        "hidden": pl.Int64,
        "drop_last": pl.Boolean,
        "seed": pl.Int64,
    }
    expected |= {"features": pl.String, "period": pl.Int64, "target": pl.String, "split": pl.String}
    expected |= {
        "dropout": pl.Float64,
        "diverged": pl.Boolean,
        "best_epoch": pl.Int64,
        "optimizer": pl.String,
    }
    assert {name: kinds[name] for name in expected} == expected
    fields = {field.name for field in dataclasses.fields(Setting)} - set(trials.APART)
    assert fields <= set(kinds)


def test_curves_stand_in_the_order_of_numbers_and_shorter_ones_end_in_nan(tmp_path):
    late = tasks.finish(tmp_path / "tasks" / "0", CELLS[6:], epochs=9)
    early = tasks.finish(tmp_path / "tasks" / "1", CELLS[:5], epochs=4)
    lost = tasks.finish(tmp_path / "tasks" / "2", CELLS[5:6], why="no room")
    results.write(tmp_path, [late, early, lost])
    with np.load(tmp_path / "curves.npz", allow_pickle=False) as stored:
        curves = dict(stored)
    numbers = [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    assert curves["dims"].tolist() == ["cell", "epoch"]
    assert curves["number"].tolist() == numbers
    assert curves["epoch"].tolist() == list(range(1, 10))
    for k, name in enumerate(run_folder.CURVES):
        for row, number in zip(curves[name], numbers, strict=True):
            ran = 1 + number % (4 if number < 5 else 9)
            assert row[:ran].tolist() == [number + 100 * k + e / 8 for e in range(ran)]
            assert np.isnan(row[ran:]).all()
    assert not list(tmp_path.glob("*.part"))


def test_a_sweep_in_which_nothing_ran_has_its_failures_and_empty_curves(tmp_path):
    own = [tasks.finish(tmp_path / "tasks" / "0", CELLS, why="no room")]
    results.write(tmp_path, own)
    assert {row["state"] for row in results.read(tmp_path)} == {"failed"}
    with np.load(tmp_path / "curves.npz") as stored:
        assert stored["number"].size == 0


def test_the_time_of_each_task_is_beside_the_results_and_not_in_them(tmp_path):
    own = [
        tasks.finish(tmp_path / "tasks" / "0", CELLS[:6]),
        tasks.finish(tmp_path / "tasks" / "1", CELLS[6:], why="no room"),
    ]
    events.note(own[0], "died", how="SIGKILL")
    results.write(tmp_path, own)
    with (tmp_path / "timing.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert [first[k] for k in ("task", "state", "cells", "attempts", "died")] == [
        "0",
        "finished",
        "6",
        "1",
        "1",
    ]
    assert [first[k] for k in ("seconds", "host", "jax", "devices")] == ["1.5", "h", "9", "a"]
    assert (second["state"], second["seconds"]) == ("failed", "")
    assert not {"host", "seconds", "attempts"} & set(results.read(tmp_path)[0])


@pytest.mark.parametrize("name", ["results.csv", "results.parquet"])
def test_no_file_of_a_task_has_the_name_of_the_sweeps(name, tmp_path):
    own = tasks.finish(tmp_path / "tasks" / "0", CELLS)
    results.write(tmp_path, [own])
    assert list(tmp_path.rglob(name)) == [tmp_path / name]
    assert task.finished(own) is not None
