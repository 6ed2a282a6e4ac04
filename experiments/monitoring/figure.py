"""The picture of `monitoring`: the epochs that each rule trains, and its effect on the test loss."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.harness.arms import Arm
from experiments.harness.figures import COLOURS, STYLE
from experiments.harness.outcome import METRICS, Results
from lstm_sched import stats


def draw(
    single: Sequence[tuple[str, int, Arm]],
    ran: Mapping[str, np.ndarray],
    looped: Mapping[int, np.ndarray],
    results: Results,
) -> Figure:
    """The whole picture.

    Args:
        single: rule, patience and arm of each rule in one fit.
        ran: arm -> epochs that each seed trained.
        looped: patience -> the same, for the loop that passes the stopping rule to every fit.
        results: the results of the run.
    """
    rules = list(dict.fromkeys(rule for rule, _, _ in single))
    patiences = sorted({patience for _, patience, _ in single})
    with plt.rc_context(STYLE):
        fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
        _epochs(left, [(p, ran[arm.name]) for rule, p, arm in single if rule == rules[0]], looped, patiences)
        left.axhline(results.curves["val"].shape[1], color="0.6", lw=3, zorder=1)
        _effects(right, single, rules, patiences, results)
        for axes in (left, right):
            axes.set_xticks(range(len(patiences)), [str(p) for p in patiences])
            axes.set_xlabel("patience, epochs")
    return fig


def _epochs(
    axes: Axes,
    stopped: Sequence[tuple[int, np.ndarray]],
    looped: Mapping[int, np.ndarray],
    patiences: Sequence[int],
) -> None:
    for patience, ran_N in stopped:
        x = patiences.index(patience)
        spread_N = np.linspace(-0.12, 0.12, len(ran_N)) if len(ran_N) > 1 else np.zeros(1)
        label = ("one fit, one seed", "one fit, median") if x == 0 else (None, None)
        axes.plot(x + spread_N, ran_N, "o", color=COLOURS[1], ms=4, alpha=0.6, label=label[0], zorder=3)
        axes.plot(
            [x - 0.2, x + 0.2], [np.median(ran_N)] * 2, color=COLOURS[1], lw=2.5, label=label[1], zorder=4
        )
    for i, (patience, ran_N) in enumerate(looped.items()):
        label = "loop that passes it to every fit" if i == 0 else None
        axes.plot(
            [patiences.index(patience) + 0.3] * len(ran_N),
            ran_N,
            "s",
            color=COLOURS[0],
            ms=6,
            label=label,
            zorder=3,
        )
    axes.set(ylabel="epochs run before stopping", ylim=(0, None))
    axes.set_title("Stopping: how long it trains (grey: all epochs)", fontsize=9, loc="left")
    axes.legend(fontsize=7.5, frameon=False, loc="center right")


def _effects(
    axes: Axes,
    single: Sequence[tuple[str, int, Arm]],
    rules: Sequence[str],
    patiences: Sequence[int],
    results: Results,
) -> None:
    axes.axhspan(stats.percent(-stats.DELTA), stats.percent(stats.DELTA), color="0.88", lw=0)
    axes.axhline(0, color="0.4", lw=0.8)
    for rule, patience, arm in single:
        for i, metric in enumerate(METRICS):
            effect, colour = results.effects[arm.name][metric], COLOURS[1 - rules.index(rule)]
            x = patiences.index(patience) + 0.2 * (2 * rules.index(rule) + i - 1.5)
            mean, lo, hi = (stats.percent(v) for v in (effect.mean, effect.lo, effect.hi))
            if effect.verdict == "identical":
                mean = lo = hi = 0.0
            if np.isfinite(mean):
                fill = "w" if i else colour
                axes.errorbar(
                    x, mean, yerr=[[mean - lo], [hi - mean]], fmt="o", color=colour, mfc=fill, ms=5, capsize=2
                )
    for rule in rules:
        for i, metric in enumerate(METRICS):
            colour = COLOURS[1 - rules.index(rule)]
            axes.plot([], [], "o", color=colour, mfc="w" if i else colour, label=f"{rule}, {metric}")
    axes.set_ylabel("change of test loss relative to one fit without a rule, %")
    axes.set_title("What it does to the test loss, in one fit", fontsize=9, loc="left")
    axes.legend(fontsize=7.5, frameon=False)
