"""Terminal helpers of experiments that are not carried out by `experiment` yet."""

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Column, Table

from experiments.harness import run_folder
from experiments.harness.document import NARROWEST as NARROWEST
from experiments.harness.document import console as console
from experiments.harness.document import duration as duration


@contextlib.contextmanager
def running(folder: Path, left: str) -> Iterator[Console]:
    """The terminal while a run lasts whose status is noted: an error makes it `failed`. At the end its seconds are
    printed, and that the folder has what is `left` there."""
    began, out = time.monotonic(), console()
    run_folder.write_status(folder, "running")
    try:
        yield out
    except Exception:
        run_folder.write_status(folder, "failed")
        raise
    seconds = time.monotonic() - began
    run_folder.write_status(folder, "finished", seconds=round(seconds, 1))
    out.print(f"{seconds:.0f} s. {left}: {folder}", markup=False, soft_wrap=True)


def table(title: str, columns: Iterable[str | Column], rows: Iterable[Sequence[str]]) -> Table:
    """For a terminal. In a column given by its name alone, what is too long is folded and never cut."""
    heads = (Column(c, overflow="fold") if isinstance(c, str) else c for c in columns)
    made = Table(*heads, title=title, box=box.SIMPLE)
    for row in rows:
        made.add_row(*row)
    return made


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The same for a page in Markdown."""
    head = f"| {' | '.join(columns)} |\n" + "|---" * len(columns) + "|\n"
    return head + "".join(f"| {' | '.join(row)} |\n" for row in rows)
