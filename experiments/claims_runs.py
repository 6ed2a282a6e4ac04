"""The trainings that decide the claims: the question's network on sunspots, once in each way of calling fit.

Letters: N seeds, E epochs.
"""

import time
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console

from experiments import report, training
from experiments.arms import differing
from experiments.setting import FIRST_SEED, Built, Setting, build, rates
from experiments.source import open_source
from lstm_sched import keras_rules, population, rules
from lstm_sched.learner import Learner
from lstm_sched.member import Hyper, Selected, member, originate
from lstm_sched.policies import CONTINUE, KERAS_INITIAL_EPOCH, KERAS_LOOP, KERAS_RECOMPILE, KERAS_RESEED
from lstm_sched.state import TrainState

QUESTION = Setting(epochs=25)  # enough for ten bad epochs after the best one
SMALL = Setting(
    epochs=100, hidden=8, window=6, split=(0.1, 0.2), dropout=0.2
)  # example 3's length, at little cost
FAST = 8.0  # times the rate: one fit with example 2's rule then stops within 25 epochs
PATIENCE = 10  # of example 2
DROP_AT = 6  # epochs before the rate is halved, where all three rules are used at once
SHARE = 0.1  # of the rate, in the second half of example 3
CHUNK = 5  # epochs between two lines of progress


class Way(NamedTuple):
    """One way of calling fit: what a boundary keeps, after how many epochs it falls (0: one fit), and the rules."""

    policy: TrainState = CONTINUE
    every: int = 0
    ends: int = (
        0  # after every n epochs the best weights are put back, if the rule says so; 0: once, at the end
    )
    rate: float = 1.0  # times the setting's
    watch: Any = None  # rules; None for none


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


def of_question(epochs: int) -> dict[str, Way]:
    """The loop as it is, and with rules. Kept: the loop's own counters outlive each fit, as a variable of it would."""
    stopping = keras_rules.watch(epochs, stopping=keras_rules.stopping(PATIENCE, restore=True))
    halved_E = np.where(np.arange(epochs) == DROP_AT, 0.5, 1.0)
    everything = keras_rules.watch(
        epochs,
        rate=keras_rules.compounding(halved_E),
        stopping=keras_rules.stopping(PATIENCE // 2, restore=True),
        plateau=keras_rules.plateau(patience=2, factor=0.5),
    )
    return {
        "one_fit": Way(),
        "keras_loop": Way(KERAS_LOOP, every=1),
        "keras_recompile": Way(KERAS_RECOMPILE, every=1),
        "one_fit, stopping": Way(rate=FAST, watch=stopping),
        "kept loop, stopping": Way(CONTINUE, every=1, rate=FAST, watch=stopping),
        "example 2": Way(KERAS_LOOP, every=1, ends=1, rate=FAST, watch=stopping),
        "example 2 without its rule": Way(KERAS_LOOP, every=1, rate=FAST),
        "one_fit, all rules": Way(rate=FAST, watch=everything),
        "kept loop, all rules": Way(CONTINUE, every=1, rate=FAST, watch=everything),
    }


def of_small(epochs: int) -> dict[str, Way]:
    """Streams that a loop keeps or repeats, and the repairs of example 3."""
    times_E = np.where(np.arange(epochs) < epochs // 2, 1.0, SHARE)
    compounding = keras_rules.watch(epochs, keras_rules.compounding(times_E))
    return {
        "one_fit": Way(),
        "keras_loop": Way(KERAS_LOOP, every=1),
        "keras_reseed": Way(KERAS_RESEED, every=1),
        "callback in each fit": Way(KERAS_LOOP, every=1, watch=compounding),
        "callback in one fit": Way(watch=compounding),
        "callback, initial_epoch": Way(KERAS_INITIAL_EPOCH, every=1, watch=compounding),
        "absolute rate in one fit": Way(
            watch=keras_rules.watch(epochs, keras_rules.absolute(times_E)),
        ),
    }


def prepare(setting: Setting) -> Built:
    """Data and learner, with room for rules."""
    built = build(setting, open_source(setting, setting.data[0]).split)
    return built._replace(learner=built.learner._replace(watched=True))


def train(setting: Setting, built: Built, ways: dict[str, Way], seeds: int, out: Console) -> Runs:
    """All ways on all seeds as one population; says how long it takes."""
    learner, layout, data, epochs = built.learner, built.layout, built.split.data, setting.epochs
    member_M = population.stack(
        [_member(setting, built, way, FIRST_SEED + n) for way in ways.values() for n in range(seeds)]
    )
    compiled, epoch_seconds = training.probe(learner, layout, member_M, data)
    out.print(
        f"  {len(ways) * seeds} trainings of {epochs} epochs, LSTM({setting.hidden}); compiled in "
        f"{report.duration(compiled)}, expected: {report.duration(epoch_seconds * epochs)} or less"
    )
    began, chunks = time.monotonic(), []
    for chunk in population.train(learner, layout, member_M, data, epochs, chunk=CHUNK):
        chunks.append(chunk)
        done, spent = min(len(chunks) * CHUNK, epochs), time.monotonic() - began
        if done * 4 // epochs > (done - CHUNK) * 4 // epochs:
            left = spent / done * (epochs - done)
            out.print(f"  epoch {done}/{epochs}, {spent:.0f} s elapsed, about {left:.0f} s left")
    state_M = chunks[-1][0]
    log_M = jax.tree.map(lambda *logs: np.concatenate(logs, axis=1), *(log for _, log in chunks))

    def run(i: int) -> Run:
        at = np.s_[i * seeds : (i + 1) * seeds]
        params, selected = jax.tree.map(lambda leaf: leaf[at], (state_M.state.params, state_M.selected))
        curves = log_M.loss[at], log_M.val[at], log_M.rate[at], log_M.trained[at]
        return Run(params, selected, state_M.state.step[at], *curves)

    return {name: run(i) for i, name in enumerate(ways)}


def _member(setting: Setting, built: Built, way: Way, seed: int):
    learner: Learner = built.learner
    epochs, origin = setting.epochs, originate(learner, seed)
    hp = Hyper(
        rates(setting, built.steps, way.rate),
        watch=keras_rules.watch(epochs) if way.watch is None else way.watch,
    )
    when = rules.every(way.every, epochs) if way.every else rules.never(epochs)
    return member(learner, hp, way.policy, when, origin, rules.ends(way.ends or epochs, epochs))


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
    return differing(runs[one].params, runs[other].params)


def differ(runs: Runs, count: int) -> str:
    """That count, of how many."""
    total = sum(leaf.size for leaf in jax.tree.leaves(runs["one_fit"].params))
    return f"{count:,} of {total:,} weights differ by a bit"


def span(values_N: np.ndarray) -> str:
    """One whole number, or the ends of several."""
    lo, hi = int(np.min(values_N)), int(np.max(values_N))
    return f"{lo:,}" if lo == hi else f"{lo:,} to {hi:,}"
