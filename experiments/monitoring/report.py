"""What `monitoring` says: epochs run, what a rule costs or gains in loss, and which runs are one run.

Letters: N seeds, E epochs.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from experiments.harness import arms, evidence, page, report, wording
from experiments.harness import arms as ar
from experiments.harness import page as pa
from experiments.harness.outcome import METRICS, Results, void
from experiments.harness.plan import Plan
from experiments.monitoring import figure
from experiments.monitoring.config import RULES, split_name
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


def rows(arms: Sequence[ar.Arm], results: Results) -> list[dict[str, object]]:
    """A row for each arm and metric, as in rules.csv; log ratios against one fit without a rule."""
    made = []
    for arm in arms:
        if arm.name == ar.REFERENCE:
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
                    "must_be": arm.must_equal or "",
                    "differing": results.differing[arm.name] if arm.must_equal else "",
                }
            )
    return made


def _epochs(ran: np.ndarray) -> str:
    return f"{np.median(ran):g} ({ran.min()}–{ran.max()})" if ran.min() < ran.max() else f"{ran[0]}"


def measured(arms: Sequence[ar.Arm], results: Results) -> list[tuple[str, ...]]:
    """Rows of COLUMNS: arms that are no other run."""
    made = []
    for arm in arms:
        if arm.must_equal:
            continue
        rule, patience, memory = split_name(arm)
        effects = [results.effects[arm.name][metric] for metric in METRICS]
        lowest = f"{stats.percent(missed(results, arm.name).mean()):+.1f} %".replace("-", "−")
        epochs, said = _epochs(epochs_run(results, arm.name)), map(wording.change, effects)
        verdict = stats.combine(*effects)[1]
        made.append((rule, str(patience), memory, str(arm.seeds), epochs, lowest, *said, verdict))
    return made


def proved(arms: Sequence[ar.Arm], results: Results) -> list[tuple[str, ...]]:
    """Rows of SAME: rules and loops that must be another run, over all patiences."""
    groups: dict[tuple[str, str], list[ar.Arm]] = {}
    for arm in arms:
        if arm.must_equal and arm.name != ar.REFERENCE:
            rule, _, memory = split_name(arm)
            groups.setdefault((rule, memory), []).append(arm)
    made = []
    for (rule, memory), alike in groups.items():
        runs = sum(arm.seeds for arm in alike)
        patience = ", ".join(str(split_name(arm)[1]) for arm in alike)
        epochs = _epochs(np.concatenate([epochs_run(results, arm.name) for arm in alike]))
        twin = "one fit without a rule" if alike[0].must_equal == ar.REFERENCE else "one fit with the rule"
        differ = sum(results.differing_weights[arm.name] for arm in alike)
        made.append(
            (rule, memory, patience, str(runs), epochs, twin, f"{differ} of {results.weights * runs:,}")
        )
    return made


def answer(arms: Sequence[ar.Arm], results: Results) -> str:
    """The first paragraph."""
    broken = void(arms, results)
    if broken:
        return f"This run is void: {', '.join(broken)} should be another run bit for bit, and is not."
    epochs = results.curves["val"].shape[1]
    lost = [arm for arm in arms if arm.must_equal == ar.REFERENCE and arm.name != ar.REFERENCE]
    kept = [arm for arm in arms if arm.must_equal not in (None, ar.REFERENCE)]
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


def _in_one_fit(rule: str, arms: Sequence[ar.Arm], results: Results) -> str:
    """What a rule does without a loop, at each patience."""
    patience = ", ".join(str(split_name(arm)[1]) for arm in arms)
    ran = ", ".join(f"{np.median(epochs_run(results, arm.name)):g}" for arm in arms)
    changes = "; ".join(wording.change(results.effects[arm.name][METRICS[0]]) for arm in arms)
    epochs = f"runs a median of {ran} of {results.curves['val'].shape[1]} epochs and " * (rule == RULES[0])
    return f"In one fit, {rule} with patience {patience} {epochs}changes the test loss by {changes} against no rule. "


def say(out: Console, arms: Sequence[ar.Arm], results: Results) -> None:
    """The answer and the table."""
    out.print()
    out.print(answer(arms, results), style="bold")
    out.print(report.table(TITLE, COLUMNS, measured(arms, results)))
    out.print(report.table("Which run each loop is", SAME, proved(arms, results)))


def draw(folder: Path, arms: Sequence[ar.Arm], results: Results, command: str) -> None:
    """figure.svg and figure.png."""
    single = [(*split_name(arm)[:2], arm) for arm in arms if arm.name != ar.REFERENCE and not arm.every]
    lost = [arm for arm in arms if arm.must_equal == ar.REFERENCE and arm.name.startswith(RULES[0])]
    ran = {arm.name: epochs_run(results, arm.name) for _, _, arm in single}
    looped = {split_name(arm)[1]: epochs_run(results, arm.name) for arm in lost}
    figure.draw(folder, single, ran, looped, results, command)


# What report.html says of `monitoring`.


def sections(
    plan: Plan, results: Results, stored: Mapping[str, Any], environment: Mapping[str, Any]
) -> list[page.Section]:
    """The page of a finished run."""
    picture = page.figure_of(
        plan.folder,
        "Left: epochs run against patience, in one fit and in a loop. Right: change of test loss against patience.",
        "Left: epochs that each training ran before it stopped, a dot a seed, and their median; squares: the loop that "
        "hands the callback to every fit. Right: change of test loss against one fit without a rule, with the deciding "
        "interval; inside the grey band it is within the margin.",
    )
    terms = [
        ("stopping", "Keras’ EarlyStopping on the validation loss, restore_best_weights=True."),
        ("plateau", f"Keras’ ReduceLROnPlateau on the validation loss, factor {plan.config.factor:g}."),
        ("patience", "Epochs without improvement after which the rule acts."),
        ("one fit", "All epochs in one call of fit."),
        ("kept", "A loop of fits whose counters live on, as in a hand-written loop."),
        ("reset", "A loop of fits that is handed the callback each time: Keras resets it when a fit begins."),
        ("initial_epoch", "The same with the right epoch index."),
    ]
    shown = [arm for arm in plan.arms if not arm.must_equal or arm.name == arms.REFERENCE]
    fits = plan.config.epochs // plan.config.every
    return [
        page.Section(
            f"Does a loop of {fits} fits buy early stopping, or plateau decay?",
            page.paragraph("What each rule does in one fit, and what is left of it in a loop of fits.")
            + page.terms(terms),
        ),
        page.Section("The answer", page.paragraph(answer(plan.arms, results), lead=True)),
        page.Section("The picture", picture),
        page.Section(
            "What each rule does",
            page.table(COLUMNS, measured(plan.arms, results), TITLE),
        ),
        page.Section(
            "Which run each loop is",
            page.table(SAME, proved(plan.arms, results), "Weights after the last epoch"),
        ),
        page.Section("Forecasts that need no network", evidence.baselines(plan.config, results)),
        page.Section("Every training", evidence.every_training(shown, results)),
        page.Section("The data and its split", pa.data(plan.config, plan.source)),
        page.Section("Configuration and versions", pa.configuration(stored, environment)),
        page.Section("How to get this again", pa.again(plan.folder, stored, environment)),
        page.Section("Raw files", pa.raw_files(plan.folder)),
    ]
