"""The trainings that decide the claims: the question's network on sunspots, once in each way of calling fit.

Letters: N seeds, E epochs.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console

from experiments.harness import arms, report, training
from experiments.harness.setting import FIRST_SEED, Built, Setting, build
from experiments.harness.source import open_source
from lstm_sched import monitor, population
from lstm_sched.members import Selected
from lstm_sched.presets import CONTINUE, KERAS_INITIAL_EPOCH, KERAS_LOOP, KERAS_RECOMPILE, KERAS_RESEED

QUESTION = Setting(epochs=25)  # enough for ten bad epochs after the best one
# Example 3's length, at little cost.
SMALL = Setting(epochs=100, hidden=8, window=6, split=(0.1, 0.2), dropout=0.2)
FAST = 8.0  # times the rate: one fit with example 2's rule then stops within 25 epochs
PATIENCE = 10  # of example 2
DROP_AT = 6  # epochs before the rate is halved, where all three rules are used at once
SHARE = 0.1  # of the rate, in the second half of example 3
CHUNK = 5  # epochs between two signs of life


class Run(NamedTuple):
    """What a way of calling fit left, on the host, for N seeds."""

    params: Any
    selected: Selected
    step_N: np.ndarray  # updates
    loss_NE: np.ndarray
    val_NE: np.ndarray
    rate_NE: np.ndarray
    trained_NE: np.ndarray  # False once a fit has stopped; the other values are then those of its last epoch

    @property
    def epochs_N(self) -> np.ndarray:
        """Epochs that were trained."""
        return self.trained_NE.sum(1)


Runs = dict[str, Run]  # by the name of the way


def of_question(epochs: int, seeds: int) -> list[arms.Arm]:
    """The loop as it is, and with rules. Kept: the loop's own counters outlive each fit, as a variable of it would."""
    none = monitor.watch(epochs)
    stopping = monitor.watch(epochs, stopping=monitor.stopping(PATIENCE, restore=True))
    halved_E = np.where(np.arange(epochs) == DROP_AT, 0.5, 1.0)
    everything = monitor.watch(
        epochs,
        rate=monitor.compounding(halved_E),
        stopping=monitor.stopping(PATIENCE // 2, restore=True),
        plateau=monitor.plateau(patience=2, factor=0.5),
    )
    way = partial(arms.Arm, seeds=seeds)
    return [
        way(name="one_fit", policy=CONTINUE, watch=none),
        way(name="keras_loop", policy=KERAS_LOOP, every=1, watch=none),
        way(name="keras_recompile", policy=KERAS_RECOMPILE, every=1, watch=none),
        way(name="one_fit, stopping", policy=CONTINUE, rate_factor=FAST, watch=stopping),
        way(name="kept loop, stopping", policy=CONTINUE, every=1, rate_factor=FAST, watch=stopping),
        way(name="example 2", policy=KERAS_LOOP, every=1, rate_factor=FAST, watch=stopping, fit_ends=1),
        way(name="example 2 without its rule", policy=KERAS_LOOP, every=1, rate_factor=FAST, watch=none),
        way(name="one_fit, all rules", policy=CONTINUE, rate_factor=FAST, watch=everything),
        way(name="kept loop, all rules", policy=CONTINUE, every=1, rate_factor=FAST, watch=everything),
    ]


def of_small(epochs: int, seeds: int) -> list[arms.Arm]:
    """Streams that a loop keeps or repeats, and the repairs of example 3."""
    none = monitor.watch(epochs)
    times_E = np.where(np.arange(epochs) < epochs // 2, 1.0, SHARE)
    compounding = monitor.watch(epochs, monitor.compounding(times_E))
    absolute = monitor.watch(epochs, monitor.absolute(times_E))
    way = partial(arms.Arm, seeds=seeds)
    return [
        way(name="one_fit", policy=CONTINUE, watch=none),
        way(name="keras_loop", policy=KERAS_LOOP, every=1, watch=none),
        way(name="keras_reseed", policy=KERAS_RESEED, every=1, watch=none),
        way(name="callback in each fit", policy=KERAS_LOOP, every=1, watch=compounding),
        way(name="callback in one fit", policy=CONTINUE, watch=compounding),
        way(name="callback, initial_epoch", policy=KERAS_INITIAL_EPOCH, every=1, watch=compounding),
        way(name="absolute rate in one fit", policy=CONTINUE, watch=absolute),
    ]


def prepare(setting: Setting) -> Built:
    """Data and learner, with room for rules."""
    return build(setting, open_source(setting, setting.data[0]).split, watched=True)


def train(setting: Setting, built: Built, ways: Sequence[arms.Arm], out: Console) -> Runs:
    """All ways on all seeds as one population; says how long it takes."""
    learner, layout, data, epochs = built.learner, built.layout, built.split.data, setting.epochs
    member_M = population.stack(arms.members(ways, setting, built))
    compiled, epoch_seconds = training.probe(learner, layout, member_M, data)
    labels = arms.labels(ways)
    out.print(
        f"  {len(labels)} trainings of {epochs} epochs, LSTM({setting.hidden}); compiled in "
        f"{report.duration(compiled)}, expected: {report.duration(epoch_seconds * epochs)} or less"
    )
    chunks = []
    with training.bar(out, epochs, 0) as show:
        for chunk in population.train(learner, layout, member_M, data, epochs, chunk=CHUNK):
            chunks.append(chunk)
            show(min(len(chunks) * CHUNK, epochs))
    state_M = chunks[-1][0]
    log_M = jax.tree.map(lambda *logs: np.concatenate(logs, axis=1), *(log for _, log in chunks))

    def run(way: arms.Arm) -> Run:
        at = np.array([name == way.name for name, _ in labels])
        params, selected = jax.tree.map(lambda leaf: leaf[at], (state_M.state.params, state_M.selected))
        curves = log_M.loss[at], log_M.val[at], log_M.rate[at], log_M.trained[at]
        return Run(params, selected, state_M.state.step[at], *curves)

    return {way.name: run(way) for way in ways}


def rows(groups: dict[str, Runs]) -> list[dict[str, Any]]:
    """Every epoch of every training, a row each: the raw numbers. A stopped fit repeats its last epoch."""
    return [
        {
            "network": group,
            "training": name,
            "seed": FIRST_SEED + n,
            "epoch": e + 1,
            "trained": run.trained_NE[n, e],
            "loss": run.loss_NE[n, e],
            "val": run.val_NE[n, e],
            "rate": run.rate_NE[n, e],
        }
        for group, runs in groups.items()
        for name, run in runs.items()
        for n, e in np.ndindex(run.loss_NE.shape)
    ]


def weights(runs: Runs, one: str, other: str) -> int:
    """How many of the last weights of two ways differ by a bit, over all seeds."""
    return arms.differing(runs[one].params, runs[other].params)


def differ(runs: Runs, count: int) -> str:
    """That count, of how many."""
    total = sum(leaf.size for leaf in jax.tree.leaves(runs["one_fit"].params))
    return f"{count:,} of {total:,} weights differ by a bit"


def span(values_N: np.ndarray) -> str:
    """One whole number, or the ends of several."""
    lo, hi = int(np.min(values_N)), int(np.max(values_N))
    return f"{lo:,}" if lo == hi else f"{lo:,} to {hi:,}"
