"""What is said where arms are compared twice: at one rate, and each at its own best one."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments.harness import arms as ar
from experiments.harness import evidence, page, report
from experiments.harness.outcome import METRICS, Results
from experiments.harness.page import Section
from experiments.harness.plan import Plan
from experiments.harness.wording import verdict
from experiments.refit.tuning import Tuned


def same(plan: Plan) -> str:
    """Heading of the first comparison."""
    return f"Same rate, {plan.config.lr:g}, in every arm"


def best(rates: Mapping[str, float]) -> str:
    """Heading of the second."""
    own = ", ".join(f"{arm} {rate:g}" for arm, rate in rates.items())
    return f"Each arm at its own best rate: {own}; all others follow {ar.REFERENCE}"


def changed(arms: Sequence[ar.Arm], one: Results, other: Results, tuned: Tuned, lr: float) -> str:
    """What is otherwise at the best rates, `other`, than at the same one, `one`."""
    means = [
        [f"{np.mean(results.loss[metric][results.rows(ar.REFERENCE)]):.4f}" for metric in METRICS]
        for results in (one, other)
    ]
    losses = ", ".join(f"{a} to {b} {metric}" for a, b, metric in zip(*means, METRICS, strict=True))
    rates = f"rate {lr:g} to {tuned.rates[ar.REFERENCE]:g}"
    text = f"From the same rate to best rates, test loss of {ar.REFERENCE} ({rates}): {losses}."
    able = [arm for arm in arms if not (arm.control or arm.is_identity)]
    if not able:
        return f"{text} No arm can differ from it."
    moved = sum(
        one.effects[arm.name][metric].verdict != other.effects[arm.name][metric].verdict
        for arm in able
        for metric in METRICS
    )
    text += f" Of {len(able) * len(METRICS)} verdicts {moved} change. "
    return text + " ".join(
        f"{arm.name}, at the same rate: {verdict(arm, one)}; at best rates ({tuned.rates[arm.name]:g}): "
        f"{verdict(arm, other)}."
        for arm in able
    )


def sections(first: Plan, second: Plan, results: Results, tuned: Tuned, said: str) -> list[Section]:
    """What the page of the whole adds: the second comparison, and how its rates were chosen."""
    told = first.tuning or {}
    parts = [
        page.paragraph(
            f"The rule: {told['rule']}. Seeds {told['seeds'][0]} to {told['seeds'][-1]}, none of them reported."
        )
    ]
    parts += [page.paragraph(f"{note}.") for note in tuned.notes]
    if (first.folder / "tuning").exists():
        parts.append(_tried(first.folder / "tuning" / "rates.csv"))
    else:
        rows = [
            (arm, f"{rate:g}", ", ".join(f"{x:g}" for x in told["tried"][arm]))
            for arm, rate in tuned.rates.items()
        ]
        parts.append(page.table(("arm", "best rate", "tried"), rows, f"From the sweep {told['sweep']}"))
    effects = evidence.effects(second.arms, results, second.aliases)
    heading = page.paragraph(
        f"{second.heading}. What a boundary drops changes how far the next steps go, and so does the learning rate: "
        "a difference that is there at the same rate and gone at best rates was one of step size. The folder "
        "best_rate has a page of its own."
    )
    return [
        Section("Effects at each arm’s own best rate", heading + page.paragraph(said, lead=True) + effects),
        Section("How the rates were chosen", "".join(parts)),
    ]


def _tried(file: Path) -> str:
    with file.open(newline="", encoding="utf-8") as lines:
        head, *rows = csv.reader(lines)
    return page.table(head, rows, "Every rate that was tried")


def write_markdown(first: Plan, second: Plan, one: Results, other: Results, tuned: Tuned, said: str) -> None:
    """table.md of the whole: both comparisons, and between them what is otherwise."""
    texts = [
        report.in_markdown(plan.config, plan.arms, results, plan.heading)
        for plan, results in ((first, one), (second, other))
    ]
    notes = "".join(f"\n{note}.\n" for note in tuned.notes)
    (first.folder / "table.md").write_text(f"{texts[0]}\n{said}\n{notes}\n{texts[1]}", encoding="utf-8")
