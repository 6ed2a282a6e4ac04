"""A sweep as a user runs it: killed, resumed, cut in other ways, asked for nothing, and without any success."""

import dataclasses
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from helpers.sweeps import in_process, run

from experiments.faults import processes
from experiments.harness import cli, exits, run_folder
from experiments.sweep import run as sweep
from experiments.sweep.config import Config, Grid, Search
from experiments.sweep.engines import base, local_engine

ROOT = Path(__file__).parents[3]
SMALL = Config(data=("sines",), window=4, batch=512, hidden=2, epochs=6, estimate=False, workers=2)
GRID = dataclasses.replace(SMALL, grid=Grid(lr=(1e-2, 1e-1), policy=("one_fit", "drop_m@2"), seed=("8:11",)))
SEARCH = dataclasses.replace(
    SMALL,
    grid=Grid(seed=("8:10",)),
    search=Search(trials=6, kind="optuna", ask=3, lr=("1e-3:1e-1:log",), policy=("one_fit", "drop_m@2")),
)
TABLES = ("results.csv", "results.parquet", "curves.npz")


def no_success(folders, workers, retries, tell=lambda event: None):
    """An engine whose processes all die."""
    for folder in folders:
        run_folder.write_json(folder / "done.json", {"state": "failed", "why": "died", "baselines": {}})
        tell(base.Event(folder, "failed", why="died"))
    return {}


def tables(folder):
    return {name: (folder / name).read_bytes() for name in TABLES}


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """A grid, trained in one task."""
    folder = tmp_path_factory.mktemp("sweep") / "grid"
    with pytest.MonkeyPatch.context() as patch:
        answered = run(GRID, folder, patch)
    return folder, answered


def test_the_folder_holds_what_it_should(grid):
    folder, answered = grid
    files = {"config.json", "env.json", "status.json", "sweep.log", "tasks", "timing.csv", "table.md"}
    assert {p.name for p in folder.iterdir()} == files | set(TABLES) | {
        "figure.png",
        "figure.svg",
        "report.html",
    }
    assert not [path for name in TABLES[:2] for path in folder.glob(f"tasks/**/{name}")]
    rows = pl.read_parquet(folder / "results.parquet")
    assert rows["number"].to_list() == list(range(12))
    assert rows["seed"].to_list() == [8, 9, 10] * 4
    assert run_folder.read_json(folder / "status.json")["state"] == "finished"
    assert answered.cells["finished"] == 12
    assert sweep.held(answered)


def test_slices_and_the_order_of_tasks_change_no_bit(grid, tmp_path, monkeypatch):
    def backwards(folders, *rest):
        return in_process(folders[::-1], *rest)

    run(dataclasses.replace(GRID, members_per_task=4, workers=1), tmp_path / "cut", monkeypatch, backwards)
    assert len(list((tmp_path / "cut" / "tasks").iterdir())) == 3
    assert tables(tmp_path / "cut") == tables(grid[0])


def test_a_finished_sweep_that_is_resumed_trains_nothing_again(grid, monkeypatch):
    folder, before = grid[0], tables(grid[0])
    attempts = (folder / "tasks" / "0000" / "attempts.jsonl").read_text()
    monkeypatch.setattr(local_engine, "run", in_process)
    sweep.main(Config(resume=str(folder), workers=1, estimate=False))
    assert tables(folder) == before
    assert (folder / "tasks" / "0000" / "attempts.jsonl").read_text() == attempts
    assert run_folder.read_json(folder / "config.json")["config"]["workers"] == 2


def test_resuming_reads_the_configuration_and_takes_no_other(grid, tmp_path):
    with pytest.raises(
        ValueError, match=r"resume: the configuration is read from .*; leave out grid, hidden"
    ):
        sweep.prepare(dataclasses.replace(Config(resume=str(grid[0])), hidden=3, grid=Grid(lr=(1.0,))))
    run_folder.write_json(tmp_path / "config.json", {"experiment": "refit"})
    with pytest.raises(ValueError, match="is a run of refit; allowed: of sweep"):
        sweep.prepare(Config(resume=str(tmp_path)))


def test_a_dry_run_says_what_would_be_trained_and_leaves_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    again = dataclasses.replace(GRID, grid=dataclasses.replace(GRID.grid, every=(1, 2)), dry_run=True)
    assert sweep.main(again) is None
    said = " ".join(capsys.readouterr().out.split())
    assert "12 trainings in 1 tasks, 2 at a time" in said
    assert "4 combinations are the same training as others" in said
    assert not list(tmp_path.iterdir())


def test_where_nothing_succeeds_all_is_recorded_and_the_exit_code_is_1(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(local_engine, "run", no_success)
    flags = ["--data", "sines", "--grid.lr", "0.1", "0.2", "--seeds", "2", "--no-estimate", "--workers", "1"]
    monkeypatch.setattr(sys, "argv", ["sweep", *flags, "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as exit_:
        cli.run_plan("sweep", Config, sweep.prepare, sweep.execute, "", sweep.held)
    assert exit_.value.code == 1
    assert "task 0000 failed: died" in capsys.readouterr().out
    rows = pl.read_parquet(tmp_path / "out" / "results.parquet")
    assert set(rows["state"]) == {"failed"}
    assert set(rows["why"]) == {"died"}


def test_a_signal_while_training_is_told_with_the_sweeps_own_folder(tmp_path, monkeypatch):
    def interrupted(folders, *rest):
        raise exits.Interrupted(signal.SIGTERM, folders[0].parent)

    with pytest.raises(exits.Interrupted) as raised:
        run(GRID, tmp_path / "out", monkeypatch, interrupted)
    assert raised.value.folder == tmp_path / "out"
    assert run_folder.read_json(tmp_path / "out" / "status.json")["state"] == "interrupted"


def command(folder, *flags):
    """A sweep in a process of its own."""
    with folder.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "experiments.sweep", "--no-estimate", *flags],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


@pytest.mark.fault
def test_a_sweep_that_learns_killed_and_resumed_is_the_uninterrupted_one(tmp_path, monkeypatch):
    optuna = pytest.importorskip("optuna")
    run(SEARCH, tmp_path / "whole", monkeypatch)
    monkeypatch.undo()
    folder = tmp_path / "killed"
    flags = "--data sines --window 4 --batch 512 --hidden 2 --epochs 6 --workers 2 --grid.seed 8:10 --search.trials 6"
    flags += " --search.kind optuna --search.ask 3 --search.lr 1e-3:1e-1:log --search.policy one_fit drop_m@2"
    first = tmp_path / "killed" / "tasks" / "0000"
    process = command(folder, *flags.split(), "--out", str(folder))
    try:
        until(process, lambda: (first / "attempts.jsonl").exists())
        time.sleep(random.uniform(0, 6))
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    finished = [path.parent for path in folder.glob("tasks/*/done.json")]
    before = [(path / "attempts.jsonl").read_text() for path in finished]
    assert command(folder, "--resume", str(folder)).wait(processes.PATIENCE) == 0
    assert tables(folder) == tables(tmp_path / "whole")
    assert [(path / "attempts.jsonl").read_text() for path in finished] == before
    study = run_folder.read_json(folder / "config.json")["study"]
    journal = optuna.storages.journal.JournalFileBackend(str(folder / "optuna.journal"))
    trials = optuna.load_study(storage=optuna.storages.JournalStorage(journal), study_name=study).trials
    states = [trial.state.name for trial in trials]
    assert "RUNNING" not in states
    assert len([state for state in states if state in ("COMPLETE", "PRUNED")]) == 6


def until(process, true):
    """Wait for what a running process must bring about."""
    started = time.monotonic()
    while not true():
        assert process.poll() is None
        assert time.monotonic() - started < processes.PATIENCE
        time.sleep(processes.PAUSE)
