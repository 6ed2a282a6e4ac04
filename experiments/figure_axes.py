"""Logarithmic axes with plain numbers: matplotlib's own are formulas, which the project's figures do not parse."""

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

FEW = 30  # times the lowest: up to there, numbers between the powers of ten have room


def plain(axes: Axes) -> None:
    """Of each axis that is logarithmic: numbers at powers of ten, and between them where there are few."""
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":
            low, high = axis.get_view_interval()
            axis.set_major_formatter("{x:g}")
            axis.set_minor_locator(LogLocator(subs=(2, 3, 5, 7)))  # all nine would touch
            axis.set_minor_formatter("{x:g}" if high / low < FEW else NullFormatter())
            axis.set_tick_params(which="both", labelsize=7)
