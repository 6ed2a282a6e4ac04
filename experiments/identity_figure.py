"""The picture of `identity`: every training by what it has of one fit, and how far other lowerings are."""

from collections.abc import Sequence

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from experiments import figure
from experiments.curves import STYLE
from experiments.identity_compare import Result
from experiments.identity_plan import TRANSPORTS, Plan, bound, levels
from experiments.identity_runs import CHOSEN, LOWERINGS, RUN

COLOURS = dict(zip(CHOSEN, (*figure.COLOURS, "0.4"), strict=True))
FLOOR = 1e-10  # where 0 is drawn
KINDS = (  # held, the bits of one fit, colour, words
    (True, True, figure.COLOURS[2], "0 bits from one fit"),
    (False, True, figure.COLOURS[4], "0 bits from one fit, but beyond the bound across lowerings"),
    (False, False, figure.COLOURS[0], "not the bits of one fit"),
)


def draw(plan: Plan, results: Sequence[Result], command: str) -> None:
    """figure.svg and figure.png. Left: every training. Right: how far another lowering's weights are, and the bound."""
    with plt.rc_context(STYLE):
        fig, (left, right) = plt.subplots(1, 2, figsize=(12, 6.6), width_ratios=(2, 1), layout="constrained")
        _grid(left, plan, results)
        _across(right, plan, results)
        caption = f"{plan.source.name}, LSTM({plan.setting.hidden}), {plan.setting.epochs} epochs."
        figure.save(plan.folder, fig, caption, command)


def _grid(axes: Axes, plan: Plan, results: Sequence[Result]) -> None:
    columns = [(lowering, transport) for lowering in LOWERINGS for transport in TRANSPORTS]
    lines = [(optimizer, every) for optimizer in CHOSEN for every in levels(plan.setting.epochs)]
    everywhere = [(x, y) for x in range(len(columns)) for y in range(len(lines))]
    axes.plot(*zip(*everywhere, strict=True), "s", color="0.93", ms=7)
    for held, same, colour, words in KINDS:
        cells = [r.cell for r in results if r.held == held and (not r.same.bits) == same]
        x = [columns.index((cell.lowering, cell.transport)) for cell in cells]
        y = [lines.index((cell.optimizer, cell.every)) for cell in cells]
        axes.plot(x, y, "s", color=colour, ms=8, label=f"{words}: {len(cells)}")
    short = [transport.removeprefix("in a ").removeprefix("through a ") for _, transport in columns]
    axes.set_xticks(range(len(columns)), short, rotation=90, fontsize=7)
    for i, lowering in enumerate(LOWERINGS):
        x = len(TRANSPORTS) * (i + 0.5) - 0.5
        axes.text(x, -1.2, lowering.replace(" ", "\n", 1), ha="center", va="bottom", fontsize=7.5)
    axes.set_yticks(range(len(lines)), [f"{optimizer}, fits of {n}" for optimizer, n in lines], fontsize=7)
    axes.set_xlim(-0.7, len(columns) - 0.3)
    axes.set_ylim(len(lines) - 0.3, -0.9)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), frameon=False, fontsize=8)


def _across(axes: Axes, plan: Plan, results: Sequence[Result]) -> None:
    for i, (optimizer, colour) in enumerate(COLOURS.items()):
        told = [r for r in results if r.cell.optimizer == optimizer and r.cell.lowering != RUN]
        y = [LOWERINGS.index(r.cell.lowering) + 0.09 * (i - 3) for r in told]
        axes.plot([max(r.across.weight, FLOOR) for r in told], y, "o", color=colour, ms=5, label=optimizer)
        axes.plot([bound(r.cell, plan.setting.lr) for r in told], y, "|", color=colour, ms=9)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:.0e}")
    axes.set_yticks(range(len(LOWERINGS)), [name.replace(" ", "\n", 1) for name in LOWERINGS], fontsize=8)
    axes.set_ylim(len(LOWERINGS) - 0.5, -0.5)
    axes.set_xlabel(f"largest difference of a weight\nfrom the run scan (0 is at {FLOOR:g}; |: the bound)")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, frameon=False, fontsize=8)
