"""The picture that answers the question: curves on the left, effects with intervals and verdicts on the right."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter

from experiments.harness import arms as ar
from experiments.harness.figures import COLOURS, STYLE
from experiments.harness.outcome import METRICS, Results
from experiments.harness.setting import Setting
from experiments.harness.wording import forecast
from lstm_sched import stats

DASHES = ("-", "--", "-.", (0, (1, 1)))  # for arms beyond the number of colours
SHORT = {"undecided": "too wide to call", "equivalent": "within ±1 %"}


def draw(setting: Setting, arms: Sequence[ar.Arm], results: Results) -> Figure:
    """The whole picture."""
    treated = [arm for arm in arms if not (arm.control or arm.is_identity)]
    colours = {arm.name: COLOURS[i % len(COLOURS)] for i, arm in enumerate(treated)}
    rows = sum(arm.name != ar.REFERENCE for arm in arms)
    with plt.rc_context({**STYLE, "axes.spines.right": True}):
        fig, (left, right) = plt.subplots(
            1, 2, figsize=(12, max(4.6, 1.7 + 0.55 * rows)), width_ratios=(1, 1), layout="constrained"
        )
        _curves(left, setting, arms, results, colours)
        _forest(right, arms, results, colours)
    return fig


def _curves(
    axes: Axes, setting: Setting, arms: Sequence[ar.Arm], results: Results, colours: dict[str, str]
) -> None:
    banded = len(colours) <= len(COLOURS)  # more curves would hide one another
    for arm in arms:
        if arm.control:
            continue
        rows = results.paired(arm.name) if arm.is_identity else results.rows(arm.name)
        rows = (
            results.rows(ar.REFERENCE) if arm.is_identity else rows
        )  # the same run: its dashes lie on the line
        val_NE = results.curves["val"][rows]
        val_NE = val_NE[np.isfinite(val_NE).all(1)]
        if not len(val_NE):
            continue
        epochs = np.arange(1, val_NE.shape[1] + 1)
        mean_E, sd_E = np.exp(np.log(val_NE).mean(0)), np.log(val_NE).std(0)
        best = int(mean_E.argmin())
        if arm.name == ar.REFERENCE:
            axes.plot(epochs, mean_E, color="0.6", lw=5, label=f"one_fit (n = {arm.seeds})", zorder=2)
            axes.fill_between(
                epochs, mean_E * np.exp(-sd_E), mean_E * np.exp(sd_E), color="0.6", alpha=0.2, lw=0
            )
            axes.plot(epochs[best], mean_E[best], "o", color="0.35", ms=7, zorder=5)
        elif arm.is_identity:
            same = f"{results.differing_weights[arm.name]} of {results.weights * arm.seeds:,} weights differ by a bit"
            axes.plot(
                epochs, mean_E, color="k", lw=1.3, ls=(0, (4, 3)), label=f"{arm.name}: {same}", zorder=4
            )
        else:
            colour = colours[arm.name]
            style = DASHES[list(colours).index(arm.name) // len(COLOURS) % len(DASHES)]
            label = f"{arm.name} (n = {arm.seeds})"
            axes.plot(epochs, mean_E, color=colour, lw=1.6, ls=style, label=label, zorder=3)
            if banded:
                band = (mean_E * np.exp(-sd_E), mean_E * np.exp(sd_E))
                axes.fill_between(epochs, *band, color=colour, alpha=0.15, lw=0)
            axes.plot(epochs[best], mean_E[best], "o", color=colour, ms=6, zorder=5)
    for name, style in (("persistence", ":"), ("AR", (0, (1, 3)))):
        if name in results.baselines:
            label, val = forecast(name, setting.window), results.baselines[name]["val"]
            axes.axhline(val, color="0.25", lw=1, ls=style, label=label)
    drawn = "mean and sd over seeds" if banded else "mean over seeds, for one_fit with sd"
    axes.set(xlabel="epoch", ylabel=f"validation loss (standardised; {drawn})", yscale="log")
    axes.yaxis.set_major_formatter(FormatStrFormatter("%.3g"))
    axes.yaxis.set_minor_formatter(FormatStrFormatter("%.3g"))
    axes.tick_params(axis="y", which="minor", labelsize=7)
    axes.set_title("Validation loss; a dot marks the lowest of each mean", fontsize=9, loc="left")
    axes.legend(fontsize=7.5, frameon=False)


def _forest(axes: Axes, arms: Sequence[ar.Arm], results: Results, colours: dict[str, str]) -> None:
    shown = [arm for arm in arms if arm.name != ar.REFERENCE and not arm.control]
    controls = [arm for arm in arms if arm.control]
    axes.axvspan(stats.percent(-stats.DELTA), stats.percent(stats.DELTA), color="0.88", lw=0)
    axes.axvline(0, color="0.4", lw=0.8)
    names = []
    for y, arm in enumerate([*shown, *controls]):
        names.append(arm.name)
        for metric, dy, filled in zip(METRICS, (-0.17, 0.17), (True, False), strict=True):
            _effect(
                axes, y + dy, results.effects[arm.name][metric], colours.get(arm.name, "0.25"), filled, arm
            )
    if controls and shown:
        axes.axhline(len(shown) - 0.5, color="k", lw=0.8)
        axes.text(
            0.01, len(shown) - 0.45, "controls", transform=axes.get_yaxis_transform(), fontsize=7, va="top"
        )
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel("change of test loss relative to one_fit, %")
    for filled, metric in ((True, METRICS[0]), (False, METRICS[1])):
        axes.plot([], [], "o", color="0.25", mfc="0.25" if filled else "w", label=metric)
    axes.legend(fontsize=7.5, frameon=False, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2)
    axes.spines["right"].set_visible(False)


def _effect(axes: Axes, y: float, effect: stats.Effect, colour: str, filled: bool, arm: ar.Arm) -> None:
    place = {"transform": axes.get_yaxis_transform(), "fontsize": 7.5, "va": "center"}
    if effect.verdict == "identical":
        if filled:
            axes.plot(0, y + 0.17, "D", color="k", ms=6)
            axes.text(1.01, y + 0.17, "= bits", **place)
        return
    text = SHORT.get(effect.verdict, effect.verdict)
    if arm.nudged:
        text = "no verdict"
    elif effect.qualifier == "too few seeds":
        text = f"n = {effect.n}: too few to call"
    elif effect.diverged or effect.diverged_ref:
        text += f" ({effect.diverged} of {effect.n} diverged)"
    mean, lo, hi = (stats.percent(x) for x in (effect.mean, effect.lo, effect.hi))
    if np.isfinite(mean):
        fill = colour if filled else "w"
        axes.errorbar(
            mean, y, xerr=[[mean - lo], [hi - mean]], fmt="o", color=colour, mfc=fill, ms=5, capsize=2
        )
    axes.text(1.01, y, text, **place)
