"""Report sections shared by experiments that compare arms with one fit: effects, controls, curves, …"""

import math
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from experiments.harness import arms as ar
from experiments.harness import wording
from experiments.harness.document import EVERYWHERE, Block, Figure, Section, Table
from experiments.harness.outcome import METRICS, Results
from experiments.harness.setting import Setting
from lstm_sched import stats
from lstm_sched.policy import fates

WORSE = 2.0  # one fit at this multiple of the rate must be worse after the last epoch
COLUMNS = ("arm", "drops", "n", *METRICS, "verdict")
SPAN = 100  # times the lowest loss: the upper end of the curves' axis
SHOWN = frozenset({"terminal", "page"})


def effects(arms: Sequence[ar.Arm], results: Results, aliases: Mapping[str, str]) -> list[Block]:
    """The section on the arms that answer the question: a table, and notes needed to read it."""
    spread = wording.spread(results)
    sds = wording.listed([f"{sd} {metric}" for metric, sd in spread.items()])
    notes = [f"Between seeds the test loss of one_fit has a standard deviation of {sds}."] * bool(spread)
    notes += [
        f"{name} drops what {arm} drops, as far as this setting reads it: one arm with two names."
        for name, arm in aliases.items()
    ]
    table = effect_table([arm for arm in arms if not arm.control], results, "the deciding interval")
    return [table, *notes]


def effect_table(arms: Sequence[ar.Arm], results: Results, interval: str) -> Table:
    """One row per arm: what it drops, its change on both metrics, its verdict."""
    return Table(
        title=f"Change of test loss relative to one_fit, in % (in brackets {interval}; n: seeds)",
        columns=COLUMNS,
        rows=[
            (
                arm.name,
                wording.drops(arm),
                arm.seeds,
                *(wording.change(results.effects[arm.name][metric]) for metric in METRICS),
                wording.verdict(arm, results),
            )
            for arm in arms
            if arm.name != ar.REFERENCE
        ],
        numeric=frozenset({"n"}),
    )


def controls(arms: Sequence[ar.Arm], results: Results) -> Section:
    """The section on the controls, whose results are known beforehand, and what follows from them."""
    known = [arm for arm in arms if arm.control]
    blocks: list[Block] = ["This run has no controls, so nothing shows which changes it could have seen."]
    if known:
        table = effect_table(known, results, "the 95 % interval of each control by itself")
        blocks = [table, *(_control(arm, results) for arm in known)]
    scope = "Intervals are over seeds: they concern this series, split and test period, and no other."
    return Section(title="Controls, and what may be concluded", blocks=[*blocks, scope], places=EVERYWHERE)


def _control(arm: ar.Arm, results: Results) -> str:
    if arm.nudged:
        return (
            f"{arm.name}: one weight was moved by the smallest step of its number format. The change that this makes "
            "in single runs is the chaos floor; it is no statement about means."
        )
    if arm.rate_factor == WORSE:
        if results.effects[arm.name][stats.Metric.END].verdict == "worse":
            return f"{arm.name}: worse after the last epoch, as expected: this run can see a change of that kind."
        return (
            f"{arm.name}: INSENSITIVE: twice the rate is not worse after the last epoch, as it should be, so this run "
            "may miss a change of that kind."
        )
    if arm.rate_factor != 1:
        return f"{arm.name}: a mark on the ruler by which effects are stated as changes of the rate."
    same = results.differing[arm.name] == 0
    return f"{arm.name}: one_fit again, under another name and in another place. " + (
        "It gave the same bits, as it must." if same else "It did not give the same bits: this run is void."
    )


def baselines(setting: Setting, results: Results) -> Section:
    """The losses of forecasts without a network, those of one fit, and which part is hardest to predict."""
    parts = ("train", "val", "test")
    forecasts = [
        (wording.forecast(name, setting.window), *(f"{losses[part]:.4f}" for part in parts))
        for name, losses in results.baselines.items()
    ]
    table = Table(
        title=f"{setting.loss} of the target, standardised by the training part",
        columns=("forecast", *parts),
        rows=[*forecasts, *_of_one_fit(results)],
        numeric=frozenset(parts),
    )
    losing = " ".join(wording.loses(results, setting.window))
    blocks: list[Block] = [
        table,
        "one_fit: mean over seeds; its loss on train is the mean over the epoch, each window before its update.",
        losing or "One fit is better than each of these forecasts on the test part.",
    ]
    simple = results.baselines.get("persistence")
    if simple and simple["train"]:
        ratios = " and ".join(f"{simple[part] / simple['train']:.2f} on {part}" for part in parts[1:])
        blocks.append(
            "How hard is each part? The loss of persistence, which repeats the last value, relative to that on train: "
            f"{ratios} (above 1: harder than training)."
        )
    return Section(title="Forecasts that need no network", blocks=blocks, places=SHOWN)


def _of_one_fit(results: Results) -> list[tuple[str, ...]]:
    """Its losses on each part, at the epoch of each metric."""
    rows, last = results.rows(ar.REFERENCE), results.curves["val"].shape[1] - 1
    epochs = {
        stats.Metric.END: np.full(rows.size, last),
        stats.Metric.SELECTED: results.best_epoch_M[rows] - 1,
    }
    cells = []
    for metric, epoch_N in epochs.items():
        on_curves = [results.curves[name][rows, epoch_N] for name in ("loss", "val")]
        losses = [float(np.mean(loss_N)) for loss_N in (*on_curves, results.loss[metric][rows])]
        cells.append((f"one_fit {metric}", *(f"{x:.4f}" if math.isfinite(x) else "–" for x in losses)))
    return cells


def every_training(arms: Sequence[ar.Arm], results: Results) -> Section:
    """Small multiples of validation loss."""
    caption = (
        "Validation loss of each training: one panel per arm and one thin line per seed; the thick grey line is the "
        "mean of one_fit. Where a line ends its loss is not finite; the picture ends at "
        f"{SPAN} times the lowest loss."
    )
    shows = "Validation loss against epoch, one panel per arm and one line per seed."
    drawn = Figure(draw=partial(_draw_seeds, arms, results), shows=shows, caption=caption)
    return Section(title="Every training", blocks=[drawn])


def _draw_seeds(arms: Sequence[ar.Arm], results: Results) -> str:
    from experiments.harness import curves  # no measurement waits for matplotlib

    return curves.seeds(arms, results, SPAN)


def dropped(arms: Sequence[ar.Arm]) -> Section:
    """The parts of the state that each arm drops at a boundary, whether or not the run reads them."""
    rows = [(arm.name, _dropped(arm)) for arm in arms if not arm.control]
    table = Table(title="What each arm drops at a boundary", columns=("arm", "drops"), rows=rows)
    note = "A run need not use every component; everything that is not listed is kept."
    return Section(title="What survives a boundary", blocks=[table, note], places=SHOWN)


def _dropped(arm: ar.Arm) -> str:
    lost = {name: fraction for name, fraction in fates(arm.policy).items() if fraction != 1}
    return ", ".join(f"{name} (keeps {f:g})" if f else name for name, f in lost.items()) or "nothing"
