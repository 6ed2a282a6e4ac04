"""The picture of `overhead`: a call's time, and its share of an epoch, against the length of the epoch."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from experiments import figure, figure_axes
from experiments.curves import STYLE

if TYPE_CHECKING:
    from experiments.overhead_report import Cost

LINES = {"calls": "-", "recompile": "--", "scratch": ":", "keep": "-."}
FLOOR = 1e-7  # seconds: where a cost that cannot be told from nothing is drawn


def draw(folder: Path, costs: Sequence["Cost"], matters: float, command: str) -> None:
    """figure.svg and figure.png. A share meets the line at `matters` where it breaks even."""
    packages = list(dict.fromkeys(c.package for c in costs))
    with plt.rc_context(STYLE):
        fig, (left, right) = plt.subplots(1, 2, figsize=(12, 5.2), layout="constrained")
        for package, arm in dict.fromkeys((c.package, c.arm) for c in costs):
            mine = sorted((c for c in costs if (c.package, c.arm) == (package, arm)), key=lambda c: c.steps)
            colour = figure.COLOURS[packages.index(package) % len(figure.COLOURS)]
            steps = [c.steps for c in mine]
            style = {"color": colour, "ls": LINES[arm], "marker": "o", "ms": 3.5, "lw": 1.4}
            for axes, spreads, floor, scale in (
                (left, [c.call for c in mine], FLOOR, 1e6),
                (right, [c.share for c in mine], FLOOR / max(c.epoch.median for c in mine), 100),
            ):
                low, median, high = np.maximum([(s.low, s.median, s.high) for s in spreads], floor).T * scale
                axes.plot(steps, median, label=f"{package}: {arm}", **style)
                axes.fill_between(steps, low, high, color=colour, alpha=0.12, lw=0)
        right.axhline(100 * matters, color="k", lw=0.8)
        right.text(
            0.99,
            100 * matters,
            f"{100 * matters:g} %",
            transform=right.get_yaxis_transform(),
            ha="right",
            va="bottom",
        )
        left.set_ylabel("a call, or boundary, adds (µs)")
        right.set_ylabel("of an epoch (%)")
        for axes in (left, right):
            axes.set_xscale("log")
            axes.set_yscale("log")
            figure_axes.plain(axes)
            axes.set_xlabel("steps in an epoch")
        left.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(1.05, -0.14), ncols=4)
        caption = "Medians; bands: quartiles. calls: a call for each epoch; keep, recompile, scratch: what a boundary "
        caption += "before each epoch drops. A cost below 0.1 µs is drawn there."
        figure.save(folder, fig, caption, command)
