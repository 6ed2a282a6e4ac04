"""A sweep's tables hold what its tasks found, in one order and one form, however the trials were divided."""

import dataclasses

import numpy as np
import polars as pl
from helpers import tasks

from experiments.harness import run_folder
from experiments.harness.setting import Setting
from experiments.sweep import results
from experiments.sweep.task import events
from experiments.sweep.task import trials as tr

TRIALS = tasks.trials(seeds=(8, 9))


def written(folder, places):
    """The rows, and the two files that are no CSV."""
    rows = results.rows(places)
    results.write(folder, places, rows)
    return rows


def test_slices_and_their_order_change_no_bit(tmp_path):
    whole = [tasks.finish(tmp_path / "whole" / "0", TRIALS)]
    odd, even = (tasks.finish(tmp_path / "cut" / str(i), TRIALS[i::2]) for i in range(2))
    assert written(tmp_path / "whole", whole) == written(tmp_path / "cut", [even, odd])
    for name in ("results.parquet", "curves.npz"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes(), name


def test_the_tables_hold_what_the_tasks_found(tmp_path):
    places = [
        tasks.finish(tmp_path / "0", TRIALS[:4]),
        tasks.finish(tmp_path / "1", TRIALS[4:9], why="no room"),
        tasks.write(tmp_path / "2", TRIALS[9:]),
    ]
    rows = written(tmp_path, places)
    assert pl.read_parquet(tmp_path / "results.parquet").to_dicts() == rows
    assert [row["number"] for row in rows] == list(range(12))
    for row, trial in zip(rows, TRIALS, strict=True):
        assert (row["lr"], row["policy"], row["seed"]) == (trial["lr"], trial["policy"], trial["seed"])
    assert [row["state"] for row in rows] == ["finished"] * 4 + ["failed"] * 8
    assert [row["why"] for row in rows] == [""] * 4 + ["no room"] * 5 + ["it was not run"] * 3
    assert rows[3]["test_end"] == 0.1 + 3 / 3
    assert rows[4]["test_end"] is rows[4]["diverged"] is None
    assert rows[1]["diverged"] is True


def test_columns_have_the_types_of_their_fields(tmp_path):
    written(tmp_path, [tasks.finish(tmp_path / "0", TRIALS, features=("a", "b"), period=7, target="x")])
    kinds = pl.read_parquet(tmp_path / "results.parquet").schema
    expected = {
        pl.Int64: ("number", "hidden", "seed", "period", "best_epoch"),
        pl.Float64: ("lr", "dropout"),
        pl.Boolean: ("drop_last", "diverged"),
        pl.String: ("features", "target", "split", "optimizer"),
    }
    for kind, names in expected.items():
        assert {kinds[name] for name in names} == {kind}
    assert {field.name for field in dataclasses.fields(Setting)} - set(tr.NOT_IN_ROWS) <= set(kinds)


def test_curves_are_in_the_order_of_numbers_and_shorter_ones_end_in_nan(tmp_path):
    late = tasks.finish(tmp_path / "0", TRIALS[6:], epochs=9)
    early = tasks.finish(tmp_path / "1", TRIALS[:5], epochs=4)
    lost = tasks.finish(tmp_path / "2", TRIALS[5:6], why="no room")
    written(tmp_path, [late, early, lost])
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
    rows = written(tmp_path, [tasks.finish(tmp_path / "0", TRIALS, why="no room")])
    assert {row["state"] for row in rows} == {"failed"}
    with np.load(tmp_path / "curves.npz") as stored:
        assert stored["number"].size == 0


def test_the_time_of_each_task_is_in_a_table_of_its_own(tmp_path):
    places = [
        tasks.finish(tmp_path / "0", TRIALS[:6]),
        tasks.finish(tmp_path / "1", TRIALS[6:], why="no room"),
    ]
    events.note(places[0], "died", how="SIGKILL")
    first, second = results.timing(places)
    expected = {"task": "0", "state": "finished", "trials": 6, "starts": 1, "died": 1, "seconds": 1.5}
    assert first | expected | {"host": "h", "jax": "9", "devices": "a"} == first
    assert (second["state"], second["seconds"]) == ("failed", "")
    assert not {"host", "seconds", "starts"} & set(results.rows(places)[0])


def test_a_table_of_several_platforms_says_so():
    row = {"state": "finished", "processor": "A", "platform": "Linux", "jax": "1", "jaxlib": "1"}
    cpu, gpu, failed = row | {"devices": "cpu"}, row | {"devices": "H; H"}, row | {"state": "failed"}
    assert results.platforms([cpu, cpu]) == ""
    text = results.platforms([cpu, gpu, gpu, failed])
    assert "2 platforms" in text
    assert "H (A) with jax 1, jaxlib 1: 2 tasks; cpu (A) with jax 1, jaxlib 1: 1 task" in text
