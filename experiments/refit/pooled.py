"""Several series together: on these, and over series like these."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from experiments.harness import arms as ar
from experiments.harness import report, run_folder
from experiments.harness.outcome import METRICS, Results, difference
from lstm_sched import stats
from lstm_sched.stats import sensitivity
from lstm_sched.stats import sensitivity as se


def pool(
    names: Sequence[str], arms: Sequence[Sequence[ar.Arm]], results: Sequence[Results]
) -> list[dict[str, object]]:
    """A row for each treatment that can differ on every series, and metric: mean effects with two intervals.

    `these` is a stratified bootstrap over seeds: a statement on these series. `such` is the Hartung–Knapp interval
    of the mean over series like these, with one degree of freedom less than there are series.
    """
    able = [{arm.name: arm for arm in some if not (arm.control or arm.is_identity)} for some in arms]
    rows = []
    for name in able[0]:
        if not all(name in some for some in able):
            continue
        for metric in METRICS:
            d_DN = [difference(r, some[name], metric) for r, some in zip(results, able, strict=True)]
            row: dict[str, object] = {"arm": name, "metric": metric, "series": " ".join(names)}
            row |= {
                "mean": np.nan,
                "these_lo": np.nan,
                "these_hi": np.nan,
                "such_lo": np.nan,
                "such_hi": np.nan,
            }
            if all(np.isfinite(d_N).all() and len(d_N) > 1 and d_N.std() > 0 for d_N in d_DN):
                mean, lo, hi = se.stratified_mean(d_DN, 1 - stats.ALPHA)
                means = [d_N.mean() for d_N in d_DN]
                errors = [d_N.std(ddof=1) / np.sqrt(len(d_N)) for d_N in d_DN]
                _, such_lo, such_hi = sensitivity.pooled(means, errors)
                row |= {"mean": mean, "these_lo": lo, "these_hi": hi, "such_lo": such_lo, "such_hi": such_hi}
            rows.append(row)
    return rows


def say(out: Console, folder: Path, rows: Sequence[dict[str, object]]) -> None:
    """pooled.csv, and the same as a table."""
    if not rows:
        out.print("No arm differs from one_fit on every series: there is nothing to pool.")
        return
    run_folder.write_csv(folder / "pooled.csv", rows)
    columns = ("arm", "metric", "mean", "on these series", "over series like these")
    lines = []
    for row in rows:
        mean, *ends = (
            f"{stats.percent(float(str(row[k]))):+.1f}".replace("-", "−")
            for k in ("mean", "these_lo", "these_hi", "such_lo", "such_hi")
        )
        cells = (f"{mean} %", f"[{ends[0]}, {ends[1]}]", f"[{ends[2]}, {ends[3]}]")
        lines.append((str(row["arm"]), str(row["metric"]), *cells))
    out.print(report.table("% change of test loss over the series, 95 % intervals", columns, lines))
