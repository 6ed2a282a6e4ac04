"""Effects pooled over several series: for these series, and for series like these."""

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.harness.document import EVERYWHERE, Block, Document, Section, Table
from experiments.harness.outcome import METRICS, Results, difference
from experiments.harness.plan import Plan
from lstm_sched import stats
from lstm_sched.stats import pooling

Row = Mapping[str, object]


def pool(plans: Sequence[Plan], results: Sequence[Results]) -> list[Row]:
    """Two intervals in one row per metric and arm that can differ on every series and is no control.

    `these` is a stratified bootstrap over seeds: a statement on these series. `such` is the Hartung–Knapp
    interval of the mean over series like these; its degrees of freedom are the number of series less one.
    """
    able = [{arm.name: arm for arm in plan.arms if not (arm.control or arm.is_identity)} for plan in plans]
    names = " ".join(plan.source.name for plan in plans)
    rows = []
    for name in able[0]:
        if not all(name in arms for arms in able):
            continue
        for metric in METRICS:
            d_DN = [difference(of, arms[name], metric) for of, arms in zip(results, able, strict=True)]
            row: dict[str, object] = {"arm": name, "metric": metric, "series": names}
            row |= dict.fromkeys(("mean", "these_lo", "these_hi", "such_lo", "such_hi"), np.nan)
            if all(np.isfinite(d_N).all() and len(d_N) > 1 and d_N.std() > 0 for d_N in d_DN):
                mean, lo, hi = pooling.stratified_mean(d_DN, 1 - stats.ALPHA)
                means = [d_N.mean() for d_N in d_DN]
                errors = [d_N.std(ddof=1) / np.sqrt(len(d_N)) for d_N in d_DN]
                _, such_lo, such_hi = pooling.pooled(means, errors)
                row |= {"mean": mean, "these_lo": lo, "these_hi": hi, "such_lo": such_lo, "such_hi": such_hi}
            rows.append(row)
    return rows


def document(names: Sequence[str], pools: Mapping[str, Sequence[Row]]) -> Document:
    """The report on all series; `pools` maps file names, which tell the comparison, to rows."""
    blocks: list[Block] = []
    for file, rows in pools.items():
        which = ", each arm at its own best rate" * file.startswith("best_rate")
        blocks.append(
            _table(rows, which) if rows else "No arm differs from one_fit on every series: nothing to pool."
        )
    title = f"What do the series {', '.join(names)} say together?"
    section = Section(title=title, blocks=blocks, places=EVERYWHERE)
    return Document(
        sections=[section],
        tables={file: rows for file, rows in pools.items() if rows},
        files={"pooled.csv": "mean effects over the series"} | dict.fromkeys(names, "the run on this series"),
    )


def _table(rows: Sequence[Row], which: str) -> Table:
    cells = []
    for row in rows:
        mean, *ends = (
            f"{stats.percent(float(str(row[k]))):+.1f}".replace("-", "−")
            for k in ("mean", "these_lo", "these_hi", "such_lo", "such_hi")
        )
        intervals = (f"[{ends[0]}, {ends[1]}]", f"[{ends[2]}, {ends[3]}]")
        cells.append((row["arm"], row["metric"], f"{mean} %", *intervals))
    return Table(
        title=f"Mean change of test loss over the series, in %, with 95 % intervals{which}",
        columns=("arm", "metric", "mean", "on these series", "over series like these"),
        rows=cells,
    )
