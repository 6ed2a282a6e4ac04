"""What a run says to a person: the data, the plan and its time, then the answer in words and tables."""

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Column, Table

from experiments.harness import arms as ar
from experiments.harness import run_folder
from experiments.harness.outcome import METRICS, Results, log_loss
from experiments.harness.setting import Setting
from experiments.harness.source import Source
from experiments.harness.wording import answer, change, drops, forecast, verdict
from lstm_sched import stats
from lstm_sched.policy import fates
from lstm_sched.population.layout import Layout

NARROWEST = 120  # columns of a table that is not on a terminal


def console() -> Console:
    """The terminal; elsewhere plain lines of a width that does not depend on where they go."""
    here = Console(highlight=False)
    return here if here.is_terminal else Console(highlight=False, width=NARROWEST)


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


def duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


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


def say_data(out: Console, setting: Setting, source: Source) -> None:
    """What was understood of the data."""
    out.print(source.summary, markup=False)
    out.print(f"windows of {setting.window} rows, the target {setting.horizon} ahead:")
    for part in source.split.extents:
        out.print(
            f"  {part.name:5} {part.windows:6} windows in {part.rows} rows, {part.first} to {part.last}"
        )


def say_plan(
    out: Console,
    folder: Path,
    setting: Setting,
    arms: Sequence[ar.Arm],
    layout: Layout,
    compiled: float,
    epoch_seconds: float,
) -> None:
    """What will be trained, and how long it should take."""
    counts = ", ".join(f"{arm.seeds} of {arm.name}" for arm in arms)
    members = sum(arm.seeds for arm in arms)
    how = "one after another" + ", each batch divided" * layout.divided if layout.mapped else "batched"
    out.print(f"{members} trainings of {setting.epochs} epochs: {counts}")
    out.print(
        f"compiled in {duration(compiled)}; expected: {duration(epoch_seconds * setting.epochs)} of training "
        f"({layout.devices} device(s), members {how}). Ctrl-C stops it; nothing is lost. Results: {folder}"
    )


def say_answer(
    out: Console,
    setting: Setting,
    arms: Sequence[ar.Arm],
    aliases: dict[str, str],
    results: Results,
    heading: str = "",
) -> None:
    """The answer, the table of effects, the baselines, and what each arm drops."""
    out.print(f"\n{heading}".rstrip())
    out.print(answer(arms, results, setting.window), style="bold")
    out.print(effect_table(arms, results))
    for name, twin in aliases.items():
        out.print(f"{name} drops what {twin} drops, as far as this setting reads it: one arm with two names.")
    out.print(baseline_table(setting, results))
    out.print(fate_table(arms))


COLUMNS = ("arm", "drops", "n", *METRICS, "verdict")


def effect_rows(arms: Sequence[ar.Arm], results: Results) -> list[tuple[str, ...]]:
    """Rows of COLUMNS: an arm, what it drops, % change at both metrics, verdict in words."""
    return [
        (
            arm.name,
            drops(arm),
            str(arm.seeds),
            *(change(results.effects[arm.name][metric]) for metric in METRICS),
            verdict(arm, results),
        )
        for arm in arms
        if arm.name != ar.REFERENCE
    ]


def effect_title(arms: Sequence[ar.Arm], results: Results) -> str:
    """What the table shows, the scale beside it, and a warning where the control failed."""
    spread = {metric: log_loss(results, metric, results.rows(ar.REFERENCE)) for metric in METRICS}
    sds = ", ".join(f"{stats.percent(x.std(ddof=1)):.1f} % {m}" for m, x in spread.items() if len(x) > 1)
    doubled = next((arm for arm in arms if arm.control and arm.rate_factor == 2.0), None)
    insensitive = doubled is not None and results.effects[doubled.name][stats.Metric.END].verdict != "worse"
    title = "% change of test loss against one_fit" + f" (between seeds: sd {sds})" * bool(sds)
    return title + ("; INSENSITIVE: twice the rate is not worse" * insensitive)


def effect_table(arms: Sequence[ar.Arm], results: Results) -> Table:
    """The effects for a terminal."""
    columns = [Column(name, justify="right" if name == "n" else "left", overflow="fold") for name in COLUMNS]
    return table(effect_title(arms, results), columns, effect_rows(arms, results))


def in_markdown(setting: Setting, arms: Sequence[ar.Arm], results: Results, heading: str = "") -> str:
    """The answer and the effects, for a page."""
    above = f"**{heading}.** " * bool(heading)
    said = f"{above}{answer(arms, results, setting.window)}\n\n{effect_title(arms, results)}:\n\n"
    return said + markdown(COLUMNS, effect_rows(arms, results))


def baseline_table(setting: Setting, results: Results) -> Table:
    """Losses of forecasts that need no network, and of one fit."""
    parts = ("train", "val", "test")
    rows = [
        (forecast(name, setting.window), *(f"{losses[part]:.4f}" for part in parts))
        for name, losses in results.baselines.items()
    ]
    one_fit = results.rows(ar.REFERENCE)
    rows += [
        (f"one_fit {metric}", "", "", f"{np.mean(results.loss[metric][one_fit]):.4f}") for metric in METRICS
    ]
    return table(f"{setting.loss} of the standardised target", ("forecast", *parts), rows)


def fate_table(arms: Sequence[ar.Arm]) -> Table:
    """What each arm drops, in words: there may be more arms than fit side by side."""

    def dropped(arm: ar.Arm) -> str:
        lost = {name: fraction for name, fraction in fates(arm.policy).items() if fraction != 1}
        return ", ".join(f"{name} (keeps {f:g})" if f else name for name, f in lost.items()) or "nothing"

    rows = [(arm.name, dropped(arm)) for arm in arms if not arm.control]
    return table("what survives a boundary: all but", ("arm", "dropped"), rows)
