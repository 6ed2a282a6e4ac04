"""The report of `overhead`: the cost of a call in µs and relative to an epoch, and the length of an epoch
from which on it does not matter. Letters: R repetitions.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from experiments.harness.document import Document, Figure, Table
from experiments.harness.peers import comparison, timing
from experiments.harness.peers.jobs import Measured, Row
from experiments.harness.peers.process import OURS
from experiments.overhead.jobs import AGAIN, WHOLE, Cost, events

MATTERS = 0.01  # of an epoch
SAME = 1e-3  # relative difference of losses allowed for rounding and each package's form of Adam
SETTING = 64  # steps in an epoch of the question's setting
COLUMNS = ("package", "arm", "steps", "epoch, ms", "a call, µs", "share of an epoch, %", "below 1 % from")


def document(measured: Measured) -> Document:
    """A document with the answer, remarks, the figure, the table, every repetition and every cost."""
    costs = costs_of(measured.rows)
    remarks = comparison.remarks(measured, comparison.disagreeing(measured.rows, task, SAME), SAME)
    title = "What a call, or a boundary, adds: the median, and the quartiles around it"
    table = Table(title=title, columns=COLUMNS, rows=cells(costs))
    question = "What does a call of fit cost, relative to the epoch that it trains?"
    return Document(
        sections=comparison.sections(question, answer(costs), remarks, table, figure(costs)),
        tables={
            "results.csv": [flat(row) for row in measured.rows if row.repetition],
            "costs.csv": [flat_cost(cost) for cost in costs],
        },
        files={
            "results.csv": "one row per repetition of an arm",
            "costs.csv": "what an arm adds: medians and quartiles, in seconds and as a share of an epoch",
        },
    )


def flat(row: Row) -> dict[str, Any]:
    """A row of results.csv."""
    job = row.job
    return {
        "package": job.package,
        "arm": job.arm,
        "steps": job.value,
        "repetition": row.repetition - 1,
        "seconds": row.seconds,
        "events": events(job),
        "epochs": job.epochs,
        "loss": row.losses[0],
    }


def flat_cost(cost: Cost) -> dict[str, Any]:
    """A row of costs.csv."""
    spreads = {name: asdict(getattr(cost, name)) for name in ("epoch", "call", "share")}
    numbers = {f"{name}_{at}": x for name, spread in spreads.items() for at, x in spread.items()}
    return {"package": cost.package, "arm": cost.arm, "steps": cost.steps, **numbers}


def task(row: Row) -> Hashable:
    """A key equal for rows that must reach the same loss; `scratch` restarts, so it trains one epoch."""
    job = row.job
    return job.value, job.arm if job.arm in AGAIN else "", 1 if job.arm == "scratch" else job.epochs


def costs_of(rows: Sequence[Row]) -> list[Cost]:
    """Each repetition of an arm relative to one_call of the same repetition."""
    seconds, costs = comparison.seconds_of(rows), []
    whole = {(job.package, job.value): (job, times) for job, times in seconds.items() if job.arm == WHOLE}
    for job, times in seconds.items():
        base, base_times = whole.get((job.package, job.value), (job, {}))
        shared = sorted(times.keys() & base_times.keys())
        if job.arm == WHOLE or not shared:  # missing if the package ended between the two
            continue
        epoch_R = np.array([base_times[r] / base.epochs for r in shared])
        call_R = (np.array([times[r] for r in shared]) - job.epochs * epoch_R) / events(job)
        epoch, call, share = map(timing.spread, (epoch_R, call_R, call_R / epoch_R))
        kind = {"package": job.package, "arm": job.arm, "steps": job.shape.steps}
        costs.append(Cost(**kind, epoch=epoch, call=call, share=share))
    return costs


def break_even(costs: Sequence[Cost]) -> float:
    """Steps in an epoch from which on a call costs less than MATTERS of it, for one package and arm.

    The cost is taken from the shortest epochs, where it is most precise; the time of an epoch is a straight
    line through the shortest and the longest. The result is 1 if no epoch is too short, also if noise hides
    the cost; NaN if the longest takes no longer than the shortest, or only one length was measured.
    """
    first, last = min(costs, key=lambda c: c.steps), max(costs, key=lambda c: c.steps)
    if last.epoch.median <= first.epoch.median:
        return math.nan
    step = (last.epoch.median - first.epoch.median) / (last.steps - first.steps)
    fixed = first.epoch.median - step * first.steps
    return max(1.0, (first.call.median / MATTERS - fixed) / step)


def break_evens(costs: Sequence[Cost]) -> dict[tuple[str, str], float]:
    """The break-even of each package and arm."""
    pairs = dict.fromkeys((c.package, c.arm) for c in costs)
    return {pair: break_even([c for c in costs if (c.package, c.arm) == pair]) for pair in pairs}


def cells(costs: Sequence[Cost]) -> list[tuple[str, ...]]:
    """Rows of COLUMNS."""
    made, breaks = [], break_evens(costs)
    for cost in costs:
        n = breaks[cost.package, cost.arm]
        made.append(
            (
                cost.package,
                cost.arm,
                str(cost.steps),
                timing.number(1e3 * cost.epoch.median),
                timing.in_words(cost.call, scale=1e6),
                timing.in_words(cost.share, scale=100),
                "–" if math.isnan(n) else "any" if n == 1 else f"{timing.number(math.ceil(n))} steps",
            )
        )
    return made


def answer(costs: Sequence[Cost]) -> str:
    """What a boundary of ours that drops everything costs, relative to the epoch nearest to the question's.

    Its time does not depend on the length of an epoch, so it is taken from the shortest, the most precise.
    """
    ours = [c for c in costs if (c.package, c.arm) == (OURS, "scratch")]
    near = min(ours, key=lambda c: abs(c.steps - SETTING))
    call = min(ours, key=lambda c: c.steps).call
    percent = timing.in_words(call, "%", 100 / near.epoch.median)
    return f"A boundary of ours that drops everything costs {percent} of an epoch of {near.steps} steps."


def figure(costs: Sequence[Cost]) -> Figure:
    """A call's time, and its share of an epoch, against the length of the epoch."""

    def draw():
        from experiments.overhead import figure  # no measurement waits for matplotlib

        return figure.draw(costs, break_evens(costs), MATTERS)

    return Figure(
        name="figure",
        draw=draw,
        shows="Above: what a call adds against the steps of an epoch. Below: the same as a share of the epoch.",
        caption="calls: one call per epoch; keep, recompile, scratch: what a boundary before each epoch drops. Points: "
        "medians with quartiles. ▽: the lower quartile is not above zero; drawn is the upper, or the lower edge where "
        f"that is not above zero either. ×: below {100 * MATTERS:g} % from here on.",
    )
