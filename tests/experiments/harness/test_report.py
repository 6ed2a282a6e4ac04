"""How a run ended is noted, and a table is the same in Markdown."""

import pytest

from experiments.harness import report, run_folder


def test_a_run_that_ends_is_finished_and_says_what_it_left_and_where(tmp_path, capsys):
    with report.running(tmp_path, "Table and page"):
        assert run_folder.read_json(tmp_path / "status.json")["state"] == "running"
    status = run_folder.read_json(tmp_path / "status.json")
    assert (status["state"], status["seconds"] >= 0) == ("finished", True)
    assert capsys.readouterr().out == f"0 s. Table and page: {tmp_path}\n"


def test_a_run_that_fails_has_failed_and_its_error_is_heard(tmp_path, capsys):
    with pytest.raises(RuntimeError, match="no such luck"), report.running(tmp_path, "Table"):
        raise RuntimeError("no such luck")
    assert run_folder.read_json(tmp_path / "status.json")["state"] == "failed"
    assert capsys.readouterr().out == ""


def test_a_run_that_is_stopped_has_not_failed(tmp_path):
    with pytest.raises(KeyboardInterrupt), report.running(tmp_path, "Table"):
        raise KeyboardInterrupt
    assert run_folder.read_json(tmp_path / "status.json")["state"] == "running"


def test_a_table_in_markdown_has_a_line_a_row():
    rows = [("one", "1"), ("two", "2")]
    assert report.markdown(("name", "n"), rows) == "| name | n |\n|---|---|\n| one | 1 |\n| two | 2 |\n"
    assert report.markdown(("name",), []) == "| name |\n|---|\n"
