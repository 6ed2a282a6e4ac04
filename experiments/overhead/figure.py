"""The figure of `overhead`: a call's time, and its share of an epoch, against the length of the epoch.

Letters: L lengths of an epoch.
"""

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.harness import figures
from experiments.harness.peers.timing import Spread
from experiments.overhead.jobs import Cost

ARMS = ("calls", "keep", "recompile", "scratch")
APART = 1.13  # factor that separates arms with the same length of an epoch
LEAST = (1e-6, 1e-4)  # the axes' lower ends: 1 µs, 0.01 %


def draw(costs: Sequence[Cost], breaks: Mapping[tuple[str, str], float], matters: float) -> Figure:
    """One column per package; from `breaks` steps on, (package, arm) costs below `matters` of an epoch."""
    packages = list(dict.fromkeys(cost.package for cost in costs))
    size = (max(6.5, 3.2 * len(packages)), 7.5)
    with plt.rc_context(figures.STYLE):
        fig, grid = plt.subplots(
            2, len(packages), figsize=size, sharex=True, sharey="row", squeeze=False, layout="constrained"
        )
        for (above, below), package in zip(grid.T, packages, strict=True):
            above.set_title(package)
            for i, arm in enumerate(ARMS):
                same = sorted(
                    (c for c in costs if (c.package, c.arm) == (package, arm)), key=lambda c: c.steps
                )
                at_L = np.array([c.steps for c in same]) * APART ** (i - (len(ARMS) - 1) / 2)
                _points(above, at_L, [c.call for c in same], 1e6, LEAST[0], i)
                _points(below, at_L, [c.share for c in same], 100, LEAST[1], i)
                if (even := breaks.get((package, arm), math.nan)) > 1:
                    below.plot(even, 100 * matters, "x", color=figures.COLOURS[i], ms=8, mew=2)
            below.axhline(100 * matters, color="k", lw=0.8)
            below.set_xlabel("steps in an epoch")
        grid[0, 0].set_ylabel("a call, or boundary, adds (µs)")
        grid[1, 0].set_ylabel("of an epoch (%)")
        for axes in grid.flat:
            axes.set_xscale("log")
            axes.set_yscale("log")
            figures.plain(axes)
        for row, least, scale in zip(grid, LEAST, (1e6, 100), strict=True):
            row[0].set_ylim(bottom=0.6 * least * scale)
        handles = [Line2D([], [], color=figures.COLOURS[i], marker="o", ms=4) for i in range(len(ARMS))]
        legend = {"loc": "outside upper center", "ncols": len(ARMS), "frameon": False, "fontsize": 8}
        fig.legend(handles, ARMS, **legend)
    return fig


def _points(
    axes: Axes, at_L: np.ndarray, spreads: Sequence[Spread], scale: float, least: float, i: int
) -> None:
    """Draw points where the lower quartile is above zero, and upper limits elsewhere."""
    low_L, median_L, high_L = scale * np.array([(s.low, s.median, s.high) for s in spreads]).reshape(-1, 3).T
    sure_L = low_L > 0
    floor, colour = scale * least, figures.COLOURS[i]
    point_L = np.maximum(median_L, floor)
    reach_L = np.abs(np.stack([point_L - np.maximum(low_L, floor), np.maximum(high_L, floor) - point_L]))
    line = {"color": colour, "marker": "o", "ms": 4, "lw": 1.2}
    axes.errorbar(at_L[sure_L], point_L[sure_L], reach_L[:, sure_L], **line)
    axes.plot(at_L[~sure_L], np.maximum(high_L, floor)[~sure_L], ls="", marker="v", mfc="none", color=colour)
