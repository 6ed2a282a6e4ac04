"""The picture of a sweep: the best configurations, policies against learning rates, and the loss against each field."""

import math
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.harness import arms, figures
from experiments.harness.figures import STYLE
from experiments.sweep import ranking as ra
from experiments.sweep.ranking import Ranking, text

TOP, MOST_FIELDS, COLUMNS = 14, 6, 3
HIGH, LOW = 4.4, 3.2  # inches
GREY, PALE = "0.35", "0.75"  # colours of one fit, and of policies beyond the palette
SEEN = 2  # times the lowest: the colour scale covers losses up to there, and the lower half of all
WIDE = 8  # times the lowest: numbers with this spread get a logarithmic axis


def draw(ranking: Ranking) -> Figure:
    """The best configurations, policies against rates where both vary, and the loss against each field."""
    fields = ranking.varied[:MOST_FIELDS]
    crossed = {"lr", "policy"} <= set(ranking.varied) and any(c.ran for c in ranking.ranked)
    columns = min(COLUMNS, len(fields))
    rows = -(-len(fields) // COLUMNS)
    policies = sorted({c.fields["policy"] for c in ranking.ranked})
    others = [policy for policy in policies if policy != arms.REFERENCE]
    colours = dict(zip(others, [*figures.COLOURS, *[PALE] * len(others)], strict=False))
    colours |= {policy: GREY for policy in policies if policy not in colours}
    with plt.rc_context({**STYLE, "axes.titlesize": 9, "axes.titlelocation": "left"}):
        fig = plt.figure(figsize=(13, HIGH + LOW * rows + 0.3), layout="constrained")
        parts = fig.subfigures(1 + rows, 1, height_ratios=[HIGH] + [LOW] * rows, squeeze=False)[:, 0]
        top = parts[0].subplots(1, 1 + crossed, squeeze=False)[0]
        _forest(top[0], ranking, colours)
        if crossed:
            _heat(top[1], ranking)
        for row in range(rows):
            several = parts[1 + row].subplots(1, columns, sharey=True, squeeze=False)[0]
            for i, axes in enumerate(several):
                if row * columns + i < len(fields):
                    _response(axes, ranking, fields[row * columns + i], colours)
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
    return fig


def caption(ranking: Ranking) -> str:
    """A caption that explains the marks and gives the number of seeds."""
    n = "–".join(map(str, sorted({f(len(c.seeds) for c in ranking.ranked) for f in (min, max)})))
    undrawn = ranking.varied[MOST_FIELDS:]
    return (
        f"Losses are geometric means over n = {n} seeds, on a log scale, with t intervals at 95 %, not corrected for "
        "their number. Filled: lowest validation loss; hollow: test loss at the same epoch. A line joins the best "
        "configurations at each value, whatever the other fields are; a cross at the top is a configuration that "
        "diverged or failed." + f" Not drawn: {', '.join(undrawn)}." * bool(undrawn)
    )


def _forest(axes: Axes, ranking: Ranking, colours: dict[str, str]) -> None:
    """The best configurations, each with its interval."""
    shown = [c for c in ranking.ranked if c.ran][:TOP]
    for y, configuration in enumerate(shown):
        colour = colours[configuration.fields["policy"]]
        for mean, dy, fill in ((configuration.val, -0.15, colour), (configuration.test, 0.15, "w")):
            if math.isfinite(mean.lo):
                axes.plot([mean.lo, mean.hi], [y + dy] * 2, "-", color=colour, lw=1.2)
            axes.plot(mean.mean, y + dy, "o", color=colour, mfc=fill, ms=5)
    axes.set_yticks(range(len(shown)), [ra.name(c, ranking.varied) for c in shown], fontsize=7.5)
    axes.set_ylim(max(len(shown), 1) - 0.5, -0.5)
    axes.set_xscale("log")
    figures.plain(axes)
    axes.set_xlabel("loss (standardised)")
    axes.set_title("The best. Filled: lowest validation loss; hollow: test loss at the same epoch")


def _heat(axes: Axes, ranking: Ranking) -> None:
    """The lowest mean validation loss of each policy at each learning rate."""
    policies = sorted({c.fields["policy"] for c in ranking.ranked})
    rates = [(r.label, r.lo, r.hi) for r in ra.response(ranking, "lr")]
    best = np.full((len(policies), len(rates)), np.nan)
    for configuration in filter(lambda c: c.ran, ranking.ranked):
        i = policies.index(configuration.fields["policy"])
        for j, (_, lo, hi) in enumerate(rates):
            if lo <= configuration.fields["lr"] <= hi:
                best[i, j] = np.nanmin([best[i, j], configuration.val.mean])
    logs = np.log(best)
    low = float(np.nanmin(logs))
    high = max(low + math.log(SEEN), float(np.nanmedian(logs)))
    axes.imshow(logs, cmap="viridis_r", vmin=low, vmax=high, aspect="auto")
    middle: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7.5}
    for i, row in enumerate(best):
        for j, loss in enumerate(row):
            if math.isfinite(loss):
                colour = "w" if math.log(loss) - low > 0.5 * (high - low) else "k"
                weight = "bold" if loss == np.nanmin(row) else "normal"
                axes.text(j, i, f"{loss:.3g}", fontweight=weight, color=colour, **middle)
            else:
                axes.text(j, i, "–", **middle)
    axes.set_xticks(range(len(rates)), [label for label, _, _ in rates], fontsize=7.5)
    axes.set_yticks(range(len(policies)), policies, fontsize=8)
    axes.set_xlabel("learning rate")
    axes.set_title("Lowest validation loss of a policy at a rate; bold: its best rate")


def _response(axes: Axes, ranking: Ranking, field: str, colours: dict[str, str]) -> None:
    """Plot the loss of every configuration against one field."""
    ranked = ra.having(ranking.ranked, field)
    values = sorted({c.fields[field] for c in ranked}, key=lambda v: (type(v).__name__, v))
    numbers = not any(isinstance(value, str | bool | None) for value in values)
    wide = numbers and values[0] > 0 and values[-1] >= WIDE * values[0]
    scaled = wide or (numbers and len(values) > ra.FEW)
    place = {value: float(value) if scaled else float(i) for i, value in enumerate(values)}
    for k, (policy, colour) in enumerate(colours.items()):
        several = [c for c in ranked if c.ran and c.fields["policy"] == policy]
        aside = 0.0 if scaled or field == "policy" else 0.1 * (k - (len(colours) - 1) / 2)
        x = [place[c.fields[field]] + aside for c in several]
        axes.plot(x, [c.val.mean for c in several], "o", color=colour, ms=3.5, alpha=0.7, mew=0, label=policy)
    lost = [place[c.fields[field]] for c in ranked if not c.ran]
    if lost:
        top = {"transform": axes.get_xaxis_transform(), "clip_on": False}
        axes.plot(lost, [1.0] * len(lost), "x", color="0.3", ms=5, **top)
    if numbers:
        best = [r.best for r in ra.response(ranking, field)]
        line = sorted((place[c.fields[field]], c.val.mean) for c in best)
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
