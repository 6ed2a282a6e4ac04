"""What `monitoring` says: epochs run, what a rule costs or gains in loss, and which runs are one run.

Letters: N seeds, E epochs.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from experiments import arms as A
from experiments import monitoring_figure, report, words
from experiments.monitoring_plan import RULES, split_name
from experiments.outcome import METRICS, Results, void
from lstm_sched import stats

COLUMNS = ("rule", "patience", "counters", "n", "epochs run", "lowest validation loss", *METRICS, "verdict")
TITLE = (
    "Epochs run: median (range) over seeds. Lowest validation loss: mean change against that of a whole run without a "
    "rule. Then % change of test loss against one fit without a rule."
)
SAME = (
    "rule",
    "counters of the loop",
    "patience",
    "runs",
    "epochs run",
    "must be, bit for bit",
    "weights that differ",
)


def epochs_run(results: Results, arm: str) -> np.ndarray:
    """Epochs that each seed trained."""
    return results.curves["trained"][results.rows(arm)].sum(1).astype(int)


def missed(results: Results, arm: str) -> np.ndarray:
    """Log of the lowest validation loss over that of one fit without a rule, by seed."""
    lowest, whole = (np.log(results.curves["val"][at(arm)].min(1)) for at in (results.rows, results.paired))
    return lowest - whole


def rows(arms: Sequence[A.Arm], results: Results) -> list[dict[str, object]]:
    """A row for each arm and metric, as in rules.csv; log ratios against one fit without a rule."""
    made = []
    for arm in arms:
        if arm.name == A.REFERENCE:
            continue
        rule, patience, memory = split_name(arm)
        ran = epochs_run(results, arm.name)
        for metric in METRICS:
            effect = results.effects[arm.name][metric]
            made.append(
                {
                    "rule": rule,
                    "patience": patience,
                    "memory": memory,
                    "n": arm.seeds,
                    "epochs_median": np.median(ran),
                    "epochs_min": ran.min(),
                    "epochs_max": ran.max(),
                    "validation": missed(results, arm.name).mean(),
                    "metric": metric,
                    "mean": effect.mean,
                    "lo": effect.lo,
                    "hi": effect.hi,
                    "verdict": effect.verdict,
                    "must_be": arm.equals or "",
                    "differing": results.differing[arm.name] if arm.equals else "",
                }
            )
    return made


def _epochs(ran: np.ndarray) -> str:
    return f"{np.median(ran):g} ({ran.min()}–{ran.max()})" if ran.min() < ran.max() else f"{ran[0]}"


def measured(arms: Sequence[A.Arm], results: Results) -> list[tuple[str, ...]]:
    """Rows of COLUMNS: arms that are no other run."""
    made = []
    for arm in arms:
        if arm.equals:
            continue
        rule, patience, memory = split_name(arm)
        effects = [results.effects[arm.name][metric] for metric in METRICS]
        lowest = f"{stats.percent(missed(results, arm.name).mean()):+.1f} %".replace("-", "−")
        epochs, said = _epochs(epochs_run(results, arm.name)), map(words.change, effects)
        verdict = stats.combine(*effects)[1]
        made.append((rule, str(patience), memory, str(arm.seeds), epochs, lowest, *said, verdict))
    return made


def proved(arms: Sequence[A.Arm], results: Results) -> list[tuple[str, ...]]:
    """Rows of SAME: rules and loops that must be another run, over all patiences."""
    groups: dict[tuple[str, str], list[A.Arm]] = {}
    for arm in arms:
        if arm.equals and arm.name != A.REFERENCE:
            rule, _, memory = split_name(arm)
            groups.setdefault((rule, memory), []).append(arm)
    made = []
    for (rule, memory), alike in groups.items():
        runs = sum(arm.seeds for arm in alike)
        patience = ", ".join(str(split_name(arm)[1]) for arm in alike)
        epochs = _epochs(np.concatenate([epochs_run(results, arm.name) for arm in alike]))
        twin = "one fit without a rule" if alike[0].equals == A.REFERENCE else "one fit with the rule"
        differ = sum(results.differing_weights[arm.name] for arm in alike)
        made.append(
            (rule, memory, patience, str(runs), epochs, twin, f"{differ} of {results.weights * runs:,}")
        )
    return made


def answer(arms: Sequence[A.Arm], results: Results) -> str:
    """The first paragraph."""
    broken = void(arms, results)
    if broken:
        return f"This run is void: {', '.join(broken)} should be another run bit for bit, and is not."
    epochs = results.curves["val"].shape[1]
    lost = [arm for arm in arms if arm.equals == A.REFERENCE and arm.name != A.REFERENCE]
    kept = [arm for arm in arms if arm.equals not in (None, A.REFERENCE)]
    text = ""
    if lost:
        runs = sum(arm.seeds for arm in lost)
        text += (
            f"Handed to every fit of a loop, a rule never acts: its counters start anew. All {runs} such loops ran "
            f"{epochs} epochs, and 0 of {results.weights * runs:,} weights differ by a bit from one fit without a "
            "rule, with initial_epoch or without. "
        )
    if kept:
        runs = sum(arm.seeds for arm in kept)
        total = results.weights * runs
        text += f"With its counters kept, the loop is the one fit: 0 of {total:,} weights differ by a bit. "
    for rule in RULES:
        text += _in_one_fit(rule, [a for a in arms if a.name.startswith(rule) and not a.every], results)
    return text.strip()


def _in_one_fit(rule: str, arms: Sequence[A.Arm], results: Results) -> str:
    """What a rule does without a loop, at each patience."""
    patience = ", ".join(str(split_name(arm)[1]) for arm in arms)
    ran = ", ".join(f"{np.median(epochs_run(results, arm.name)):g}" for arm in arms)
    changes = "; ".join(words.change(results.effects[arm.name][METRICS[0]]) for arm in arms)
    epochs = f"runs a median of {ran} of {results.curves['val'].shape[1]} epochs and " * (rule == RULES[0])
    return f"In one fit, {rule} with patience {patience} {epochs}changes the test loss by {changes} against no rule. "


def say(out: Console, arms: Sequence[A.Arm], results: Results) -> None:
    """The answer and the table."""
    out.print()
    out.print(answer(arms, results), style="bold")
    out.print(report.table(TITLE, COLUMNS, measured(arms, results)))
    out.print(report.table("Which run each loop is", SAME, proved(arms, results)))


def draw(folder: Path, arms: Sequence[A.Arm], results: Results, command: str) -> None:
    """figure.svg and figure.png."""
    single = [(*split_name(arm)[:2], arm) for arm in arms if arm.name != A.REFERENCE and not arm.every]
    lost = [arm for arm in arms if arm.equals == A.REFERENCE and arm.name.startswith(RULES[0])]
    ran = {arm.name: epochs_run(results, arm.name) for _, _, arm in single}
    looped = {split_name(arm)[1]: epochs_run(results, arm.name) for arm in lost}
    monitoring_figure.draw(folder, single, ran, looped, results, command)
