"""The report of `throughput`: times, ratios to ours, distance to the limit. Letters: R repetitions."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.harness.document import Document, Figure, Table
from experiments.harness.peers import comparison, timing
from experiments.harness.peers.comparison import ratio, seconds_of
from experiments.harness.peers.jobs import Job, Measured, Row
from experiments.harness.peers.process import DIVIDED, EPOCH, OURS, OWN
from experiments.throughput.jobs import cores_of, operations

SAME = 2e-3  # relative difference of losses allowed for rounding and each package's form of Adam
RUN = 100  # epochs per run, for the reported runs per minute
COLUMNS = ("what", "package", "cores", "seconds", "to ours", "compile, s", "runs a minute", "MB a member")
TITLE = (
    "The median, and the quartiles around it; to ours: the time of one training, repetition by repetition; compile: "
    f"how much longer the first time takes; runs: of {RUN} epochs, in brackets with compilation once"
)


def document(measured: Measured, gpu: bool) -> Document:
    """A document with the answer, remarks, the figure, the table and every repetition."""
    rows = measured.rows
    checked = [row for row in rows if row.job.part == "check"] if gpu else rows
    wrong = comparison.disagreeing(
        checked, lambda row: (row.job.shape, row.job.members, row.job.epochs), SAME
    )
    remarks = comparison.remarks(measured, wrong, SAME)
    remarks += versions(rows) if gpu else divided(rows) + limits(rows)
    question = "How fast is a training, and how fast are many?"
    parts = ("many", "one") if gpu else ("one",)
    packages = None if gpu else (EPOCH,)
    answer = " ".join(filter(None, (sentence(rows, part, packages) for part in parts)))
    table = Table(title=TITLE, columns=COLUMNS, rows=cells(rows))
    return Document(
        sections=comparison.sections(question, answer, remarks, table, figure(rows)),
        tables={"results.csv": [flat(row) for row in rows]},
        files={"results.csv": "one row per repetition of a job; 0 is the first, which compiles"},
    )


def flat(row: Row) -> dict[str, Any]:
    """A row of results.csv; the loss is the mean over members."""
    job = row.job
    return {
        "part": job.part,
        "package": job.package,
        "axis": job.axis,
        "value": job.value,
        "processes": len(job.cores),
        "cores": cores_of(job),
        "members": job.members,
        "epochs": job.epochs,
        "repetition": row.repetition,
        "seconds": row.seconds,
        "loss": float(np.mean(row.losses)) if row.losses else None,
        "bytes": row.bytes,
        "flops": row.flops,
    }


def fastest(rows: Sequence[Row]) -> str:
    """The package besides ours and Flax that trains once in the least time; Flax where there is none."""
    ones = {job: times for job, times in seconds_of(rows).items() if job.part == "one"}
    first = next(iter(ones)).axis
    others = {
        job.package: np.median([*times.values()])
        for job, times in ones.items()
        if job.axis == first and job.package not in OWN
    }
    return min(others, key=lambda name: others[name]) if others else EPOCH


def to_ours(seconds: dict[Job, dict[int, float]], job: Job) -> str:
    """The time of one training relative to ours at the same task, on the most cores; – for ours itself."""
    same = [x for x in seconds if (x.title, x.package) == (job.title, OURS)]
    if job.package == OURS or not same:
        return "–"
    ours = max(same, key=cores_of)
    return timing.in_words(ratio(seconds[job], seconds[ours]), "×", ours.members / job.members)


def cells(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Rows of COLUMNS."""
    seconds, first = seconds_of(rows), {row.job: row for row in rows if not row.repetition}
    made = []
    for job, times in seconds.items():
        if job.axis == "product":
            continue
        median = float(np.median([*times.values()]))
        compiled = max(0.0, first[job].seconds - median)
        run = RUN * median / job.epochs
        runs = (timing.number(60 * job.members / (run + once)) for once in (0.0, compiled))
        processes = f" in {len(job.cores)} processes" * (len(job.cores) > 1)
        few = f", {job.members:,} of them" * (job.part == "many" and job.members != job.value)
        made.append(
            (
                job.title,
                job.package + few + processes,
                str(cores_of(job) or "–"),
                timing.in_words(timing.spread([*times.values()])),
                to_ours(seconds, job),
                timing.number(compiled),
                "{} ({})".format(*runs),
                timing.number(first[job].bytes / job.members / 1e6) if first[job].bytes else "–",
            )
        )
    return made


def sentence(rows: Sequence[Row], part: str, packages: Sequence[str] | None) -> str:
    """The time of ours in a part, at its first size, and ratios to it of these packages (None: all)."""
    seconds = seconds_of(rows)
    ours = next((job for job in seconds if (job.part, job.package) == (part, OURS)), None)
    if ours is None:
        return ""
    trainings = "One training" if ours.members == 1 else f"{ours.members:,} trainings"
    epochs = f"{ours.epochs} epoch" + "s" * (ours.epochs > 1)
    words = timing.in_words(timing.spread([*seconds[ours].values()]), "s")
    longer = [
        f"{job.package} takes {to_ours(seconds, job)} the time" + " for each" * (ours.members > 1)
        for job in seconds
        if job.title == ours.title and job.package != OURS and (packages is None or job.package in packages)
    ]
    return "; ".join([f"{trainings} of {epochs} ({ours.axis}): ours takes {words}", *longer]) + "."


def versions(rows: Sequence[Row]) -> list[str]:
    """Every package's version and device."""
    known = {row.job.package: row.version for row in rows}
    return [f"{package}: {version}." for package, version in known.items()]


def limits(rows: Sequence[Row]) -> list[str]:
    """For each size, the time on one core relative to that of the matrix products alone."""
    seconds = {job: times for job, times in seconds_of(rows).items() if job.part == "limit"}
    product = next(job for job in seconds if job.axis == "product")
    flops = next(row.flops for row in rows if row.job == product)
    rate = {repetition: flops / s for repetition, s in seconds[product].items()}
    words = timing.in_words(timing.spread([*rate.values()]), "GFLOP/s", 1e-9)
    found = [f"One core: {words} in a large matrix product."]
    for job, times in seconds.items():
        if job != product:
            count = operations(job.shape)
            products = {repetition: job.epochs * count / rate[repetition] for repetition in rate}
            found.append(
                f"One core: {job.axis}: {timing.number(count / 1e9)} GFLOP an epoch, "
                f"{timing.in_words(ratio(times, products), '×')} the time of the products alone at that rate."
            )
    return found


def divided(rows: Sequence[Row]) -> list[str]:
    """For each size, the gain from dividing the batches of one training over the cores."""
    ones = {job: times for job, times in seconds_of(rows).items() if job.part == "one"}
    found = []
    for job, times in ones.items():
        if job.package == DIVIDED:
            others = ", ".join(
                f"{x.package} {timing.in_words(ratio(ones[x], times), '×')}"
                for x in ones
                if x.axis == job.axis and x != job
            )
            found.append(
                f"One training ({job.axis}) with its batches divided over {cores_of(job)} cores; time of the others "
                f"relative to it: {others}."
            )
    return found


def figure(rows: Sequence[Row]) -> Figure:
    """The time of each package, and how ours grows."""

    def draw():
        from experiments.throughput import figure  # no measurement waits for matplotlib

        return figure.draw(rows)

    return Figure(
        name="figure",
        draw=draw,
        shows="Left: the time of one training and of many, by package. Right: the time of ours as one size grows, and "
        "its memory with members.",
        caption="One mark per repetition; a bar at the median.",
    )
