"""A sweep as a user runs it: killed, resumed, cut in other ways, asked for nothing, and without any success."""

import ast
import dataclasses
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from helpers import clusters, tasks
from helpers.sweeps import in_process, run

from experiments.harness import cli, exits, experiment, run_folder
from experiments.sweep import run as sweep
from experiments.sweep.config import Config, Grid, Search
from experiments.sweep.engines import base, local_engine
from experiments.sweep.engines.options import Cluster
from experiments.sweep.task import events

ROOT = Path(__file__).parents[3]
SMALL = Config(data=("sines",), window=4, batch=512, hidden=2, epochs=6, estimate=False, workers=2)
GRID = dataclasses.replace(SMALL, grid=Grid(lr=(1e-2, 1e-1), policy=("one_fit", "drop_m@2"), seed=("8:11",)))
SEARCH = dataclasses.replace(
    SMALL,
    grid=Grid(seed=("8:10",)),
    search=Search(trials=6, kind="optuna", ask=3, lr=("1e-3:1e-1:log",), policy=("one_fit", "drop_m@2")),
)
TABLES = ("results.csv", "results.parquet", "curves.npz")


def no_success(folders, workers, retries, notify=base.ignore):
    """An engine whose processes all die."""
    for folder in folders:
        run_folder.write_json(folder / "done.json", {"state": "failed", "why": "died", "baselines": {}})
        notify(base.Event(folder=folder, kind="failed", why="died"))
    return {}


def tables(folder):
    return {name: (folder / name).read_bytes() for name in TABLES}


def beginnings(folder):
    return {path.name: clusters.beginnings(path) for path in folder.glob("tasks/*")}


@pytest.fixture(scope="module", autouse=True)
def _one_program():
    with pytest.MonkeyPatch.context() as patch:
        tasks.share_program(patch)
        yield


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """The folder of a grid, trained in one task, and what came of it."""
    folder = tmp_path_factory.mktemp("sweep") / "grid"
    with pytest.MonkeyPatch.context() as patch:
        swept = run(GRID, folder, patch)
    return folder, swept


def test_the_folder_holds_what_it_should(grid):
    folder, swept = grid
    files = {"config.json", "env.json", "status.json", "sweep.log", "tasks", "timing.csv", "table.md"}
    files |= {*TABLES, "figure.png", "figure.svg", "report.html"}
    assert {p.name for p in folder.iterdir()} == files
    assert not [path for name in TABLES[:2] for path in folder.glob(f"tasks/**/{name}")]
    rows = pl.read_parquet(folder / "results.parquet")
    assert rows["number"].to_list() == list(range(12))
    assert rows["seed"].to_list() == [8, 9, 10] * 4
    assert {row["state"] for row in swept.rows} == {"finished"}
    assert run_folder.read_status(folder)["state"] == "finished"
    assert sweep.succeeded(swept)


def test_slices_and_the_order_of_tasks_change_no_bit(grid, tmp_path, monkeypatch):
    def backwards(folders, *rest):
        return in_process(folders[::-1], *rest)

    run(dataclasses.replace(GRID, members_per_task=4, workers=1), tmp_path / "cut", monkeypatch, backwards)
    assert len(list((tmp_path / "cut" / "tasks").iterdir())) == 3
    assert tables(tmp_path / "cut") == tables(grid[0])


def test_a_finished_sweep_that_is_resumed_trains_nothing_again(grid, monkeypatch, capsys):
    folder, before = grid[0], (tables(grid[0]), beginnings(grid[0]))
    monkeypatch.setattr(local_engine, "run", in_process)
    sweep.main(Config(resume=str(folder), workers=1))
    assert (tables(folder), beginnings(folder)) == before
    assert run_folder.read_json(folder / "config.json")["config"]["workers"] == 2
    assert "1 of 1 tasks finished before" in capsys.readouterr().out


def test_resuming_takes_other_workers_and_another_engine_and_nothing_else(grid, tmp_path):
    resume = Config(resume=str(grid[0]), workers=7, cluster=Cluster(cpus=2))
    job = experiment.prepare(sweep.EXPERIMENT, resume)
    assert job is not None
    [(plan, _)] = job.parts
    assert (plan.workers, plan.config.workers, plan.config.cluster.cpus) == (7, 2, 2)
    with pytest.raises(ValueError, match=r"read from .*; leave out grid, hidden"):
        sweep.main(dataclasses.replace(Config(resume=str(grid[0])), hidden=3, grid=Grid(lr=(1.0,))))


def test_a_dry_run_says_what_would_be_trained_and_leaves_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    again = dataclasses.replace(GRID, grid=dataclasses.replace(GRID.grid, every=(1, 2)), dry_run=True)
    assert sweep.main(again) is None
    printed = " ".join(capsys.readouterr().out.split())
    assert "12 trainings in 1 task, 2 at a time" in printed
    assert "4 combinations are the same training as others" in printed
    assert not list(tmp_path.iterdir())


def test_where_nothing_succeeds_all_is_recorded_and_the_exit_code_is_1(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(local_engine, "run", no_success)
    flags = ["--data", "sines", "--grid.lr", "0.1", "0.2", "--seeds", "2", "--no-estimate", "--workers", "1"]
    monkeypatch.setattr(sys, "argv", ["sweep", *flags, "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as exit_:
        cli.run(sweep.EXPERIMENT, "")
    assert exit_.value.code == 1
    assert "task 0000 failed: died" in capsys.readouterr().out
    rows = pl.read_parquet(tmp_path / "out" / "results.parquet")
    assert (set(rows["state"]), set(rows["why"])) == ({"failed"}, {"died"})


@pytest.mark.fault
def test_a_command_that_is_stopped_goes_on_and_trains_nothing_twice(tmp_path, monkeypatch):
    config = dataclasses.replace(GRID, epochs=120, grid=dataclasses.replace(GRID.grid, lr=(1e-2,)))
    run(dataclasses.replace(config, members_per_task=3), tmp_path / "whole", monkeypatch)
    folder = tmp_path / "stopped"
    flags = "--data sines --window 4 --batch 512 --hidden 2 --epochs 120 --no-estimate --members-per-task 3"
    flags += " --save-every 0.5 --workers 1 --grid.lr 1e-2 --grid.policy one_fit drop_m@2 --grid.seed 8:11"
    process = command("-m", "experiments.sweep", *flags.split(), "--out", str(folder))
    second = folder / "tasks" / "0001"
    clusters.wait_until(lambda: second.exists() and clusters.trains(second), process)
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=clusters.PATIENCE)
    assert process.returncode == exits.EXIT[signal.SIGTERM]
    assert f"--resume {folder}" in printed
    assert run_folder.read_status(folder)["state"] == "interrupted"
    assert events.progress(second) > 0
    sweep.main(Config(resume=str(folder)))
    assert tables(folder) == tables(tmp_path / "whole")
    assert [len(began) for _, began in sorted(beginnings(folder).items())] == [1, 2]


@pytest.mark.fault
def test_a_sweep_that_learns_killed_and_resumed_is_the_uninterrupted_one(tmp_path, monkeypatch):
    optuna = pytest.importorskip("optuna")
    run(SEARCH, tmp_path / "whole", monkeypatch)
    folder = tmp_path / "killed"
    program = (
        "import sys; from pathlib import Path; import pytest; from helpers import sweeps; import test_sweep as t\n"
        "sweeps.run(t.SEARCH, Path(sys.argv[1]), pytest.MonkeyPatch())"
    )
    process = command("-c", program, str(folder))
    clusters.wait_until(lambda: (folder / "tasks" / "0000" / events.FILE).exists(), process)
    time.sleep(random.uniform(0, 5))
    process.kill()
    process.communicate()
    finished = {place.name for place in folder.glob("tasks/*") if events.finished(place)}
    before = {name: began for name, began in beginnings(folder).items() if name in finished}
    sweep.main(Config(resume=str(folder)))
    assert tables(folder) == tables(tmp_path / "whole")
    assert {name: beginnings(folder)[name] for name in before} == before
    journal = optuna.storages.journal.JournalFileBackend(str(folder / "optuna.journal"))
    study = optuna.load_study(storage=optuna.storages.JournalStorage(journal), study_name=None)
    states = [trial.state.name for trial in study.trials]
    assert "RUNNING" not in states
    assert len([state for state in states if state in ("COMPLETE", "PRUNED")]) == 6


def command(*words):
    """Python in a process of its own."""
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        env=clusters.environment(Path(__file__).parent),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_extras_are_imported_only_when_they_are_asked_for():
    for file in (ROOT / "experiments" / "sweep").rglob("*.py"):
        for statement in ast.parse(file.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in getattr(statement, "names", ())]
            names.append(getattr(statement, "module", None) or "")
            assert not {name.partition(".")[0] for name in names} & {"optuna", "ray", "submitit"}, file
