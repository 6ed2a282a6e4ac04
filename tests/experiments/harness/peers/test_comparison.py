"""The answer, the notes and the table of a comparison are the same on the terminal, in Markdown and on the page."""

from dataclasses import dataclass

from helpers.pages import Parsed

from experiments.harness import report, run_folder
from experiments.harness.peers import comparison
from experiments.harness.peers.comparison import Comparison

TOLD = Comparison("Who?", "Both.", ["One: not measured (no)"], "All", "Seconds", ("who", "s"), [("we", "1")])


@dataclass(frozen=True)
class Config:
    seeds: int = 2


def written(folder, told):
    run_folder.decide(folder, "name", Config(), {})
    comparison.write(folder, told, {"config.json": "what was asked"})
    return Parsed((folder / "report.html").read_text(encoding="utf-8")), (folder / "table.md").read_text()


def test_the_page_and_the_table_begin_with_the_answer_and_its_notes(tmp_path):
    page, table = written(tmp_path, TOLD)
    assert table == "Both.\n\n- One: not measured (no)\n\n| who | s |\n|---|---|\n| we | 1 |\n"
    assert page.all("p")[:2] == ["Both.", "One: not measured (no)"]
    assert "The picture" not in page.all("h2")
    assert {"config.json", "env.json", "table.md"} <= set(page.all("a"))


def test_a_picture_stands_before_the_table_and_no_notes_leave_no_gap(tmp_path):
    (tmp_path / "figure.svg").write_text("<svg/>", encoding="utf-8")
    page, table = written(tmp_path, TOLD._replace(notes=[], picture="Left: a line"))
    assert table.startswith("Both.\n\n| who")
    assert page.all("h2")[:2] == ["The picture", "All"]


def test_the_answer_is_said_last(capsys):
    comparison.say(report.console(), TOLD)
    assert capsys.readouterr().out.rstrip().splitlines()[-2:] == ["One: not measured (no)", "Both."]


def test_who_is_missing_is_named_with_the_reason_and_other_losses_are_called_so():
    assert comparison.notes({"One": "no"}, [], 1e-3) == [
        "One: not measured (no)",
        "All reach the same loss, to 0.001.",
    ]
    assert comparison.notes({}, ["a", "b"], 1e-3) == ["OTHER LOSSES: a; b"]
