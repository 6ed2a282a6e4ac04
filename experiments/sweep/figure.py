"""The picture of a sweep: the best configurations, policies against learning rates, and the loss against each field."""

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from experiments.harness import figures
from experiments.harness.figures import STYLE
from experiments.sweep import ranking
from experiments.sweep.ranking import Answered, Configuration, text

matplotlib.use("Agg")

TOP, MOST_FIELDS, COLUMNS = 14, 6, 3
HIGH, LOW = 4.4, 3.2  # inches
REFERENCE, OTHER = "0.35", "0.75"  # one fit; a policy beyond the colours
SEEN = 2  # times the lowest: losses up to there, and the lower half of all, are told apart by colour
WIDE = 8  # times the lowest: numbers that spread as far are on a logarithmic axis


def draw(folder: Path, answered: Answered, command: str) -> None:
    """figure.svg and figure.png in the folder."""
    fields = answered.varied[:MOST_FIELDS]
    crossed = {"lr", "policy"} <= set(answered.varied) and bool(_ran(answered.ranked))
    columns = min(COLUMNS, len(fields))
    rows = -(-len(fields) // COLUMNS)
    policies = sorted({one.fields["policy"] for one in answered.ranked})
    others = [policy for policy in policies if policy != ranking.ONE_FIT]
    colours = dict(zip(others, [*figures.COLOURS, *[OTHER] * len(others)], strict=False))
    colours |= {policy: REFERENCE for policy in policies if policy not in colours}
    with plt.rc_context({**STYLE, "axes.titlesize": 9, "axes.titlelocation": "left"}):
        fig = plt.figure(figsize=(13, HIGH + LOW * rows + 0.3), layout="constrained")
        parts = fig.subfigures(1 + rows, 1, height_ratios=[HIGH] + [LOW] * rows, squeeze=False)[:, 0]
        top = parts[0].subplots(1, 1 + crossed, squeeze=False)[0]
        _forest(top[0], answered, colours)
        if crossed:
            _heat(top[1], answered)
        for row in range(rows):
            several = parts[1 + row].subplots(1, columns, sharey=True, squeeze=False)[0]
            for i, axes in enumerate(several):
                if row * columns + i < len(fields):
                    _response(axes, answered, fields[row * columns + i], colours)
                else:
                    axes.set_axis_off()
            several[0].set_ylabel("lowest validation loss")
        if rows and len(colours) > 1:
            parts[1].legend(
                *parts[1].axes[0].get_legend_handles_labels(),
                loc="outside upper left",
                ncols=6,
                fontsize=7.5,
                frameon=False,
            )
        undrawn = answered.varied[MOST_FIELDS:]
        note = f" Not drawn: {', '.join(undrawn)}." * bool(undrawn)
        n = "–".join(map(str, sorted({f(len(one.seeds) for one in answered.ranked) for f in (min, max)})))
        figures.save(
            folder,
            fig,
            f"Means over n = {n} seeds, of logs; t intervals at 95 %, each for itself.{note}",
            command,
        )


def _ran(ranked: Sequence[Configuration]) -> list[Configuration]:
    return [one for one in ranked if math.isfinite(one.val.mean) and one.state in ("finished", "pruned")]


def _forest(axes: Axes, answered: Answered, colours: dict[str, str]) -> None:
    shown = _ran(answered.ranked)[:TOP]
    for y, one in enumerate(shown):
        colour = colours[one.fields["policy"]]
        for mean, dy, fill in ((one.val, -0.15, colour), (one.test, 0.15, "w")):
            if math.isfinite(mean.lo):
                axes.plot([mean.lo, mean.hi], [y + dy] * 2, "-", color=colour, lw=1.2)
            axes.plot(mean.mean, y + dy, "o", color=colour, mfc=fill, ms=5)
    axes.set_yticks(range(len(shown)), [ranking.name(one, answered.varied) for one in shown], fontsize=7.5)
    axes.set_ylim(max(len(shown), 1) - 0.5, -0.5)
    axes.set_xscale("log")
    figures.plain(axes)
    axes.set_xlabel("loss (standardised)")
    axes.set_title("The best. Filled: lowest validation loss; hollow: test loss there")


def _heat(axes: Axes, answered: Answered) -> None:
    """The lowest mean validation loss of each policy at each learning rate."""
    policies = sorted({one.fields["policy"] for one in answered.ranked})
    rates = [(r.label, r.lo, r.hi) for r in ranking.response(answered, "lr")]
    best = np.full((len(policies), len(rates)), np.nan)
    for one in _ran(answered.ranked):
        i = policies.index(one.fields["policy"])
        for j, (_, lo, hi) in enumerate(rates):
            if lo <= one.fields["lr"] <= hi:
                best[i, j] = np.nanmin([best[i, j], one.val.mean])
    logs = np.log(best)
    low = float(np.nanmin(logs))
    high = max(low + math.log(SEEN), float(np.nanmedian(logs)))
    axes.imshow(logs, cmap="viridis_r", vmin=low, vmax=high, aspect="auto")
    for i, row in enumerate(best):
        for j, loss in enumerate(row):
            if math.isfinite(loss):
                dark = math.log(loss) - low > 0.5 * (high - low)
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
    axes.set_title("Lowest validation loss of a policy at a rate; bold: its best rate")


def _response(axes: Axes, answered: Answered, field: str, colours: dict[str, str]) -> None:
    """Every configuration against one field."""
    ranked = ranking.having(answered.ranked, field)
    values = sorted({one.fields[field] for one in ranked}, key=lambda v: (type(v).__name__, v))
    numbers = not any(isinstance(value, str | bool | None) for value in values)
    wide = numbers and values[0] > 0 and values[-1] >= WIDE * values[0]
    scaled = wide or (numbers and len(values) > ranking.FEW)
    place = {value: float(value) if scaled else float(i) for i, value in enumerate(values)}
    ran = _ran(ranked)
    for k, (policy, colour) in enumerate(colours.items()):
        own = [one for one in ran if one.fields["policy"] == policy]
        aside = 0.0 if scaled or field == "policy" else 0.1 * (k - (len(colours) - 1) / 2)
        x = [place[one.fields[field]] + aside for one in own]
        axes.plot(x, [one.val.mean for one in own], "o", color=colour, ms=3.5, alpha=0.7, mew=0, label=policy)
    lost = [place[one.fields[field]] for one in ranked if one not in ran]
    if lost:
        top = {"transform": axes.get_xaxis_transform(), "clip_on": False}
        axes.plot(lost, [1.0] * len(lost), "x", color="0.3", ms=5, **top)
    if numbers:
        best = [r.best for r in ranking.response(answered, field)]
        line = sorted((place[one.fields[field]], one.val.mean) for one in best)
        axes.plot([x for x, _ in line], [y for _, y in line], "-", color="k", lw=1, zorder=1)
    axes.set_yscale("log")
    axes.set_xscale("log" if wide else "linear")
    figures.plain(axes)
    if not scaled:
        long = max(map(len, map(text, values))) > 8
        turned = {"rotation": 15, "ha": "right"} if long else {}
        axes.set_xticks(range(len(values)), [text(value) for value in values], fontsize=7.5, **turned)
        axes.set_xlim(-0.5, len(values) - 0.5)
    axes.set_xlabel(field)
