"""The output of a sweep before and while it runs: its groups with their estimates, then a bar over all tasks.

sweep.log has the same as plain lines: tasks that began, died or ended, and the progress of all of them.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from rich.console import Console

from experiments.harness import document
from experiments.harness.document import Table
from experiments.harness.training import bar
from experiments.sweep.config import STATIC
from experiments.sweep.engines.base import Event
from experiments.sweep.estimate import Estimate, Expected
from experiments.sweep.plan import Group, Task

LOG = "sweep.log"
MOST = 30  # groups in a table


def show_plan(
    out: Console, groups: Sequence[Group], tasks: Sequence[Task], workers: int, estimate: Estimate | None
) -> None:
    """Print the groups, and the expected time of all of them if it was measured."""
    document.show_table(out, plan_table(groups, tasks, workers, estimate))
    if estimate is not None:
        measured = sum(expected.how == "measured" for expected in estimate.groups)
        out.print(
            f"expected: {duration(estimate.seconds)} in all, measured on {measured} of {len(groups)} groups"
        )


def plan_table(
    groups: Sequence[Group], tasks: Sequence[Task], workers: int, estimate: Estimate | None
) -> Table:
    """One row per group: configurations, trainings, tasks, and expected time and memory if known."""
    varied = [field for field in STATIC if len({getattr(group.setting, field) for group in groups}) > 1]
    rows = []
    for g, group in enumerate(groups[:MOST]):
        sizes = [len(task.trials) for task in tasks if task.group is group]
        name = ", ".join(f"{field} {getattr(group.setting, field)}" for field in varied) or "all"
        row = [name, len(group.configurations), sum(sizes), len(sizes)]
        rows.append([*row, *(_expectation(estimate.groups[g]) if estimate is not None else ())])
    columns = ("group", "configurations", "trainings", "tasks")
    if estimate is not None:
        columns += ("time of one worker", "memory per task", "how known")
    more = f"; the first {MOST} of {len(groups)} groups" * (len(groups) > MOST)
    trials = sum(len(task.trials) for task in tasks)
    title = f"{trials} trainings in {len(tasks)} task{'s' * (len(tasks) != 1)}, {workers} at a time{more}"
    return Table(title=title, columns=columns, rows=rows)


def _expectation(expected: Expected) -> tuple[str, str, str]:
    memory = "?" if math.isnan(expected.bytes) else f"{expected.bytes / 2**30:.1f} GiB"
    return duration(expected.seconds), memory, expected.how


def duration(seconds: float) -> str:
    """Seconds, minutes or hours; "?" for nan."""
    if math.isnan(seconds):
        return "?"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


@contextlib.contextmanager
def watching(out: Console, folder: Path, total: int, done: int) -> Iterator[Callable[[Event, int], None]]:
    """Yield a function that takes an event and its task's epochs; `done` of `total` epochs ran earlier."""
    ran: dict[Path, int] = {}
    with (folder / LOG).open("a", encoding="utf-8", buffering=1) as file:
        log = Console(file=file, highlight=False, width=document.NARROWEST)
        with bar(out, total, done) as show, bar(log, total, done) as note:

            def notify(event: Event, epochs: int) -> None:
                over = event.kind in ("finished", "failed")
                ran[event.folder] = epochs if over else max(event.epochs, ran.get(event.folder, 0))
                if event.kind != "progress":
                    line = f"task {event.folder.name} {event.kind}{': ' * bool(event.why)}{event.why}"
                    log.print(f"{datetime.now():%Y-%m-%d %H:%M:%S} {line}", markup=False, soft_wrap=True)
                    if event.kind in ("died", "failed"):
                        out.print(line, markup=False, soft_wrap=True)
                clock = min(total, done + sum(ran.values()))
                show(clock)
                note(clock)

            yield notify
