"""What a sweep says before and while it runs: its groups and what they will take, then one bar over all tasks.

sweep.log   the same as plain lines: what began, died and ended, and how far all of it is
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from rich.console import Console

from experiments import report
from experiments.bar import bar
from experiments.engine import Event
from experiments.sweep_config import STATIC
from experiments.sweep_estimate import Expected
from experiments.sweep_plan import Group, Task

LOG = "sweep.log"
MOST = 30  # groups in a table


def say_plan(
    out: Console, tasks: Sequence[Task], workers: int, expected: tuple[list[Expected], float] | None
) -> None:
    """Groups, trainings, tasks, and what is expected of them where that was measured."""
    groups = list({id(task.group): task.group for task in tasks}.values())
    cells = sum(len(task.cells) for task in tasks)
    varied = [field for field in STATIC if len({getattr(group.setting, field) for group in groups}) > 1]
    rows = []
    for g, group in enumerate(groups[:MOST]):
        mine = [len(task.cells) for task in tasks if task.group is group]
        row = [name(group, varied), str(len(group.configurations)), str(sum(mine)), str(len(mine))]
        rows.append([*row, *(expectation(expected[0][g]) if expected else ())])
    columns = ["group", "configurations", "trainings", "tasks"]
    columns += ["time of a worker", "memory of a task", "from"] if expected else []
    out.print(report.table(f"{cells} trainings in {len(tasks)} tasks, {workers} at a time", columns, rows))
    if len(groups) > MOST:
        out.print(f"and {len(groups) - MOST} groups more")
    if expected:
        how = f"measured on {sum(one.how == 'measured' for one in expected[0])} of {len(groups)} groups"
        out.print(f"expected: {duration(expected[1])} in all, {how}")


def name(group: Group, varied: Sequence[str]) -> str:
    """What tells the group from others."""
    return ", ".join(f"{field} {getattr(group.setting, field)}" for field in varied) or "all"


def expectation(one: Expected) -> tuple[str, str, str]:
    """Time, memory, and how they are known."""
    return duration(one.seconds), "?" if math.isnan(one.bytes) else f"{one.bytes / 2**30:.1f} GiB", one.how


def duration(seconds: float) -> str:
    """For more than hours, too."""
    if math.isnan(seconds):
        return "?"
    return report.duration(seconds) if seconds < 7200 else f"{seconds / 3600:.1f} h"


@contextlib.contextmanager
def watching(out: Console, folder: Path, total: int, done: int) -> Iterator[Callable[[Event, int], None]]:
    """Takes events of the engine, each with the epochs of all cells of its task; `done` of `total` were run before."""
    ran: dict[Path, int] = {}
    with (folder / LOG).open("a", encoding="utf-8", buffering=1) as file:
        log = Console(file=file, highlight=False, width=report.NARROWEST)
        with bar(out, total, done) as show, bar(log, total, done) as note:

            def tell(event: Event, whole: int) -> None:
                over = event.what in ("finished", "failed")
                ran[event.folder] = whole if over else max(event.epochs, ran.get(event.folder, 0))
                if event.what != "progress":
                    line = f"task {event.folder.name} {event.what}{': ' * bool(event.why)}{event.why}"
                    log.print(f"{datetime.now():%Y-%m-%d %H:%M:%S} {line}", markup=False, soft_wrap=True)
                    if event.what in ("died", "failed"):
                        out.print(line, markup=False, soft_wrap=True)
                clock = min(total, done + sum(ran.values()))
                show(clock)
                note(clock)

            yield tell
