"""What stands beside the verdicts and never changes them: sensitivity checks, the chaos floor, the ruler of rates."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.harness import arms as ar
from experiments.harness import run_folder
from experiments.harness.outcome import METRICS, Results, difference, family, log_loss, parts_at
from lstm_sched import stats
from lstm_sched.stats import sensitivity
from lstm_sched.stats import sensitivity as se

LARGEST = 200_000  # test windows: beyond it the bootstrap over windows would take longer than it is worth


class Beside(NamedTuple):
    """Of one arm on one metric."""

    checks: sensitivity.Checks
    block_lo: float  # bootstrap over test windows at the level of the verdict, log ratio
    block_hi: float
    floor: float  # rms change over that of one weight moved by a unit in its last place
    equal_rate: float | None  # factor on the rate whose END effect is this arm's
    why_not: str  # where there is no such factor
    parts_at: int | None  # first epoch at which the validation loss is 0.1 % from one_fit's, rms over seeds


def beside(arms: Sequence[ar.Arm], results: Results, period: int) -> dict[tuple[str, str], Beside]:
    """{(arm, metric): Beside} for every arm but the reference."""
    m, found = max(1, family(arms)), {}
    ulp = {metric: difference(results, arm, metric) for arm in arms if arm.nudged for metric in METRICS}
    ruler = [arm for arm in arms if arm.control and arm.rate_factor != 1.0]
    for arm in arms:
        if arm.name == ar.REFERENCE:
            continue
        rows, paired = results.rows(arm.name), results.paired(arm.name)
        size = 1 if arm.control else m
        for metric in METRICS:
            pair = log_loss(results, metric, rows), log_loss(results, metric, paired)
            mean_W, mean_ref_W = (results.windows[metric][at].mean(0) for at in (rows, paired))
            lo = hi = np.nan
            usable = np.isfinite(mean_W).all() and (mean_W > 0).all() and (mean_ref_W > 0).all()
            if usable and period <= len(mean_W) <= LARGEST:
                lo, hi = se.block_interval(mean_W, mean_ref_W, period, 1 - stats.ALPHA / size)
            d_N = difference(results, arm, metric)
            floor = sensitivity.floor(d_N, ulp[metric]) if ulp else np.nan
            factor, why = None, "no ruler of rates (--full)" if len(ruler) < 2 else "for END alone"
            if metric == stats.Metric.END and len(ruler) > 1:
                effect = results.effects[arm.name][metric]
                logs = [0.0, *(np.log(mark.rate_factor) for mark in ruler)]
                marks = [0.0, *(results.effects[mark.name][metric].mean for mark in ruler)]
                mean = 0.0 if effect.verdict == "identical" else effect.mean
                factor, why = sensitivity.equal_rate(logs, marks, mean)
            checks = sensitivity.checks(*pair, size)
            found[arm.name, metric] = Beside(checks, lo, hi, floor, factor, why, parts_at(results, arm))
    return found


def write(
    folder: Path,
    arms: Sequence[ar.Arm],
    results: Results,
    found: dict[tuple[str, str], Beside],
    config_hash: str,
) -> None:
    """effects.csv, a row an arm and metric: the effect, its verdict, and what stands beside it."""
    rows = []
    for arm in arms:
        for metric, effect in results.effects[arm.name].items():
            if arm.name != ar.REFERENCE:
                b = found[arm.name, metric]
                row = {"config": config_hash, "arm": arm.name, "metric": metric, "control": arm.control}
                row |= effect._asdict() | b.checks._asdict() | b._asdict()
                del row["checks"]
                rows.append(row)
    run_folder.write_csv(folder / "effects.csv", rows)
