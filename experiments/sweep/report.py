"""What a sweep says to a person: the answer, the ranking, the best rate of each policy, and what went wrong."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from experiments.harness import page, report, run_folder
from experiments.harness.training import bar
from experiments.harness.wording import forecast
from experiments.sweep import figure, ranking, results
from experiments.sweep import page as pa
from experiments.sweep.config import STATIC
from experiments.sweep.engines.base import Event
from experiments.sweep.estimate import Expected
from experiments.sweep.plan import Group, Task
from experiments.sweep.ranking import Answered, Configuration, Mean, Row, text, value

# What a sweep says before and while it runs: its groups and what they will take, then one bar over all
# tasks. sweep.log the same as plain lines: what began, died and ended, and how far all of it is


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


SHOWN = 20  # configurations of a ranking; all of them are in results.csv
TOP = 8  # of them on a terminal
Baselines = Mapping[int, Mapping[str, Mapping[str, float]]]  # window -> forecast -> part -> loss


class Said(NamedTuple):
    """What is said of a sweep's rows."""

    rows: list[Row]
    answered: Answered
    sentences: str


def write(folder: Path) -> Said:
    """table.md, figure.svg, figure.png and report.html, from what `sweep_results.write` left in the folder."""
    rows = results.read(folder)
    answered, baselines = ranking.answer(rows), read_baselines(folder)
    stored, environment = (run_folder.read_json(folder / name) for name in ("config.json", "env.json"))
    figure.draw(folder, answered, stored["command"])
    said = sentence(answered, baselines) + results.mixed(folder)
    shown = tables(answered, rows)
    lines = [said, ""]
    for title, header, found in shown:
        if found:
            one_line = [[cell.replace("\n", " ") for cell in row] for row in found]
            lines += [f"{title}:", "", report.markdown(header, one_line)]
    (folder / "table.md").write_text("\n".join(lines), encoding="utf-8")
    page.write(folder, pa.sections(folder, answered, said, shown, baselines, stored, environment))
    return Said(rows, answered, said)


def say(out: Console, folder: Path, said: Said) -> None:
    """The answer and its tables for a terminal."""
    out.print()
    out.print(said.sentences, style="bold", markup=False)
    for title, header, found in tables(said.answered, said.rows, TOP, ("test at the end", "epochs")):
        if found:
            out.print(report.table(title, header, found))
    out.print(f"Raw numbers, figure and report.html: {folder}", markup=False, soft_wrap=True)


def read_baselines(folder: Path) -> Baselines:
    """Losses of forecasts that need no network, for each window that a task has."""
    found = {}
    for file in sorted(folder.glob("tasks/*/done.json")):
        window = run_folder.read_json(file.parent / "task.json")["config"]["window"]
        baselines = run_folder.read_json(file)["baselines"]
        if baselines:
            found.setdefault(window, baselines)
    return found


def tables(
    answered: Answered, rows: Sequence[Row], most: int = SHOWN, leave_out: Sequence[str] = ()
) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """(title, header, rows) of the ranking, without some of its columns, of the best rates, and of what went wrong."""
    rates = best_rate_rows(answered) if len({one.fields["policy"] for one in answered.ranked}) > 1 else []
    kept = f"; the first {most} of {len(answered.ranked)}" * (len(answered.ranked) > most)
    header = ("rank", *answered.varied, "n", "validation", "test there", "test at the end", "epochs", "state")
    alike = ("epochs",) * (len({one.epochs_run for one in answered.ranked}) == 1)
    shown = [i for i, name in enumerate(header) if name not in (*leave_out, *alike)]
    return [
        (
            f"Configurations by their lowest validation loss, mean over seeds (of logs) [95 %]{kept}",
            tuple(header[i] for i in shown),
            [tuple(row[i] for i in shown) for row in ranking_rows(answered, most)],
        ),
        (
            "Each policy at its own best learning rate",
            ("policy", "best lr", "of those tried", *_others(answered), "n", "validation", "test there"),
            rates,
        ),
        ("What went wrong", ("what", "trainings", "numbers", "why"), lost_rows(rows)),
    ]


def _others(answered: Answered) -> list[str]:
    return [field for field in answered.varied if field not in ("policy", "lr")]


def ranking_rows(answered: Answered, most: int = SHOWN) -> list[tuple[str, ...]]:
    """The best configurations, the best first."""
    return [
        (
            str(rank + 1),
            *(value(one, field) for field in answered.varied),
            str(len(one.seeds)),
            *map(interval, (one.val, one.test, one.test_end)),
            str(one.epochs_run),
            one.state if not one.diverged else f"{one.diverged} of {len(one.seeds)} diverged",
        )
        for rank, one in enumerate(answered.ranked[:most])
    ]


def best_rate_rows(answered: Answered) -> list[tuple[str, ...]]:
    """A row a policy."""
    found = []
    for own in ranking.best_rates(answered):
        tried = f"{len(own.rates)}, {text(own.rates[0])} to {text(own.rates[-1])}"
        tried += f"; it is the {own.edge}: a better one may lie beyond" * bool(own.edge)
        others = (value(own.best, field) for field in _others(answered))
        means = map(interval, (own.best.val, own.best.test))
        found.append(
            (own.policy, text(own.best.fields["lr"]), tried, *others, str(len(own.best.seeds)), *means)
        )
    return found


def lost_rows(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """What diverged or failed, and why, with the numbers of the cells."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["diverged"]:
            found.setdefault(("diverged", ""), []).append(row)
        elif row["state"] == "failed":
            found.setdefault(("failed", row["why"]), []).append(row)
    why = {"diverged": "a loss is not finite, or far above that of predicting the mean; learning rates {}"}
    table = []
    for (what, reason), own in found.items():
        rates = sorted({row["lr"] for row in own})
        span = text(rates[0]) if len(rates) == 1 else f"{text(rates[0])} to {text(rates[-1])}"
        reason = reason or why[what].format(span)
        table.append((what, f"{len(own)} of {len(rows)}", numbers([row["number"] for row in own]), reason))
    return table


def numbers(cells: Sequence[int]) -> str:
    """Cells' numbers, rising, runs of them as a range."""
    runs: list[list[int]] = []
    for number in cells:
        if runs and number == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], number]
        else:
            runs.append([number])
    words = ["–".join(map(str, run)) for run in runs]
    return ", ".join(words[:6]) + f" and {len(words) - 6} more" * (len(words) > 6)


def interval(mean: Mean) -> str:
    """A loss and its interval over seeds, where it has one."""
    if math.isnan(mean.mean):
        return "–"
    return f"{mean.mean:#.4g}" + (f" [{mean.lo:#.4g}, {mean.hi:#.4g}]" if math.isfinite(mean.lo) else "")


def sentence(answered: Answered, baselines: Baselines) -> str:
    """The first paragraph."""
    ranked, cells = answered.ranked, answered.cells
    counts = ", ".join(f"{cells[state]} {state}" for state in ranking.STATES if cells[state])
    of = f"Of {len(ranked)} configurations ({sum(cells.values())} trainings: {counts})"
    if not ranked or ranked[0].state in ("diverged", "failed"):
        return f"{of} none was trained without harm: there is nothing to rank."
    best = ranked[0]
    words = f"{of} the lowest validation loss is that of {ranking.name(best, answered.varied)}: "
    words += f"{interval(best.val)} over {len(best.seeds)} seeds, at epoch {best.best_epoch:g} of {best.epochs_run}; "
    words += f"its test loss there is {interval(best.test)}."
    close = sum(one.val.mean <= best.val.hi for one in ranked[1:])
    if close:
        words += f" {close} other{'s' * (close > 1)} lie{'s' * (close == 1)} inside its interval."
    edges = [own.policy for own in ranking.best_rates(answered) if own.edge]
    if edges:
        words += f" The best rate of {', '.join(edges)} is the last one tried on its side: extend the range."
    return words + _loses(best, baselines)


def _loses(best: Configuration, baselines: Baselines) -> str:
    window = best.fields["window"]
    return "".join(
        f" It loses to {forecast(name, window)} ({losses['test']:.4g})."
        for name, losses in baselines.get(window, {}).items()
        if losses["test"] < best.test.mean
    )
