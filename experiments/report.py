"""What a run says to a person: the data, the plan and its time, then the answer in words and tables."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from experiments import arms as A
from experiments.outcome import METRICS, Results, log_loss, void
from experiments.setting import Built, Setting
from lstm_sched import stats
from lstm_sched.policies import fates, mark
from lstm_sched.population import Layout

NARROWEST = 120  # columns of a table that is not on a terminal


def console() -> Console:
    """The terminal; elsewhere plain lines of a width that does not depend on where they go."""
    here = Console(highlight=False)
    return here if here.is_terminal else Console(highlight=False, width=NARROWEST)


def duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def say_data(out: Console, setting: Setting, built: Built) -> None:
    """What was understood of the data."""
    out.print(f"{setting.data}: windows of {setting.window} rows, {setting.horizon} ahead")
    for part in built.split.extents:
        out.print(
            f"  {part.name:5} {part.windows:6} windows in {part.rows} rows, {part.first} to {part.last}"
        )


def say_plan(
    out: Console,
    folder: Path,
    setting: Setting,
    arms: Sequence[A.Arm],
    layout: Layout,
    compiled: float,
    epoch_seconds: float,
) -> None:
    """What will be trained, and how long it should take."""
    counts = ", ".join(f"{arm.seeds} of {arm.name}" for arm in arms)
    members = sum(arm.seeds for arm in arms)
    how = "one after another" if layout.mapped else "batched"
    out.print(f"{members} trainings of {setting.epochs} epochs: {counts}")
    out.print(
        f"compiled in {duration(compiled)}; expected: {duration(epoch_seconds * setting.epochs)} of training "
        f"({layout.devices} device(s), members {how}). Ctrl-C stops it; nothing is lost. Results: {folder}"
    )


def change(effect: stats.Effect) -> str:
    """% change of test loss with its deciding interval."""
    if effect.verdict == "identical":
        return "= bits"
    if np.isnan(effect.mean):
        return "–"
    mean, lo, hi = (stats.percent(x) for x in (effect.mean, effect.lo, effect.hi))
    return f"{mean:+.1f} % [{lo:+.1f}, {hi:+.1f}]".replace("-", "−")


def verdict(arm: A.Arm, results: Results) -> str:
    """The sentence of an arm."""
    effects = results.effects[arm.name]
    if arm.nudged:
        floor = (np.sqrt(np.mean(_d(results, arm, metric) ** 2)) for metric in METRICS)
        end, selected = (stats.percent(x) for x in floor)
        return f"chaos floor: rms change {end:.1f} % {stats.END}, {selected:.1f} % {stats.SELECTED}"
    words = stats.combine(*(effects[metric] for metric in METRICS))[1]
    if arm.proved and results.differing[arm.name] == 0:
        total = results.weights * arm.seeds
        return f"{words}: 0 of {total:,} weights differ by a bit ({arm.seeds} seeds)"
    return words


def _d(results: Results, arm: A.Arm, metric: str) -> np.ndarray:
    return log_loss(results, metric, results.rows(arm.name)) - log_loss(
        results, metric, results.paired(arm.name)
    )


def drops(arm: A.Arm) -> str:
    """What a boundary of this arm drops, in words."""
    if arm.nudged:
        return "nothing; one weight moved by 1 ulp"
    if arm.rate != 1:
        return f"nothing; rate × {arm.rate:g}"
    if not arm.lost:
        return "nothing that the run reads"
    return f"{', '.join(arm.lost)}, every {arm.every} epoch{'s' * (arm.every > 1)}"


def answer(arms: Sequence[A.Arm], results: Results) -> str:
    """The first paragraph."""
    broken = void(arms, results)
    if broken:
        return f"This run is void: {', '.join(broken)} should be one_fit bit for bit, and is not."
    proved = [arm for arm in arms if arm.proved and not arm.control and arm.name != A.REFERENCE]
    same = ""
    if proved:
        total = results.weights * sum(arm.seeds for arm in proved)
        names = " and ".join(arm.name for arm in proved)
        same = f"Same run: 0 of {total:,} weights differ by a bit between one_fit and {names}. "
    changed = [arm for arm in arms if not (arm.proved or arm.control)]
    parts = [f"{arm.name} ({drops(arm)}) is {verdict(arm, results)}" for arm in changed]
    text = same + ("What changes results is what else happens between the fits: " if same and parts else "")
    text += "; ".join(parts) + ("." if parts else "")
    return text + loses(results)


def loses(results: Results) -> str:
    """Whether the network is worse than a forecast that needs none."""
    rows, text = results.rows(A.REFERENCE), ""
    for metric in METRICS:
        network = float(np.mean(results.loss[metric][rows]))
        for name, losses in results.baselines.items():
            if not network < losses["test"]:
                text += f" One fit ({network:.3f} {metric}) loses to {name} ({losses['test']:.3f})."
    return text


def say_answer(
    out: Console, setting: Setting, arms: Sequence[A.Arm], twins: dict[str, str], results: Results
) -> None:
    """The answer, the table of effects, the baselines, and what each arm drops."""
    out.print()
    out.print(answer(arms, results), style="bold")
    out.print(effect_table(arms, results))
    for name, twin in twins.items():
        out.print(f"{name} drops what {twin} drops, as far as this setting reads it: one arm with two names.")
    out.print(baseline_table(setting, results))
    out.print(fate_table(arms))


def effect_table(arms: Sequence[A.Arm], results: Results) -> Table:
    """Arm, what it drops, % change at both metrics, verdict."""
    spread = {metric: log_loss(results, metric, results.rows(A.REFERENCE)) for metric in METRICS}
    sds = ", ".join(f"{stats.percent(x.std(ddof=1)):.1f} % {m}" for m, x in spread.items() if len(x) > 1)
    doubled = next((arm for arm in arms if arm.rate == 2.0), None)
    insensitive = doubled is not None and results.effects[doubled.name][stats.END].verdict != "worse"
    title = "% change of test loss against one_fit" + f" (between seeds: sd {sds})" * bool(sds)
    table = Table(title=title + ("; INSENSITIVE: twice the rate is not worse" * insensitive), box=box.SIMPLE)
    for column in ("arm", "drops", "n", stats.END, stats.SELECTED, "verdict"):
        table.add_column(column, justify="right" if column == "n" else "left", overflow="fold")
    for arm in arms:
        if arm.name != A.REFERENCE:
            end, selected = (change(results.effects[arm.name][metric]) for metric in METRICS)
            table.add_row(arm.name, drops(arm), str(arm.seeds), end, selected, verdict(arm, results))
    return table


def baseline_table(setting: Setting, results: Results) -> Table:
    """Losses of forecasts that need no network, and of one fit."""
    table = Table(title=f"{setting.loss} of the standardised target", box=box.SIMPLE)
    for column in ("forecast", "train", "val", "test"):
        table.add_column(column)
    for name, losses in results.baselines.items():
        label = f"AR({setting.window})" if name == "AR" else name
        table.add_row(label, *(f"{losses[part]:.4f}" for part in ("train", "val", "test")))
    rows = results.rows(A.REFERENCE)
    for metric in METRICS:
        table.add_row(f"one_fit {metric}", "", "", f"{np.mean(results.loss[metric][rows]):.4f}")
    return table


def fate_table(arms: Sequence[A.Arm]) -> Table:
    """Component × arm: ✓ kept at a boundary, ✗ dropped."""
    table = Table(title="what survives a boundary", box=box.SIMPLE)
    shown = [arm for arm in arms if not arm.control]
    table.add_column("component")
    for arm in shown:
        table.add_column(arm.name, justify="center")
    columns = [fates(arm.policy) for arm in shown]
    for component in columns[0]:
        table.add_row(component, *(mark(column[component]) for column in columns))
    return table
