"""The figure of `throughput`: the time of each package, and how ours grows."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.harness import figures
from experiments.harness.peers.comparison import seconds_of
from experiments.harness.peers.jobs import Job, Row
from experiments.harness.peers.process import DIVIDED, OURS
from experiments.throughput.jobs import GROWTH, cores_of

MARKS = "osD^v"


def draw(rows: Sequence[Row]) -> Figure:
    """Left: every repetition of one training and of many. Right: how ours grows, where that was measured."""
    seconds = seconds_of(rows)
    grown = [job for job in seconds if job.part == "growth"]
    with plt.rc_context(figures.STYLE):
        fig, axes = plt.subplots(1, 1 + bool(grown), figsize=(12, 5.6), squeeze=False, layout="constrained")
        _packages(axes[0, 0], {job: s for job, s in seconds.items() if job.part in ("one", "many")})
        if grown:
            _growth(axes[0, 1], {job: seconds[job] for job in grown}, rows)
    return fig


def _packages(axes: Axes, seconds: dict[Job, dict[int, float]]) -> None:
    """Milliseconds per member and epoch."""
    labels = []
    for y, (job, times) in enumerate(seconds.items()):
        ms = [1e3 * s / (job.members * job.epochs) for s in times.values()]
        colour = figures.COLOURS[job.package not in (OURS, DIVIDED)]
        axes.plot(ms, [y] * len(ms), "o", color=colour, ms=4, alpha=0.6)
        axes.plot(np.median(ms), y, "|", color=colour, ms=16, mew=2)
        where = f"{len(job.cores)} processes" if len(job.cores) > 1 else f"{cores_of(job)} core(s)"
        labels.append(f"{job.part}, {job.axis}: {job.package}" + f", {where}" * bool(cores_of(job)))
    axes.set_yticks(range(len(labels)), labels, fontsize=7.5)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xscale("log")
    figures.plain(axes)
    axes.set_xlabel("ms per member and epoch")


def _growth(axes: Axes, seconds: dict[Job, dict[int, float]], rows: Sequence[Row]) -> None:
    """Seconds against what varies, both as multiples of the smallest; and the memory of the members."""
    for axis, mark, colour in zip(GROWTH, MARKS, figures.COLOURS, strict=False):
        medians = {job.value: np.median([*s.values()]) for job, s in seconds.items() if job.axis == axis}
        if medians:
            values, times = np.array(sorted(medians.items()), float).T
            label = f"{axis} ({', '.join(f'{value:g}' for value in values)})"
            axes.plot(values / values[0], times / times[0], mark + "-", color=colour, label=label)
    memory = sorted((row.job.value, row.bytes) for row in rows if row.job.axis == "members" and row.bytes)
    if memory:
        (least, least_bytes), (most, most_bytes) = memory[0], memory[-1]
        label = f"memory of {least} to {most} members ({least_bytes / 1e6:.3g} to {most_bytes / 1e6:.3g} MB)"
        x, y = np.array(memory, float).T
        axes.plot(x / least, y / least_bytes, "k:", marker="x", label=label)
    axes.axline((1, 1), slope=1, color="0.6", lw=0.8, ls="--")
    axes.set_xscale("log")
    axes.set_yscale("log")
    figures.plain(axes)
    axes.set_xlabel("times the smallest (dashed: in proportion)")
    axes.set_ylabel("time or memory, times that of the smallest")
    axes.legend(fontsize=8, frameon=False)
