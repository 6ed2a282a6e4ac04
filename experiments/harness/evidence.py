"""What a page shows of any experiment that compares arms with one fit: effects, controls, checks, baselines, curves."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.harness import arms as ar
from experiments.harness import figures, page, report, wording
from experiments.harness.outcome import METRICS, Results
from experiments.harness.setting import Setting
from experiments.refit.sensitivity import Beside
from lstm_sched import stats
from lstm_sched.policy import fates, mark

SOUGHT = 2.0  # the factor on the rate that must be worse after the last epoch
BESIDE = (
    "arm",
    "metric",
    "over test windows, %",
    "BCa, %",
    "Wilcoxon p",
    "P(arm < one_fit)",
    "rms / rms of ulp",
    "same effect as the rate ×",
    "disagrees",
)


def effects(arms: Sequence[ar.Arm], results: Results, aliases: Mapping[str, str]) -> str:
    """Arms that answer the question."""
    rows = report.effect_rows([arm for arm in arms if not arm.control], results)
    title = f"{report.effect_title(arms, results)}. In brackets the interval; n: seeds."
    twin_notes = (
        f"{name} drops what {twin} drops, as far as this setting reads it: one arm with two names."
        for name, twin in aliases.items()
    )
    return page.table(report.COLUMNS, rows, title) + "".join(page.paragraph(note) for note in twin_notes)


def controlled(controls: Sequence[ar.Arm], results: Results) -> str:
    """Arms whose result is known, and what they license."""
    licensed = page.paragraph(
        "Intervals are over seeds: they concern this series, split and test period, and no other."
    )
    if not controls:
        return page.paragraph("This run has no controls: nothing says what it could have seen.") + licensed
    title = "% change of test loss against one_fit; each control at 95 %. In brackets the interval; n: seeds."
    table = page.table(report.COLUMNS, report.effect_rows(controls, results), title)
    return table + "".join(page.paragraph(_control(arm, results)) for arm in controls) + licensed


def _control(arm: ar.Arm, results: Results) -> str:
    if arm.nudged:
        return (
            f"{arm.name}: one weight was moved by the smallest step that its number format can take. What this "
            "changes in single runs is the chaos floor; it says nothing about means."
        )
    if arm.rate_factor == SOUGHT:
        if results.effects[arm.name][stats.Metric.END].verdict == "worse":
            return f"{arm.name}: worse after the last epoch, as expected: this run can see a change of that kind."
        return f"{arm.name}: not found worse after the last epoch, as expected of it: this run may be insensitive."
    if arm.rate_factor != 1:
        return f"{arm.name}: a mark on the ruler by which effects are stated as changes of the rate."
    same = results.differing[arm.name] == 0
    return f"{arm.name}: one_fit again, under another name and in another place. " + (
        "It gave the same bits, as it must." if same else "It did not give the same bits: this run is void."
    )


def checked(treatments: Sequence[ar.Arm], found: Mapping[tuple[str, str], Beside]) -> str:
    """Other looks at the same pairs."""
    rows = []
    for arm in treatments:
        for metric in METRICS:
            if arm.is_identity or (arm.name, metric) not in found:
                continue
            b = found[arm.name, metric]
            c, rate = b.checks, _number(b.equal_rate) if b.equal_rate else b.why_not
            rate = rate if metric == stats.Metric.END else "–"  # the ruler measures the last epoch alone
            numbers = (_number(x) for x in (c.wilcoxon, c.superiority, b.floor))
            block, bca = _range(b.block_lo, b.block_hi), _range(c.bca_lo, c.bca_hi)
            rows.append((arm.name, metric, block, bca, *numbers, rate, c.disagrees or "–"))
    if not rows:
        return page.paragraph("No arm can differ from one_fit, so there is nothing to check.")
    return page.paragraph(
        "None of these changes a verdict. The first interval is over blocks of test windows instead of seeds."
    ) + page.table(
        BESIDE, rows, "Sensitivity checks at the level of the verdicts; –: cannot be made, or none."
    )


def _number(x: float) -> str:
    return f"{x:.3g}" if math.isfinite(x) else "–"


def _range(lo: float, hi: float) -> str:
    ends = ", ".join(f"{stats.percent(x):+.1f}" for x in (lo, hi)).replace("-", "−")
    return f"[{ends}]" if math.isfinite(lo) else "–"


def baselines(setting: Setting, results: Results) -> str:
    """Losses without a network, and which part is the hardest."""
    parts = ("train", "val", "test")
    rows = [
        (wording.forecast(name, setting.window), *(f"{losses[part]:.4f}" for part in parts))
        for name, losses in results.baselines.items()
    ]
    reference = results.rows(ar.REFERENCE)
    rows += [(f"one_fit {m}", "", "", f"{np.mean(results.loss[m][reference]):.4f}") for m in METRICS]
    losing = wording.loses(results, setting.window).strip()
    text = losing or "One fit is better than each of these forecasts on the test part."
    simple = results.baselines.get("persistence")
    if simple and simple["train"]:
        ratios = " and ".join(f"{simple[part] / simple['train']:.2f} on {part}" for part in parts[1:])
        text += (
            " How hard is each part? The loss of persistence, which repeats the last value, relative to that on "
            f"train: {ratios} (above 1: harder than training)."
        )
    title = f"{setting.loss} of the target (standardised by the training part); one_fit: mean over seeds."
    return page.table(("forecast", *parts), rows, title) + page.paragraph(text)


def every_training(arms: Sequence[ar.Arm], results: Results) -> str:
    """Small multiples of validation loss."""
    return page.figure(
        figures.seeds(arms, results),
        "Validation loss against epoch, a panel for each arm and a line for each seed.",
        "Validation loss of each training: a panel an arm, a thin line a seed; the thick grey line is the mean of "
        f"one_fit. Where a line ends its loss is not finite; the picture ends at {figures.SPAN} times the lowest loss.",
    )


def survives(treatments: Sequence[ar.Arm]) -> str:
    """Component × arm."""
    columns = [fates(arm.policy) for arm in treatments]
    rows = [(name, *(mark(column[name]) for column in columns)) for name in columns[0]]
    title = (
        "✓ kept at a boundary, ✗ dropped; a number: the fraction kept. A run need not use every component."
    )
    return page.table(("component", *(arm.name for arm in treatments)), rows, title)
