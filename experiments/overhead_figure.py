"""The picture of `overhead`: a call's time, and its share of an epoch, against the length of the epoch."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from experiments import figure, figure_axes
from experiments.curves import STYLE

if TYPE_CHECKING:
    from experiments.overhead_report import Cost
    from experiments.timing import Spread

ARMS = ("calls", "keep", "recompile", "scratch")
APART = 1.13  # between the arms of one length of an epoch
LEAST = (1e-6, 1e-4)  # the axes' lower ends: 1 µs, 0.01 %


def draw(
    folder: Path,
    costs: Sequence["Cost"],
    breaks: Mapping[tuple[str, str], float],
    matters: float,
    command: str,
) -> None:
    """figure.svg and figure.png. `breaks`: steps at which (package, arm) costs `matters` of an epoch."""
    packages = list(dict.fromkeys(c.package for c in costs))
    with plt.rc_context(STYLE):
        fig, grid = plt.subplots(
            2,
            len(packages),
            figsize=(max(6.5, 3.2 * len(packages)), 7.5),
            sharex=True,
            sharey="row",
            squeeze=False,
            layout="constrained",
        )
        for (above, below), package in zip(grid.T, packages, strict=True):
            above.set_title(package)
            for i, arm in enumerate(ARMS):
                mine = sorted(
                    (c for c in costs if (c.package, c.arm) == (package, arm)), key=lambda c: c.steps
                )
                at = np.array([c.steps for c in mine]) * APART ** (i - (len(ARMS) - 1) / 2)
                _costs(above, at, [c.call for c in mine], 1e6, LEAST[0], i)
                _costs(below, at, [c.share for c in mine], 100, LEAST[1], i)
                if breaks.get((package, arm), math.nan) > 1:
                    at_break = breaks[package, arm]
                    below.plot(at_break, 100 * matters, "x", color=figure.COLOURS[i], ms=8, mew=2)
            below.axhline(100 * matters, color="k", lw=0.8)
            below.set_xlabel("steps in an epoch")
        grid[0, 0].set_ylabel("a call, or boundary, adds (µs)")
        grid[1, 0].set_ylabel("of an epoch (%)")
        for axes in grid.flat:
            axes.set_xscale("log")
            axes.set_yscale("log")
            figure_axes.plain(axes)
        for row, least, scale in zip(grid, LEAST, (1e6, 100), strict=True):
            row[0].set_ylim(bottom=0.6 * least * scale)
        handles, names = _legend()
        fig.legend(handles, names, loc="outside upper center", ncols=len(names), frameon=False, fontsize=8)
        caption = "calls: a call for each epoch; keep, recompile, scratch: what a boundary before each epoch drops. "
        caption += "Points: medians with quartiles. ▽: the lower quartile is not above nothing; drawn is the upper, or "
        caption += f"the lower edge where that is not above nothing either. ×: below {100 * matters:g} % from here on."
        figure.save(folder, fig, caption, command)


def _costs(
    axes: Axes, at_L: np.ndarray, spreads: "Sequence[Spread]", scale: float, least: float, i: int
) -> None:
    """Points where the lower quartile is above nothing, upper limits where it is not. Letters: L lengths."""
    low_L, median_L, high_L = scale * np.array([(s.low, s.median, s.high) for s in spreads]).reshape(-1, 3).T
    sure_L = low_L > 0
    floor, colour = scale * least, figure.COLOURS[i]
    point_L = np.maximum(median_L, floor)
    reach_L = np.abs(np.stack([point_L - np.maximum(low_L, floor), np.maximum(high_L, floor) - point_L]))
    axes.errorbar(
        at_L[sure_L],
        point_L[sure_L],
        reach_L[:, sure_L],
        color=colour,
        marker="o",
        ms=4,
        lw=1.2,
    )
    axes.plot(at_L[~sure_L], np.maximum(high_L, floor)[~sure_L], ls="", marker="v", mfc="none", color=colour)


def _legend() -> tuple[list[Line2D], list[str]]:
    made = [Line2D([], [], color=figure.COLOURS[i], marker="o", ms=4) for i in range(len(ARMS))]
    return made, list(ARMS)
