"""Whole runs: with processes that are none, stopped and continued; and with the real packages."""

import csv
import importlib.util
import sys

import numpy as np
import pytest
from helpers.packages import TINY, pretend

from experiments.harness import exits, run_folder
from experiments.harness.peers import process, workload
from experiments.harness.peers.jobs import RATE, SHAPES
from experiments.harness.peers.process import EPOCH, OURS
from experiments.harness.peers.scripts import ours_peer
from experiments.throughput import jobs, run
from experiments.throughput.jobs import Config

GPU = {
    "gpu": True,
    "device": "cpu",
    "members": 2,
    "others": 1,
    "epochs": 3,
    "repetitions": 1,
    "large_epochs": 0,
}


@pytest.fixture
def tiny(monkeypatch):
    """Small sizes, two cores, and little growth."""
    for name in SHAPES:
        monkeypatch.setitem(SHAPES, name, TINY)
    monkeypatch.setattr(jobs.os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    monkeypatch.setattr(jobs, "GROWTH", {"members": (1, 2), "window": (2, 3)})


def test_the_quick_form_says_what_is_missing_and_answers(tiny, tmp_path, monkeypatch, capsys):
    pretend(monkeypatch)
    measured = run.main(Config(quick=True, members=2, repetitions=2, out=str(tmp_path / "run")))
    printed = " ".join(capsys.readouterr().out.split())
    assert "; ".join(jobs.PEERS) + ": not measured (not asked)" in printed
    assert "One training of 3 epochs (question)" in printed and EPOCH in printed
    assert {row.job.part for row in measured.rows} == {"one", "many", "limit"}
    assert {row.repetition for row in measured.rows} == {0, 1, 2}
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"results.csv", "table.md", "figure.svg", "figure.png", "report.html", "config.json"} <= names
    assert not [name for name in names if name.endswith(".part")]
    with (tmp_path / "run" / "results.csv").open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == len(measured.rows)


def test_a_run_that_is_stopped_goes_on_with_what_is_missing(tiny, tmp_path, monkeypatch):
    folder, asks = tmp_path / "run", {"members": 2, "repetitions": 2, "peers": ("PyTorch", "Equinox")}
    before = pretend(monkeypatch, absent={"Equinox"}, stopped_at=30)
    with pytest.raises(exits.Interrupted):
        run.main(Config(out=str(folder), **asks))
    lines = (folder / "measured.jsonl").read_text().splitlines()
    after = pretend(monkeypatch)
    measured = run.main(Config(resume=str(folder)))
    assert (folder / "measured.jsonl").read_text().splitlines()[: len(lines)] == lines
    assert measured.lost["Equinox"].startswith("not measured (Equinox is not installed")
    whole = pretend(monkeypatch, absent={"Equinox"})
    expected = run.main(Config(out=str(tmp_path / "whole"), **asks))
    assert [(r.job, r.repetition, r.losses) for r in measured.rows] == [
        (r.job, r.repetition, r.losses) for r in expected.rows
    ]
    assert {row.job.axis for row in measured.rows if row.job.part == "growth"} == {"members", "window"}
    assert len(after) < len(whole) - len(before) + 12, "but for compiling again, nothing is asked twice"


def test_without_a_gpu_the_command_says_so(tmp_path):
    with pytest.raises(exits.Refused, match="JAX has no device of the platform cuda") as refused:
        run.main(Config(gpu=True, out=str(tmp_path / "run")))
    assert refused.value.code == 1
    assert run_folder.read_status(tmp_path / "run")["state"] == "failed"


@pytest.fixture(scope="module")
def on_cpu(tmp_path_factory):
    """The form for a GPU with real processes: what was measured, and table.md."""
    folder = tmp_path_factory.mktemp("gpu") / "run"
    with pytest.MonkeyPatch.context() as patch:
        for name in SHAPES:
            patch.setitem(SHAPES, name, TINY)
        return run.main(Config(**GPU, out=str(folder))), (folder / "table.md").read_text()


def counted(measured, package):
    rows = [row for row in measured.rows if row.job.package == package]
    return [(row.job.part, row.repetition, row.job.members, row.job.epochs) for row in rows]


def test_ours_is_measured_whether_pytorch_is_here_or_not(on_cpu, tmp_path):
    measured, text = on_cpu
    assert counted(measured, OURS) == [("check", 0, 1, 3), ("many", 0, 2, 3), ("many", 1, 2, 3)]
    assert "2 trainings of 3 epochs (question)" in text
    assert ("torch is not installed" in text) is (importlib.util.find_spec("torch") is None)
    path = workload.save(tmp_path / "data.npz", workload.arrays(TINY))
    task = {"data": str(path), "arm": "one_call", "epochs": 3, "members": [[0, RATE]]}
    expected = ours_peer.train(task | {"hidden": TINY.hidden, "batch": TINY.batch})["loss"]
    assert measured.rows[0].losses == pytest.approx(expected, rel=1e-6)


@pytest.mark.peers
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_pytorch_trains_the_same(on_cpu):
    measured, text = on_cpu
    assert counted(measured, "PyTorch") == [("check", 0, 1, 3), ("many", 0, 1, 3), ("many", 1, 1, 3)]
    assert "All reach the same loss" in text


@pytest.mark.peers
@pytest.mark.parametrize("name", jobs.PEERS)
def test_the_real_package_reaches_our_loss(name, tmp_path):
    peer = process.PEERS[name]
    needed = peer.script, peer.backend or "numpy"
    missing = [package for package in needed if importlib.util.find_spec(package) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)}: not installed (extra `peers`)")
    path = workload.save(tmp_path / "data.npz", workload.arrays(TINY, 2)).resolve()
    task = {"data": str(path), "arm": "one_call", "epochs": 3, "members": [[0, 1e-3], [1, 5e-3]]}
    task |= {"hidden": TINY.hidden, "batch": TINY.batch, "device": "cpu"}
    with process.opened(name, sys.executable, tmp_path / "log") as opened:
        [theirs] = process.ask([opened], [task])
    np.testing.assert_allclose(theirs["loss"], ours_peer.train(task)["loss"], rtol=1e-3)
