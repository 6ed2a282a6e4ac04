"""Pictures of the raw data: the series and its parts, and the validation loss of every training.

No text from the data is drawn: names stand in the page next to a picture.
Letters: R rows, N seeds of one arm, E epochs.
"""

import io
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, MaxNLocator

from experiments.harness.arms import REFERENCE, Arm
from experiments.harness.figures import STYLE
from experiments.harness.outcome import Results
from lstm_sched.data.series import Series
from lstm_sched.data.splits import Extent

SHADES = {"train": "#FFFFFF", "val": "#CFE3F3", "test": "#FBE3C0"}
MOST_POINTS, MOST_MARKS = 20_000, 1_000  # more are drawn as pixels, which bounds the size of the file


def timeline(series: Series, extents: Sequence[Extent]) -> str:
    """SVG of the target over time in its units: parts shaded, the line broken at gaps, each gap marked below."""
    break_R = np.flatnonzero(np.diff(series.segment_R)) + 1  # the first row after each break
    time_R, target_R = np.insert(series.times_R, break_R, series.times_R[break_R]), series.values_RF[:, 0]
    length_S = np.diff(np.concatenate(([0], break_R, [target_R.size])))
    lone = np.concatenate(([0], break_R))[length_S == 1]  # rows that no line touches
    gap = break_R[series.times_R[break_R] > series.times_R[break_R - 1]]  # else another group begins
    with plt.rc_context(STYLE):
        fig, axes = plt.subplots(figsize=(8, 2.8), layout="constrained")
        for part in extents:
            ends = np.array([part.first, part.last]).astype(series.times_R.dtype)
            axes.axvspan(*ends, color=SHADES[part.name], lw=0, label=part.name, zorder=0)
            axes.axvline(ends[0], color="0.6", lw=0.8, zorder=1)
        line = {"color": "#0072B2", "lw": 0.7, "rasterized": target_R.size > MOST_POINTS}
        axes.plot(time_R, np.insert(target_R, break_R, np.nan), **line)
        dots = {"color": "#0072B2", "ms": 1.5, "rasterized": lone.size > MOST_MARKS}
        axes.plot(series.times_R[lone], target_R[lone], ".", **dots)
        if gap.size:
            place = {"transform": axes.get_xaxis_transform(), "clip_on": False, "ms": 7, "mew": 1.2}
            marks = {"color": "#D55E00", "label": "gap", "rasterized": gap.size > MOST_MARKS}
            axes.plot(series.times_R[gap], np.zeros(gap.size), "|", **place, **marks)
        axes.set(
            xlabel="time" if series.times_R.dtype.kind == "M" else "time or row number",
            ylabel="target, in its own unit",
        )
        axes.margins(x=0)  # dates end where matplotlib's do: years 1 to 9999
        legend = axes.legend(ncols=4, frameon=False, loc="lower right", bbox_to_anchor=(1, 1), fontsize=8)
        for handle in legend.get_patches():
            handle.set(edgecolor="0.6", linewidth=0.8)
        return _svg(fig)


def seeds(arms: Sequence[Arm], results: Results, span: float) -> str:
    """SVG of validation loss per epoch: a panel per arm, a thin line per seed, one fit's mean behind them.

    The axis ends at `span` times the lowest loss, since one diverging curve would flatten all others.
    """
    val = results.curves["val"]
    val = np.where(np.isfinite(val) & (val > 0), val, np.nan)  # only positive, finite losses have a logarithm
    finite = val[np.isfinite(val)]
    low, high = (finite.min(), finite.max()) if finite.size else (1.0, 1.0)
    with plt.rc_context(STYLE):
        rows = -(-len(arms) // 2)
        fig, grid = plt.subplots(
            rows,
            2,
            figsize=(8, 0.6 + 1.9 * rows),
            sharex=True,
            sharey=True,
            squeeze=False,
            layout="constrained",
        )
        reference_E = _mean(val[results.rows(REFERENCE)])
        epochs = np.arange(1, val.shape[1] + 1)
        dot = "." if epochs.size == 1 else ""
        for axes in grid.flat[len(arms) :]:
            axes.set_visible(False)
        for i, (axes, arm) in enumerate(zip(grid.flat, arms, strict=False)):
            val_NE = val[results.rows(arm.name)]
            lost = int(results.diverged_M[results.rows(arm.name)].sum())
            axes.plot(epochs, reference_E, color="0.75", lw=3.5, marker=dot)
            axes.plot(
                epochs,
                val_NE.T,
                color="#0072B2",
                lw=0.6,
                alpha=0.8,
                marker=dot,
                rasterized=val.size > MOST_POINTS,
            )
            title = f"{arm.name}, {arm.seeds} seed{'s' * (arm.seeds > 1)}" + f", {lost} diverged" * bool(lost)
            axes.set_title(title, fontsize=9, loc="left")
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(FormatStrFormatter("%.3g"))
            axes.yaxis.set_minor_formatter(FormatStrFormatter("%.3g"))
            axes.tick_params(axis="y", which="minor", labelsize=7)
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            axes.tick_params(axis="x", labelbottom=i + 2 >= len(arms))  # the lowest value in each column
            axes.set_xlim(1, max(2, val.shape[1]))
            axes.set_ylim(low / 1.05, min(high, span * low) * 1.05)
        fig.supxlabel("epoch", fontsize=9)
        fig.supylabel("validation loss (standardised, log)", fontsize=9)
        return _svg(fig)


def _mean(val_NE: np.ndarray) -> np.ndarray:
    """Geometric mean over the seeds that stayed finite; nan where none did."""
    val_NE = val_NE[np.isfinite(val_NE).all(1)]
    return np.exp(np.log(val_NE).mean(0)) if len(val_NE) else np.full(val_NE.shape[1], np.nan)


def _svg(fig: Figure) -> str:
    text = io.StringIO()
    fig.savefig(text, format="svg", metadata={"Date": None})
    plt.close(fig)
    return text.getvalue()
