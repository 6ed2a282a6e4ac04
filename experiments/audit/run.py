"""What does my loop drop? Two saved states, just before and just after a boundary.

    python -m experiments.audit before.npz after.npz                      a table, and what it is called
    python -m experiments.audit run/checkpoint other/checkpoint --out r   the same as audit.csv and report.html in r

A and B are .npz files of arrays (from JAX: `np.savez(file, **{jax.tree_util.keystr(p): x for p, x in
jax.tree_util.tree_leaves_with_path(state)})`), or folders written by `lstm_sched.checkpoint`. Files of pickles are
refused. Runtime: seconds. Expected: which parts of the training survived, bit for bit, and the named idioms that do
just this.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import tyro
from rich.markup import escape

from experiments.harness import page, report, run_folder
from lstm_sched.auditing.audit import Audit, audit, describe, seen
from lstm_sched.auditing.fate import Row

COLUMNS = ("component", "fate", "numbers that differ", "largest distance", "first leaf that differs", "note")
TITLE = "What became of each component"
TERMS = [
    ("kept", "The same bits."),
    ("reset, gone", "Back at its initial value, or no longer there."),
    ("re-seeded", "A random stream that begins from another key."),
    ("scaled, blended", "One factor of it is kept, towards zero or towards the first state."),
    ("perturbed, changed", "Mostly kept with noise on top, or other numbers altogether."),
    ("partly reset", "Some of its arrays are kept, others reset."),
    ("ulp", "Units in the last place: how many representable numbers lie between the two."),
]


@dataclass(frozen=True)
class Config:
    """What is compared, and where the answer goes."""

    before: Annotated[Path, tyro.conf.Positional]
    """the state just before the boundary: an .npz file or a checkpoint folder"""
    after: Annotated[Path, tyro.conf.Positional]
    """the state just after it"""
    fresh: Path | None = None
    """the run's first state: what a reset returns to"""
    out: str | None = None
    """a new folder for audit.csv and report.html"""


class Answer(NamedTuple):
    """What was found, and the folder to write it to."""

    config: Config
    audit: Audit
    folder: Path | None


def prepare(config: Config) -> Answer:
    """Read and compare. ValueError, TypeError, OSError: what the user has to mend."""
    found = audit(config.before, config.after, config.fresh)
    folder = None if config.out is None else run_folder.new_folder(config.out, "audit")
    return Answer(config, found, folder)


def cells(row: Row) -> tuple[str, ...]:
    """A row of the table, in words."""
    differ = f"{row.differing:,} of {row.numbers:,}" if row.differing else "none"
    ulp = "" if row.ulp is None else f"{row.ulp:,} ulp"
    return row.component, row.fate, differ, ulp, row.first, row.note


def execute(answer: Answer) -> Audit:
    """Print the answer; write it where a folder is given."""
    rows, words = [cells(row) for row in answer.audit.rows], describe(seen(answer.audit.rows))
    out = report.console()
    lines = [[escape(cell) for cell in row] for row in rows]  # names of arrays are a user's own
    out.print(report.table(TITLE, COLUMNS, lines))
    out.print(words, markup=False, soft_wrap=True)
    if answer.folder is not None:
        run_folder.write_csv(answer.folder / "audit.csv", [row._asdict() for row in answer.audit.rows])
        page.write(answer.folder, sections(answer, rows, words))
        out.print(f"written to {answer.folder}", markup=False, soft_wrap=True)
    return answer.audit


def sections(answer: Answer, rows: list[tuple[str, ...]], words: str) -> list[page.Section]:
    """The page of an audit."""
    files = f"Before: {answer.config.before}. After: {answer.config.after}."
    return [
        page.Section(
            "What does this boundary drop?", page.paragraph(words, lead=True) + page.paragraph(files)
        ),
        page.Section("Component by component", page.table(COLUMNS, rows, TITLE)),
        page.Section("The words", page.terms(TERMS)),
        page.Section("How to get this again", page.commands([run_folder.command("audit")])),
        page.Section("Raw files", page.files([("audit.csv", "a row a component")])),
    ]
