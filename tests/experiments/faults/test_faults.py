"""A few of the faults that `experiments.faults` does, and what it does with what it saw."""

import csv

import pytest

from experiments.faults import disk, files, hostile_input, processes
from experiments.faults import run as faults
from experiments.faults.processes import Row

pytestmark = pytest.mark.fault


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A folder with an undisturbed run in it."""
    base = tmp_path_factory.mktemp("faults")
    assert processes.finish(base / "whole", "--out", str(base / "whole")) == 0
    return base


def test_killed_runs_are_found_again_and_end_as_if_nothing_had_been(base):
    rows = processes.kills(base, base / "whole", 2)
    assert [row.seen for row in rows if not row.held] == []
    assert rows[0].seen.startswith("2 of 2 reopen; 0 acknowledged saves lost; 0 numbers differ")


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


def test_a_figure_that_is_not_reached_is_told_everywhere(tmp_path, monkeypatch, capsys):
    rows = [Row("a", "b", "c [x]", True), Row("<d>", "e", "f", False)]
    monkeypatch.setattr(faults, "_rows", lambda plan: rows)
    plan = faults.prepare(faults.Config(out=str(tmp_path / "out")))
    assert not faults.held(faults.execute(plan))
    assert faults.held(rows[:1])
    printed = capsys.readouterr().out
    assert "c [x]" in printed
    assert printed.count("NOT AS EXPECTED") == 1
    with (plan.folder / "results.csv").open(newline="") as file:
        assert [row["held"] for row in csv.DictReader(file)] == ["True", "False"]
    assert "| <d> | e | **Not reached:** f |" in (plan.folder / "table.md").read_text()
    assert '<td data-name="reached">NO</td>' in (plan.folder / "report.html").read_text()
