"""The picture of a sweep: the best configurations, policies against learning rates, and the loss against each field."""

import math
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from experiments import figure, figure_axes, sweep_ranking
from experiments.curves import SPAN, STYLE
from experiments.sweep_ranking import Answered, Configuration, text

TOP, MOST_FIELDS, COLUMNS = 14, 6, 3
OTHER = "0.5"  # a policy beyond the colours


def draw(folder: Path, answered: Answered, command: str) -> None:
    """figure.svg and figure.png in the folder."""
    fields = answered.varied[:MOST_FIELDS]
    crossed = "lr" in answered.varied and "policy" in answered.varied
    rows = 1 + -(-len(fields) // COLUMNS)
    policies = list(dict.fromkeys(one.fields["policy"] for one in answered.ranked))
    colours = dict(zip(sorted(policies), [*figure.COLOURS, *[OTHER] * len(policies)], strict=False))
    with plt.rc_context({**STYLE, "axes.titlesize": 9, "axes.titlelocation": "left"}):
        fig = plt.figure(figsize=(13, 4.6 + 3.4 * (rows - 1)), layout="constrained")
        grid = fig.add_gridspec(rows, 2 * COLUMNS, height_ratios=[4.6] + [3.4] * (rows - 1))
        _forest(fig.add_subplot(grid[0, 1 : 3 if crossed else 6]), answered, colours)
        if crossed:
            _heat(fig.add_subplot(grid[0, 3:]), answered)
        first = None
        for i, field in enumerate(fields):
            place = grid[1 + i // COLUMNS, 2 * (i % COLUMNS) : 2 * (i % COLUMNS) + 2]
            first = _response(fig.add_subplot(place, sharey=first), answered, field, colours, legend=i == 0)
        if len(answered.varied) > len(fields):
            note = f"Not drawn: {', '.join(answered.varied[MOST_FIELDS:])}. "
        else:
            note = ""
        seeds = sorted({len(one.seeds) for one in answered.ranked})
        n = "–".join(map(str, {seeds[0], seeds[-1]})) if seeds else "0"
        figure.save(
            folder,
            fig,
            f"{note}Means over n = {n} seeds, of logs; t intervals at 95 %, each for itself.",
            command,
        )


def _ran(answered: Answered) -> list[Configuration]:
    return [
        one for one in answered.ranked if math.isfinite(one.val.mean) and one.state in ("finished", "pruned")
    ]


def _forest(axes: Axes, answered: Answered, colours: dict[str, str]) -> None:
    shown = _ran(answered)[:TOP]
    for y, one in enumerate(shown):
        colour = colours[one.fields["policy"]]
        for mean, dy, fill in ((one.val, -0.15, colour), (one.test, 0.15, "w")):
            if math.isfinite(mean.lo):
                axes.plot([mean.lo, mean.hi], [y + dy] * 2, "-", color=colour, lw=1.2)
            axes.plot(mean.mean, y + dy, "o", color=colour, mfc=fill, ms=5)
    axes.set_yticks(
        range(len(shown)), [sweep_ranking.name(one, answered.varied) for one in shown], fontsize=7.5
    )
    axes.set_ylim(max(len(shown), 1) - 0.5, -0.5)
    axes.set_xscale("log")
    figure_axes.plain(axes)
    axes.set_xlabel("loss (standardised)")
    axes.set_title("The best configurations: ● lowest validation loss, ○ test loss there")


def _heat(axes: Axes, answered: Answered) -> None:
    """The lowest mean validation loss of each policy at each learning rate."""
    policies = sorted({one.fields["policy"] for one in answered.ranked})
    rates = [(r.label, r.lo, r.hi) for r in sweep_ranking.response(answered, "lr")]
    best = np.full((len(policies), len(rates)), np.nan)
    for one in _ran(answered):
        i = policies.index(one.fields["policy"])
        for j, (_, lo, hi) in enumerate(rates):
            if lo <= one.fields["lr"] <= hi:
                best[i, j] = np.nanmin([best[i, j], one.val.mean])
    logs = np.log(best)
    low, high = (np.nanmin(logs), np.nanmax(logs)) if np.isfinite(logs).any() else (0.0, 1.0)
    axes.imshow(logs, cmap="viridis_r", vmin=low, vmax=high, aspect="auto")
    for i, row in enumerate(best):
        for j, loss in enumerate(row):
            if math.isfinite(loss):
                dark = (math.log(loss) - low) < 0.45 * (high - low)
                own = "bold" if loss == np.nanmin(row) else "normal"
                axes.text(
                    j,
                    i,
                    f"{loss:.3g}",
                    ha="center",
                    va="center",
                    fontsize=7.5,
                    fontweight=own,
                    color="w" if dark else "k",
                )
            else:
                axes.text(j, i, "–", ha="center", va="center", fontsize=7.5)
    axes.set_xticks(range(len(rates)), [label for label, _, _ in rates], fontsize=7.5)
    axes.set_yticks(range(len(policies)), policies, fontsize=8)
    axes.set_xlabel("learning rate")
    axes.set_title("Lowest validation loss of a policy at a rate (bold: its best), whatever else")


def _response(axes: Axes, answered: Answered, field: str, colours: dict[str, str], legend: bool) -> Axes:
    """Every configuration against one field."""
    values = [one.fields[field] for one in answered.ranked]
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    few = list(dict.fromkeys(values))
    few = sorted(few) if numbers else sorted(few, key=text)
    place = {value: (float(value) if numbers else i) for i, value in enumerate(few)}
    ran = _ran(answered)
    lost = [one for one in answered.ranked if one.state in ("diverged", "failed")]
    for policy, colour in colours.items():
        own = [one for one in ran if one.fields["policy"] == policy]
        x, y = [place[one.fields[field]] for one in own], [one.val.mean for one in own]
        axes.plot(x, y, "o", color=colour, ms=3.5, alpha=0.7, mew=0, label=policy)
    up: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "clip_on": False}
    axes.plot([place[one.fields[field]] for one in lost], [1.0] * len(lost), "x", color="0.3", ms=5, **up)
    lines = sweep_ranking.response(answered, field)
    if numbers:
        best = [(place[r.best.fields[field]], r.best.val.mean) for r in lines]
        axes.plot(*zip(*sorted(best), strict=True) if best else ((), ()), "-", color="k", lw=1, zorder=1)
    axes.set_yscale("log")
    if ran:
        low = min(one.val.mean for one in ran)
        axes.set_ylim(low * 0.93, min(max(one.val.mean for one in ran) * 1.07, low * SPAN))
    if numbers and few[0] > 0 and few[-1] / few[0] >= 8:
        axes.set_xscale("log")
    if not numbers:
        axes.set_xticks(
            range(len(few)), [text(value) for value in few], fontsize=7.5, rotation=20, ha="right"
        )
        axes.set_xlim(-0.5, len(few) - 0.5)
    elif len(few) <= 6:
        axes.set_xticks([float(v) for v in few], [text(v) for v in few], minor=False)
        axes.set_xticks([], minor=True)
    figure_axes.plain(axes) if not (numbers and len(few) <= 6) else None
    axes.set_xlabel(field)
    if legend:
        axes.set_ylabel("lowest validation loss")
        axes.legend(fontsize=7, frameon=False)
    return axes
