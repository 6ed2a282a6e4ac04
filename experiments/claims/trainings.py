"""The trainings that decide the claims: the question's network on sunspots, once in each way of calling fit.

Letters: N seeds, E epochs, W weights of a network.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from experiments.harness import arms, training
from experiments.harness.setting import FIRST_SEED, Setting, build
from experiments.harness.source import open_source
from lstm_sched import monitor, population
from lstm_sched.presets import CONTINUE, KERAS_INITIAL_EPOCH, KERAS_LOOP, KERAS_RECOMPILE, KERAS_RESEED

SETTINGS = {
    "question": Setting(epochs=25),  # enough for ten bad epochs after the best one
    # Example 3's length, at little cost.
    "small": Setting(epochs=100, hidden=8, window=6, split=(0.1, 0.2), dropout=0.2),
}
FAST = 8.0  # factor on the rate, so that one fit with example 2's rule stops within 25 epochs
PATIENCE = 10  # of example 2
DROP_AT = 6  # epochs before the rate is halved, where all three rules are used at once
SHARE = 0.1  # of the rate, in the second half of example 3
CHUNK = 5  # epochs between progress reports


@dataclass(frozen=True, kw_only=True)
class Run:
    """The results of one way of calling fit, on the host, for N seeds."""

    weights_NW: np.ndarray  # the last weights
    best_NW: np.ndarray  # the weights of lowest validation loss
    lowest_N: np.ndarray  # the lowest validation loss
    step_N: np.ndarray  # number of updates
    loss_NE: np.ndarray
    val_NE: np.ndarray
    rate_NE: np.ndarray
    trained_NE: np.ndarray  # False once a fit has stopped; the other values are then those of its last epoch

    @property
    def epochs_N(self) -> np.ndarray:
        """How many epochs were trained."""
        return self.trained_NE.sum(1)


Runs = dict[str, Run]  # by the name of the way


def ways(network: str, epochs: int, seeds: int) -> list[arms.Arm]:
    """The ways of calling fit that are compared on a network of SETTINGS."""
    none = monitor.watch(epochs)
    loop, one_fit = {"policy": KERAS_LOOP, "every": 1}, {"policy": CONTINUE}
    kept = {
        "policy": CONTINUE,
        "every": 1,
    }  # the loop's own counters outlive each fit, as a variable would
    if network == "question":  # the loop as written, and with rules
        stopping = {
            "watch": monitor.watch(epochs, stopping=monitor.stopping(PATIENCE, restore=True)),
            "rate_factor": FAST,
        }
        halved_E = np.where(np.arange(epochs) == DROP_AT, 0.5, 1.0)
        watch = monitor.watch(
            epochs,
            rate=monitor.compounding(halved_E),
            stopping=monitor.stopping(PATIENCE // 2, restore=True),
            plateau=monitor.plateau(patience=2, factor=0.5),
        )
        everything = {"watch": watch, "rate_factor": FAST}
        fields = {
            "one_fit": one_fit,
            "keras_loop": loop,
            "keras_recompile": {"policy": KERAS_RECOMPILE, "every": 1},
            "one_fit, stopping": one_fit | stopping,
            "kept loop, stopping": kept | stopping,
            "example 2": loop | stopping | {"fit_ends": 1},
            "example 2 without its rule": loop | {"rate_factor": FAST},
            "one_fit, all rules": one_fit | everything,
            "kept loop, all rules": kept | everything,
        }
    else:  # streams that a loop keeps or repeats, and the repairs of example 3
        times_E = np.where(np.arange(epochs) < epochs // 2, 1.0, SHARE)
        compounding = {"watch": monitor.watch(epochs, monitor.compounding(times_E))}
        fields = {
            "one_fit": one_fit,
            "keras_loop": loop,
            "keras_reseed": {"policy": KERAS_RESEED, "every": 1},
            "callback in each fit": loop | compounding,
            "callback in one fit": one_fit | compounding,
            "callback, initial_epoch": {"policy": KERAS_INITIAL_EPOCH, "every": 1} | compounding,
            "absolute rate in one fit": one_fit | {"watch": monitor.watch(epochs, monitor.absolute(times_E))},
        }
    way = partial(arms.Arm, seeds=seeds)
    return [way(name=name, **{"watch": none} | given) for name, given in fields.items()]


def train(setting: Setting, compared: Sequence[arms.Arm], out: Console) -> Runs:
    """Train all ways on all seeds as one population, and print the progress."""
    built = build(setting, open_source(setting, setting.data[0]).split, watched=True)
    epochs, labels = setting.epochs, arms.labels(compared)
    out.print(f"  {len(labels)} trainings of {epochs} epochs, LSTM({setting.hidden}): compiling")
    member_M = population.stack(arms.members(compared, setting, built))
    chunks = []
    with training.bar(out, epochs, 0) as show:
        for chunk in population.train(
            built.learner, built.layout, member_M, built.split.data, epochs, chunk=CHUNK
        ):
            chunks.append(chunk)
            show(min(len(chunks) * CHUNK, epochs))
    end_M = chunks[-1][0]
    log_M = jax.tree.map(lambda *logs: np.concatenate(logs, axis=1), *(log for _, log in chunks))
    arrays = {
        "weights_NW": flat(end_M.state.params),
        "best_NW": flat(end_M.selected.params),
        "lowest_N": end_M.selected.val,
        "step_N": end_M.state.step,
        **{f"{name}_NE": getattr(log_M, name) for name in ("loss", "val", "rate", "trained")},
    }
    return {
        way.name: Run(
            **{field: array[[name == way.name for name, _ in labels]] for field, array in arrays.items()}
        )
        for way in compared
    }


def flat(params_M: Any) -> np.ndarray:
    """The weights of each member, flattened."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(params_M)]
    return np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)


def save(path: Path, runs: Runs) -> None:
    """Write all arrays of the runs as one .npz file, atomically."""
    arrays = {
        f"{name}/{field}": array
        for name, run in runs.items()
        for field, array in dataclasses.asdict(run).items()
    }
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    part.replace(path)


def load(path: Path) -> Runs:
    """Read the runs from a file."""
    fields: dict[str, dict[str, np.ndarray]] = {}
    with np.load(path) as arrays:
        for key in arrays.files:
            name, _, field = key.rpartition("/")
            fields.setdefault(name, {})[field] = arrays[key]
    return {name: Run(**arrays) for name, arrays in fields.items()}


def rows(networks: dict[str, Runs]) -> list[dict[str, Any]]:
    """The raw numbers: one row per epoch of each training. A stopped fit repeats its last epoch."""
    return [
        {
            "network": network,
            "training": name,
            "seed": FIRST_SEED + n,
            "epoch": e + 1,
            "trained": run.trained_NE[n, e],
            "loss": run.loss_NE[n, e],
            "val": run.val_NE[n, e],
            "rate": run.rate_NE[n, e],
        }
        for network, runs in networks.items()
        for name, run in runs.items()
        for n, e in np.ndindex(run.loss_NE.shape)
    ]
