"""Checks that accompany verdicts and never change them: sensitivity, chaos floor, ruler of rates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.harness import arms as ar
from experiments.harness.arms import Arm
from experiments.harness.outcome import METRICS, Results, difference, log_loss, parts_at
from lstm_sched import stats
from lstm_sched.stats import sensitivity

LARGEST = 200_000  # test windows; with more, the bootstrap over windows would take too long


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """Checks of one arm on one metric."""

    checks: sensitivity.Checks
    block_lo: float  # bootstrap over test windows at the level of the verdict, log ratio
    block_hi: float
    floor: float  # rms change relative to that of one weight moved by a unit in its last place
    equal_rate: float | None  # the factor on the rate that has the same effect on END as this arm
    why_not: str  # the reason if there is no such factor
    parts_at: int | None  # first epoch at which the validation loss is 0.1 % from one_fit's, rms over seeds


Checked = Mapping[tuple[str, str], Sensitivity]  # by arm and metric


def check(arms: Sequence[Arm], results: Results, period: int) -> Checked:
    """The checks of every arm but the reference; `period` is the block of the bootstrap, in test windows."""
    size = max(1, ar.family(arms))
    nudged = next((arm for arm in arms if arm.nudged), None)
    ulp = {metric: difference(results, nudged, metric) for metric in METRICS} if nudged else {}
    checked = {}
    for arm in arms:
        if arm.name == ar.REFERENCE:
            continue
        rows, paired = results.rows(arm.name), results.paired(arm.name)
        of_arm = 1 if arm.control else size
        for metric in METRICS:
            pair = log_loss(results, metric, rows), log_loss(results, metric, paired)
            floor = sensitivity.floor(difference(results, arm, metric), ulp[metric]) if ulp else np.nan
            windows = [results.windows[metric][at].mean(0) for at in (rows, paired)]
            lo, hi = _over_windows(windows[0], windows[1], period, 1 - stats.ALPHA / of_arm)
            factor, why_not = _equal_rate(arms, results, arm, metric)
            checked[arm.name, metric] = Sensitivity(
                checks=sensitivity.checks(*pair, of_arm),
                block_lo=lo,
                block_hi=hi,
                floor=floor,
                equal_rate=factor,
                why_not=why_not,
                parts_at=parts_at(results, arm),
            )
    return checked


def _over_windows(
    mean_W: np.ndarray, reference_W: np.ndarray, period: int, level: float
) -> tuple[float, float]:
    """The interval of the change over blocks of test windows; nan if there is none."""
    usable = np.isfinite(mean_W).all() and (mean_W > 0).all() and (reference_W > 0).all()
    if usable and period <= len(mean_W) <= LARGEST:
        return sensitivity.block_interval(mean_W, reference_W, period, level)
    return np.nan, np.nan


def _equal_rate(arms: Sequence[Arm], results: Results, arm: Arm, metric: str) -> tuple[float | None, str]:
    """The factor on the rate that has this arm's effect; or None and the reason."""
    ruler = [mark for mark in arms if mark.control and mark.rate_factor != 1.0]
    if len(ruler) < 2:
        return None, "no ruler of rates (--full)"
    if metric != stats.Metric.END:
        return None, "for END alone"
    effect = results.effects[arm.name][metric]
    logs = [0.0, *(np.log(mark.rate_factor) for mark in ruler)]
    marks = [0.0, *(results.effects[mark.name][metric].mean for mark in ruler)]
    return sensitivity.equal_rate(logs, marks, 0.0 if effect.verdict == "identical" else effect.mean)


def table(arms: Sequence[Arm], results: Results, checked: Checked, digest: str) -> list[dict[str, Any]]:
    """Rows of effects.csv, one per arm and metric: the effect, its verdict, and the checks."""
    rows = []
    for arm in arms:
        for metric, effect in results.effects[arm.name].items():
            if arm.name != ar.REFERENCE:
                made = checked[arm.name, metric]
                row = {"config": digest, "arm": arm.name, "metric": metric, "control": arm.control}
                row |= effect._asdict() | made.checks._asdict()
                rows.append(row | {name: value for name, value in vars(made).items() if name != "checks"})
    return rows
