"""What `overhead` says: what a call costs in µs and in parts of an epoch, and from which epoch on it does not matter.

Letters: R repetitions.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from experiments.harness import figures, run_folder
from experiments.harness.figures import STYLE
from experiments.harness.peers import comparison, timing
from experiments.harness.peers.comparison import Comparison
from experiments.harness.peers.timing import Spread

OURS = "ours"
WHOLE = "one_call"  # what the others are set against
MATTERS = 0.01  # of an epoch
SAME = 1e-3  # relative difference of losses that rounding, and each package's form of Adam, may make
SETTING = 64  # steps in an epoch of the question's setting
COLUMNS = ("package", "arm", "steps", "epoch, ms", "a call, µs", "share of an epoch, %", "below 1 % from")


class Row(NamedTuple):
    """One repetition of one arm."""

    package: str
    arm: str
    steps: int  # in an epoch
    repetition: int
    seconds: float
    events: int  # calls or boundaries that one_call has not
    epochs: int
    loss: float  # of the last epoch


class Cost(NamedTuple):
    """What an arm adds at this length of an epoch."""

    package: str
    arm: str
    steps: int
    epoch: Spread  # seconds, in one call
    call: Spread  # seconds beyond the epochs, for each call or boundary
    share: Spread  # of an epoch


def costs(rows: Sequence[Row]) -> list[Cost]:
    """Each repetition against one_call of the same repetition."""
    found, whole = [], {(r.package, r.steps, r.repetition): r for r in rows if r.arm == WHOLE}
    groups: dict[tuple[str, str, int], list[Row]] = {}
    for r in rows:
        if r.arm != WHOLE:
            groups.setdefault((r.package, r.arm, r.steps), []).append(r)
    for (package, arm, steps), mine in groups.items():
        base = [whole[package, steps, r.repetition] for r in mine]
        epoch_R = np.array([w.seconds / w.epochs for w in base])
        call_R = np.array([(r.seconds - r.epochs * e) / r.events for r, e in zip(mine, epoch_R, strict=True)])
        spreads = (timing.spread(values) for values in (epoch_R, call_R, call_R / epoch_R))
        found.append(Cost(package, arm, steps, *spreads))
    return found


def break_even(same: Sequence[Cost]) -> float:
    """Steps in an epoch from which a call costs less than MATTERS of it, for one package and arm.

    NaN where only one length was measured. The cost is that beside the shortest epochs, where it is told best; an
    epoch is a straight line through the shortest and the longest. 1 where no epoch is too short, a cost that is lost in
    noise included.
    """
    first, last = min(same, key=lambda c: c.steps), max(same, key=lambda c: c.steps)
    if first.steps == last.steps:
        return math.nan
    step = (last.epoch.median - first.epoch.median) / (last.steps - first.steps)
    beside = first.epoch.median - step * first.steps
    return max(1.0, (first.call.median / MATTERS - beside) / step)


def break_evens(found: Sequence[Cost]) -> dict[tuple[str, str], float]:
    """Of each (package, arm)."""
    each = dict.fromkeys((c.package, c.arm) for c in found)
    return {one: break_even([c for c in found if (c.package, c.arm) == one]) for one in each}


def disagreeing(rows: Sequence[Row]) -> list[str]:
    """Arms that did not reach the loss that they must: one_call's of ours at as many epochs for what drops nothing, and
    for what drops everything that of one epoch."""
    told = {}
    for r in rows:
        kind = "scratch" if r.arm == "scratch" else "recompile" if r.arm == "recompile" else "whole"
        told.setdefault((r.steps, kind, 1 if kind == "scratch" else r.epochs), []).append(r)
    wrong = []
    for same in told.values():
        loss_R = np.array([r.loss for r in same])
        far = np.abs(loss_R - np.median(loss_R)) > SAME * abs(np.median(loss_R))
        wrong += [
            f"{r.package} {r.arm} at {r.steps} steps: {r.loss:.6g}"
            for r, f in zip(same, far, strict=True)
            if f
        ]
    return list(dict.fromkeys(wrong))


def cells(found: Sequence[Cost]) -> list[tuple[str, ...]]:
    """Rows of COLUMNS."""
    made, breaks = [], break_evens(found)
    for c in found:
        n = breaks[c.package, c.arm]
        made.append(
            (
                c.package,
                c.arm,
                str(c.steps),
                timing.number(1e3 * c.epoch.median),
                timing.told(Spread(*(1e6 * x for x in c.call)), "").strip(),
                timing.told(Spread(*(100 * x for x in c.share)), "").strip(),
                "–" if math.isnan(n) else "any" if n == 1 else f"{timing.number(math.ceil(n))} steps",
            )
        )
    return made


def last_line(found: Sequence[Cost]) -> str:
    """The one figure: what a boundary of ours that drops everything costs, beside the epoch nearest the question's.

    Its time does not depend on the epoch's length, so that it is taken where it is told best, beside the shortest.
    """
    own = [c for c in found if (c.package, c.arm) == (OURS, "scratch")]
    near = min(own, key=lambda c: abs(c.steps - SETTING))
    call = min(own, key=lambda c: c.steps).call
    percent = timing.told(Spread(*(100 * x / near.epoch.median for x in call)), "%")
    return f"ours: a boundary that drops everything, as a share of an epoch of {near.steps} steps: {percent}"


def compared(rows: Sequence[Row], missing: dict[str, str]) -> Comparison:
    """What a call costs, what is not there, and whether all trained the same."""
    found = costs(rows)
    return Comparison(
        "What does a call of fit cost, beside the epoch that it trains?",
        last_line(found),
        comparison.notes(missing, disagreeing(rows), SAME),
        "Every length of an epoch",
        "What a call, or a boundary, adds: the median, and the quartiles around it",
        COLUMNS,
        cells(found),
        "Above: what a call adds against the steps of an epoch. Below: the same as a share of the epoch.",
    )


def write(folder: Path, rows: Sequence[Row], told: Comparison) -> None:
    """results.csv, costs.csv, table.md, figure and page."""
    found = costs(rows)
    run_folder.write_csv(folder / "results.csv", [r._asdict() for r in rows])
    run_folder.write_csv(folder / "costs.csv", [_flat(c) for c in found])
    command = run_folder.read_json(folder / "config.json")["command"]
    draw(folder, found, break_evens(found), MATTERS, command)
    files = {
        "results.csv": "a row a repetition of an arm",
        "costs.csv": "what an arm adds: medians and quartiles, in seconds and parts of an epoch",
    }
    comparison.write(folder, told, files)


def _flat(c: Cost) -> dict[str, str | int | float]:
    spreads = {"epoch": c.epoch, "call": c.call, "share": c.share}
    found = {f"{name}_{at}": x for name, s in spreads.items() for at, x in s._asdict().items()}
    return {"package": c.package, "arm": c.arm, "steps": c.steps, **found}


# The picture of `overhead`: a call's time, and its share of an epoch, against the length of the epoch.


matplotlib.use("Agg")

if TYPE_CHECKING:
    from experiments.harness.peers.timing import Spread

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
                    below.plot(at_break, 100 * matters, "x", color=figures.COLOURS[i], ms=8, mew=2)
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
        handles, names = _legend()
        fig.legend(handles, names, loc="outside upper center", ncols=len(names), frameon=False, fontsize=8)
        caption = "calls: a call for each epoch; keep, recompile, scratch: what a boundary before each epoch drops. "
        caption += "Points: medians with quartiles. ▽: the lower quartile is not above nothing; drawn is the upper, or "
        caption += f"the lower edge where that is not above nothing either. ×: below {100 * matters:g} % from here on."
        figures.save(folder, fig, caption, command)


def _costs(
    axes: Axes, at_L: np.ndarray, spreads: "Sequence[Spread]", scale: float, least: float, i: int
) -> None:
    """Points where the lower quartile is above nothing, upper limits where it is not. Letters: L lengths."""
    low_L, median_L, high_L = scale * np.array([(s.low, s.median, s.high) for s in spreads]).reshape(-1, 3).T
    sure_L = low_L > 0
    floor, colour = scale * least, figures.COLOURS[i]
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
    made = [Line2D([], [], color=figures.COLOURS[i], marker="o", ms=4) for i in range(len(ARMS))]
    return made, list(ARMS)
