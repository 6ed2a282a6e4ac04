"""The style of all figures, and how they are saved."""

import textwrap
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

matplotlib.use("Agg")

# Okabe and Ito's colours, which colour-blind readers can distinguish
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "lstm_sched",  # fixed ids, so that the file has the same bytes each time
    "text.parse_math": False,
    "agg.path.chunksize": 10_000,
}
FEW = 30  # times the lowest: up to there, numbers between the powers of ten have room


def write(folder: Path, name: str, fig: Figure, caption: str, command: str) -> None:
    """Write NAME.svg and NAME.png, each atomically, with the caption and the command at the foot."""
    width = min(160, int(16 * fig.get_figwidth()))  # in characters
    lines = [*textwrap.wrap(caption, width), *textwrap.wrap(command, width)]
    with plt.rc_context(STYLE):
        fig.supxlabel("\n".join(lines), fontsize=7.5, color="0.3")
        for kind, how in {"png": {"dpi": 150}, "svg": {"metadata": {"Date": None}}}.items():
            part = folder / f"{name}.{kind}.part"
            fig.savefig(part, format=kind, **how)
            part.replace(folder / f"{name}.{kind}")
    plt.close(fig)


def plain(axes: Axes) -> None:
    """Label logarithmic axes with plain numbers, at powers of ten, and between them if the axis is short.

    matplotlib's own labels are formulas, and the project's figures parse none.
    """
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":
            low, high = axis.get_view_interval()
            axis.set_major_formatter("{x:g}")
            axis.set_minor_locator(LogLocator(subs=(2, 3, 5, 7)))  # all nine would touch
            axis.set_minor_formatter("{x:g}" if high / low < FEW else NullFormatter())
            axis.set_tick_params(which="both", labelsize=7)
