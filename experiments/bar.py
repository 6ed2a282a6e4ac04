"""How far a training is, and the time that it has left."""

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


@contextlib.contextmanager
def bar(console: Console, epochs: int, done: int) -> Iterator[Callable[[int], None]]:
    """A bar with time left on a terminal; elsewhere a plain line at the first epoch and each tenth."""
    if console.is_terminal:
        columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("epochs"))
        clocks = (TimeElapsedColumn(), TextColumn("elapsed,"), TimeRemainingColumn(), TextColumn("left"))
        with Progress(*columns, *clocks, console=console) as progress:
            task = progress.add_task("training", total=epochs, completed=done)
            yield lambda clock: progress.update(task, completed=clock)
        return
    began, start, printed = time.monotonic(), done, [done * 10 // epochs]

    def line(clock: int) -> None:
        if clock == done + 1 or clock * 10 // epochs > printed[0]:
            printed[0] = clock * 10 // epochs
            elapsed = time.monotonic() - began
            left = elapsed / (clock - start) * (epochs - clock)
            console.print(f"epoch {clock}/{epochs}, {elapsed:.0f} s elapsed, about {left:.0f} s left")

    yield line
