"""The picture of `throughput`: who takes how long, and how ours grows."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from experiments import figure, figure_axes
from experiments.curves import STYLE
from experiments.peers import DIVIDED, OURS
from experiments.throughput_plan import GROWTH, Timed

MARKS = dict(zip(GROWTH, "osD^v", strict=True))


def draw(folder: Path, rows: Sequence[Timed], command: str) -> None:
    """figure.svg and figure.png. Left: every repetition of one training and of many. Right: how ours grows, where that
    was measured."""
    warm = [row for row in rows if row.repetition]
    grown = any(row.part == "growth" for row in warm)
    with plt.rc_context(STYLE):
        fig, both = plt.subplots(1, 1 + grown, figsize=(12, 5.6), squeeze=False, layout="constrained")
        _packages(both[0, 0], [row for row in warm if row.part in ("one", "many")])
        if grown:
            _growth(both[0, 1], [row for row in rows if row.part == "growth"])
        figure.save(folder, fig, "A mark a repetition; a bar at the median.", command)


def _packages(axes: Axes, rows: Sequence[Timed]) -> None:
    """Milliseconds that a member takes an epoch."""
    names = list(dict.fromkeys((r.part, r.axis, r.package, r.processes, r.cores) for r in rows))
    for y, name in enumerate(names):
        mine = [r for r in rows if (r.part, r.axis, r.package, r.processes, r.cores) == name]
        each = [1e3 * r.seconds / (r.members * r.epochs) for r in mine]
        colour = figure.COLOURS[0] if name[2] in (OURS, DIVIDED) else figure.COLOURS[1]
        axes.plot(each, [y] * len(each), "o", color=colour, ms=4, alpha=0.6)
        axes.plot(np.median(each), y, "|", color=colour, ms=16, mew=2)
    labels = [
        f"{part}, {axis}: {package}" + (f", {processes} processes" if processes > 1 else f", {cores} core(s)")
        for part, axis, package, processes, cores in names
    ]
    axes.set_yticks(range(len(names)), labels, fontsize=7.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xscale("log")
    figure_axes.plain(axes)
    axes.set_xlabel("ms a member and epoch")


def _growth(axes: Axes, rows: Sequence[Timed]) -> None:
    """Seconds against what varies, both as multiples of the smallest; and the memory of the members."""
    for (axis, mark), colour in zip(MARKS.items(), figure.COLOURS, strict=False):
        mine = [r for r in rows if r.axis == axis]
        if not mine:
            continue
        values = sorted({r.value for r in mine})
        medians = [
            np.median([r.seconds for r in mine if r.value == value and r.repetition]) for value in values
        ]
        label = f"{axis} ({', '.join(map(str, values))})"
        axes.plot(
            np.divide(values, values[0]),
            np.divide(medians, medians[0]),
            mark + "-",
            color=colour,
            label=label,
        )
    memory = sorted((r.value, r.bytes) for r in rows if r.axis == "members" and r.bytes)
    if memory:
        (least, least_bytes), (most, most_bytes) = memory[0], memory[-1]
        label = f"memory of {least} to {most} members ({least_bytes / 1e6:.3g} to {most_bytes / 1e6:.3g} MB)"
        x, y = np.array(memory, float).T
        axes.plot(x / least, y / least_bytes, "k:", marker="x", label=label)
    axes.axline((1, 1), slope=1, color="0.6", lw=0.8, ls="--")
    axes.set_xscale("log")
    axes.set_yscale("log")
    figure_axes.plain(axes)
    axes.set_xlabel("times the smallest (dashed: in proportion)")
    axes.set_ylabel("time or memory, times that of the smallest")
    axes.legend(fontsize=8, frameon=False)
