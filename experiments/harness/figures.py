"""How every picture looks and is written."""

import textwrap
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

matplotlib.use("Agg")

# Okabe and Ito's colours, told apart by colour-blind readers too
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "lstm_sched",  # the same ids, thus the same bytes, each time
    "text.parse_math": False,
    "agg.path.chunksize": 10_000,
}
FEW = 30  # times the lowest: up to there, numbers between the powers of ten have room


def write(folder: Path, name: str, fig: Figure, caption: str, command: str) -> None:
    """NAME.svg and NAME.png, each whole or not at all, with the caption and the command that made them at the foot."""
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
    """Plain numbers on each logarithmic axis, at powers of ten, and between them where there are few.

    matplotlib's own are formulas, which the project's figures do not parse.
    """
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":
            low, high = axis.get_view_interval()
            axis.set_major_formatter("{x:g}")
            axis.set_minor_locator(LogLocator(subs=(2, 3, 5, 7)))  # all nine would touch
            axis.set_minor_formatter("{x:g}" if high / low < FEW else NullFormatter())
            axis.set_tick_params(which="both", labelsize=7)
