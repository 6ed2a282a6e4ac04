"""What is said where packages are compared: an answer in one line, notes, one table; and table.md and the page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from experiments.harness import page, report, run_folder
from experiments.harness import page as pa
from experiments.harness.page import Section


class Comparison(NamedTuple):
    """All of it, in words."""

    question: str
    answer: str
    notes: list[str]
    heading: str  # above the table, on the page
    title: str  # of the table
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    picture: str = ""  # what figure.svg shows; "" where there is none


def notes(missing: Mapping[str, str], disagreeing: Sequence[str] | None, same: float) -> list[str]:
    """What is not there, and whether all trained the same: reached one loss, to a relative difference of `same`; of
    that nothing where `disagreeing` is None, since nothing was set beside ours."""
    absent = [f"{name}: not measured ({why})" for name, why in missing.items()]
    if disagreeing is None:
        return absent
    wrong = f"OTHER LOSSES: {'; '.join(disagreeing)}"
    return [*absent, wrong if disagreeing else f"All reach the same loss, to {same:g}."]


def say(out: Console, told: Comparison) -> None:
    """The table, the notes, and last the answer."""
    out.print(report.table(told.title, told.columns, told.rows))
    for note in told.notes:
        out.print(note, markup=False)
    out.print(told.answer, style="bold", markup=False)


def write(folder: Path, told: Comparison, files: dict[str, str]) -> None:
    """table.md and the page, in a folder that has the rest: `files` says what those are that no other run has."""
    notes = "".join(f"- {note}\n" for note in told.notes) + "\n" * bool(told.notes)
    text = f"{told.answer}\n\n{notes}{report.markdown(told.columns, told.rows)}"
    (folder / "table.md").write_text(text, encoding="utf-8")
    stored, environment = (run_folder.read_json(folder / f"{name}.json") for name in ("config", "env"))
    lead = page.paragraph(told.answer, lead=True)
    sections = [Section(told.question, lead + "".join(map(page.paragraph, told.notes)))]
    if told.picture:
        sections.append(Section("The picture", page.figure_of(folder, told.picture)))
    sections += [
        Section(told.heading, page.table(told.columns, told.rows, told.title)),
        Section("Configuration and versions", pa.configuration(stored, environment)),
        Section("How to get this again", page.commands([stored["command"]])),
        Section("Raw files", pa.raw_files(folder, files)),
    ]
    page.write(folder, sections)
