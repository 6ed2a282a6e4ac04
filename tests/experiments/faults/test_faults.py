"""A few of the faults that `experiments.faults` does, and what it does with what it saw."""

import contextlib
import csv

import pytest
from helpers.pools import OnePool

from experiments.faults import disk, files, hostile_input, processes
from experiments.faults import run as faults
from experiments.harness import run_folder
from experiments.harness.exits import Interrupted

pytestmark = pytest.mark.fault


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A folder with an undisturbed run in it."""
    base = tmp_path_factory.mktemp("faults")
    assert processes.finish(base / "whole", "--out", str(base / "whole")) == 0
    return base


def test_killed_runs_are_found_again_and_end_as_if_nothing_had_been(base):
    rows = processes.kills(base, base / "whole", 1)
    assert [row.seen for row in rows if not row.held] == []
    assert rows[0].seen.startswith("1 of 1 reopen; 0 acknowledged saves lost; 0 numbers differ")


def test_a_full_disk_loses_nothing_that_was_saved(base):
    (row,) = disk.full_disk(base, base / "whole")
    assert row.held, row.seen


def test_harmful_files_do_no_harm(tmp_path):
    (row,) = hostile_input.hostile(tmp_path)
    assert row.held, row.seen


def test_a_warning_and_an_error_are_heard():
    found, said = files.heard(lambda: int("x"))
    assert isinstance(found, ValueError)
    assert said == []


def test_a_stopped_run_keeps_the_faults_that_it_did(tmp_path, monkeypatch, capsys):
    calls, stop_at = [], ["disk"]

    def do(name, base, full, seed):
        if name in stop_at:
            raise KeyboardInterrupt
        calls.append(name)
        return [{"fault": f"<{name}>", "expected": "e", "seen": "c [x]", "held": name != "kills"}]

    monkeypatch.setattr(faults, "do", do)
    monkeypatch.setattr(faults, "undisturbed", lambda base: "finished")
    monkeypatch.setattr(faults, "two_workers", lambda: contextlib.nullcontext(OnePool()))
    monkeypatch.setattr(faults, "as_completed", list)
    with pytest.raises(Interrupted):
        faults.main(faults.Config(out=str(tmp_path / "out")))
    seed = run_folder.read_json(tmp_path / "out" / "config.json")["seed"]
    calls.clear()
    stop_at.clear()
    rows = faults.main(faults.Config(resume=str(tmp_path / "out")))
    assert "kills" not in calls and "disk" in calls
    assert [row.fault for row in rows] == [f"<{name}>" for name in faults.FAULTS]
    assert not faults.expected(rows) and faults.expected(rows[1:])
    assert run_folder.read_json(tmp_path / "out" / "config.json")["seed"] == seed
    assert "c [x]" in capsys.readouterr().out
    with (tmp_path / "out" / "results.csv").open(newline="") as file:
        assert [row["held"] for row in csv.DictReader(file)].count("False") == 1
    assert "| <kills> | e | c [x] | NO |" in (tmp_path / "out" / "table.md").read_text()
    assert '<td data-name="reached">NO</td>' in (tmp_path / "out" / "report.html").read_text()
