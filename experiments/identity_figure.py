"""The picture of `identity`: every training by what it has of one fit, and how far other lowerings are."""

from collections.abc import Sequence

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from experiments.figure import COLOURS
from experiments.identity_compare import Result
from experiments.identity_plan import TRANSPORTS, Plan, bound, levels
from experiments.identity_runs import CHOSEN, LOWERINGS, RUN

STYLE = {"font.size": 9, "svg.hashsalt": "lstm_sched", "axes.spines.top": False, "axes.spines.right": False}
FLOOR = 1e-10  # where 0 is drawn


def draw(plan: Plan, results: Sequence[Result], command: str) -> None:
    """Left: differing bits of every cell. Right: how far another lowering's weights are, and the bound."""
    columns = [(lowering, transport) for lowering in LOWERINGS for transport in TRANSPORTS]
    lines = [(optimizer, every) for optimizer in CHOSEN for every in levels(plan.setting.epochs)]
    with plt.rc_context(STYLE):  # pyright: ignore[reportArgumentType]
        fig, (left, right) = plt.subplots(1, 2, figsize=(12, 6.4), width_ratios=(2, 1), layout="constrained")
        for held, same, colour, label in (
            (True, True, COLOURS[2], "0 bits from one fit"),
            (False, True, COLOURS[4], "0 bits from one fit, but beyond the bound across lowerings"),
            (False, False, COLOURS[0], "not the bits of one fit"),
        ):
            at = [
                (
                    columns.index((r.cell.lowering, r.cell.transport)),
                    lines.index((r.cell.optimizer, r.cell.every)),
                )
                for r in results
                if r.held == held and (not r.same.bits) == same
            ]
            left.plot(
                *np.array(at or [(np.nan, np.nan)]).T, "s", color=colour, ms=8, label=f"{label}: {len(at)}"
            )
        names = {
            transport: transport.removeprefix("in a ").removeprefix("through a ") for transport in TRANSPORTS
        }
        left.set_xticks(range(len(columns)), [names[t] for _, t in columns], rotation=90, fontsize=7)
        for i, lowering in enumerate(LOWERINGS):
            left.text(
                len(TRANSPORTS) * i + 1.5,
                -1.2,
                lowering.replace(" ", "\n", 1),
                ha="center",
                va="bottom",
                fontsize=7.5,
            )
        left.set_yticks(range(len(lines)), [f"{o}, fits of {n}" for o, n in lines], fontsize=7)
        left.set_xlim(-0.7, len(columns) - 0.3)
        left.set_ylim(len(lines) - 0.3, -0.9)
        left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), frameon=False, fontsize=8)
        _across(right, plan, results)
        fig.supxlabel(command, fontsize=7.5, color="0.3")
        fig.savefig(plan.folder / "figure.png", dpi=150)
        fig.savefig(plan.folder / "figure.svg", metadata={"Date": None})
        plt.close(fig)


def _across(axes: Axes, plan: Plan, results: Sequence[Result]) -> None:
    """Largest difference of a weight from the run scan, by lowering; 0 stands at the left edge."""
    for i, optimizer in enumerate(CHOSEN):
        told = [r for r in results if r.cell.optimizer == optimizer and r.cell.lowering != RUN]
        x = [max(r.across.weight, FLOOR) for r in told]
        y = [LOWERINGS.index(r.cell.lowering) + 0.09 * (i - 3) for r in told]
        axes.plot(x, y, "o", color=[*COLOURS, "0.4"][i], ms=5, label=optimizer)
        for r in told:
            at = LOWERINGS.index(r.cell.lowering) + 0.09 * (i - 3)
            axes.plot(bound(r.cell, plan.setting.lr), at, "|", color=[*COLOURS, "0.4"][i], ms=9)
    axes.set_xscale("log")
    axes.set_yticks(range(len(LOWERINGS)), LOWERINGS)
    axes.set_ylim(len(LOWERINGS) - 0.5, -0.5)
    axes.set_xlabel(
        f"largest difference of a weight from the run scan\n(0 is drawn at {FLOOR:g}; |: the bound)"
    )
    axes.legend(frameon=False, fontsize=7.5, loc="lower left")
