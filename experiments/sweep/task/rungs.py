"""The training of a task: its cells from rung to rung, in slices, each with curves and checkpoints of its own.

What is decided between rungs follows from what is on disk, so a climb that goes on is the one that was not cut short,
bit for bit. Letters: M cells that can be run, E epochs.
"""

import shutil
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console

from experiments.harness import outcome, run_folder, source, training
from experiments.harness.setting import Built, Setting, build
from experiments.sweep.task import halving as ha
from experiments.sweep.task import trials
from lstm_sched import population
from lstm_sched.members import Member, Progress
from lstm_sched.population import stacking

OUTCOME = ("test_end", "test_selected", "val_end", "val_selected", "train_end", "best_epoch", "diverged")


class Climbed(NamedTuple):
    """What came of a task's cells."""

    rows: list[dict[str, Any]]  # one a cell
    numbers: list[int]  # of the cells that have curves
    curves: dict[str, np.ndarray]  # [M, E], nan after a cell's last epoch
    baselines: dict[str, dict[str, float]]  # forecast -> part -> loss
    spent: dict[str, float]  # seconds on what


class _Task(NamedTuple):
    """What all rungs share."""

    folder: Path
    config: Setting
    built: Built
    cells: list[ha.Cell]
    members: list[Member]
    parts: int
    console: Console


def failed(why: str) -> dict[str, Any]:
    """The end of the row of a cell that could not be run."""
    return {"state": "failed", "why": why, "epochs_run": 0} | dict.fromkeys(OUTCOME, "")


def climb(
    folder: Path,
    cells: Sequence[ha.Cell],
    config: Setting,
    halving: Mapping[str, Any] | None,
    parts: int,
    console: Console,
    digest: str | None = None,
) -> Climbed:
    """Train the cells, `parts` slices one after another, going on from what the folder holds.

    Raises what `training.train` does, and ValueError for a task that cannot be, as where the data are not those of
    the digest.
    """
    climbing = ha.rungs(halving, config.epochs)
    population.use_cores(config.devices)
    data = source.open_source(config, config.data[0])
    if digest not in (None, data.digest):
        raise ValueError(
            f"data: other values of {data.name} than the sweep was begun with; allowed: the same"
        )
    built = build(config, data.split)
    made, why = trials.members(cells, config, built)
    ready = [cell for cell, reason in zip(cells, why, strict=True) if not reason]
    baselines = outcome.loss_of_baselines(config.loss, built)
    mean = baselines["mean"]["train"]
    for other in folder.glob("*"):
        if other.name != str(parts):  # cut into other slices
            shutil.rmtree(other)
    task = _Task(folder / str(parts), config, built, ready, made, parts, console)
    curves = {name: np.full((len(ready), config.epochs), np.nan) for name in run_folder.CURVES}
    ran_M = np.zeros(len(ready), int)
    spent = {"seconds_compiling": 0.0, "seconds_epoch": 0.0, "seconds_training": 0.0, "seconds_saving": 0.0}
    in_M, state_M, ends_M = np.arange(len(ready)), None, None
    for rung in climbing if ready else ():
        state_M, of_rung = _train(task, rung, in_M, state_M, spent)
        ran_M[in_M] = rung.end
        for name, curve in curves.items():
            curve[in_M, rung.start : rung.end] = of_rung[name]
        last_M = state_M.state.params, state_M.selected
        ends_M = last_M if ends_M is None else jax.tree.map(partial(_put, in_M), ends_M, last_M)
        lost_M = outcome.who_diverged(mean, {name: curve[in_M, : rung.end] for name, curve in curves.items()})
        score_M = np.where(lost_M, np.inf, np.log(state_M.selected.val))
        stay = ha.best([ready[m] for m in in_M], score_M, rung.keep)
        in_M, state_M = in_M[stay], population.to_host(state_M, stay)
    rows = iter([] if ends_M is None else _rows(task, mean, ran_M, curves, *ends_M))
    own = [
        trials.columns(cell, config) | (failed(reason) if reason else next(rows))
        for cell, reason in zip(cells, why, strict=True)
    ]
    return Climbed(own, [cell["number"] for cell in ready], curves, baselines, spent)


def _put(at: np.ndarray, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    old[at] = new
    return old


def _slices(size: int, parts: int) -> list[np.ndarray]:
    """Places of as many cells as there may be at once."""
    width = -(-size // parts)
    return [np.arange(size)[start : start + width] for start in range(0, size, width)]


def _train(
    task: _Task, rung: ha.Rung, in_M: np.ndarray, begin_M: Progress | None, spent: dict[str, float]
) -> tuple[Progress, dict[str, np.ndarray]]:
    """The cells at places `in_M` at the end of the rung, and their curves in it; the seconds are added to `spent`."""
    learner, layout, data = task.built.learner, task.built.layout, task.built.split.data
    states, curves = [], []
    for at in _slices(in_M.size, task.parts):
        cells, first = [task.cells[m] for m in in_M[at]], int(in_M[at[0]])
        folder = task.folder / f"{rung.start}-{rung.end}" / f"{first}-{at.size}"
        folder.mkdir(parents=True, exist_ok=True)
        member_M = population.stack([task.members[m] for m in in_M[at]])
        if not spent["seconds_epoch"]:
            spent["seconds_compiling"], seconds = training.probe(learner, layout, member_M, data)
            spent["seconds_epoch"] = seconds / at.size  # of one cell
        chunk = training.chunk_of(spent["seconds_epoch"] * at.size, task.config.epochs)
        labels = [(str(cell["number"]), cell["seed"]) for cell in cells]
        begun = training.resumed(folder, learner, member_M, task.console)
        if begun is None and begin_M is not None:
            begun = population.to_host(begin_M, at)
        began = time.monotonic()
        states.append(
            training.train(
                folder,
                learner,
                layout,
                member_M,
                labels,
                data,
                rung.end,
                chunk,
                task.console,
                task.config.save_every,
                begun,
            )
        )
        spent["seconds_training"] += time.monotonic() - began
        status = folder / "status.json"
        spent["seconds_saving"] += run_folder.read_json(status)["seconds_saving"] if status.exists() else 0.0
        curves.append(run_folder.read_curves(folder, labels, rung.end, rung.start))
    return _joined(states), {name: np.concatenate([c[name] for c in curves]) for name in run_folder.CURVES}


def _joined(trees: list[Any]) -> Any:
    """Trees on the host as one."""
    return trees[0] if len(trees) == 1 else jax.tree.map(stacking.concatenate, *trees)


def _rows(
    task: _Task, mean: float, ran_M: np.ndarray, curves: dict[str, np.ndarray], end_M: Any, selected_M: Any
) -> list[dict[str, Any]]:
    """The end of the row of each cell. The test part is read here, twice a cell, and nowhere else."""
    several = []
    for at in _slices(ran_M.size, task.parts):
        params = population.to_host((end_M, selected_M.params), at)
        several.append({metric: x.mean(1) for metric, x in outcome.on_test(task.built, *params).items()})
    rows = []
    for m, ran in enumerate(ran_M):
        loss = {
            metric: np.concatenate([part[metric] for part in several])[m : m + 1] for metric in several[0]
        }
        own = {name: curve[m : m + 1, :ran] for name, curve in curves.items()}
        lost = outcome.who_diverged(mean, own, *loss.values())
        state = "finished" if ran == task.config.epochs else "pruned"
        came = outcome.columns(loss, own, selected_M.epoch[m : m + 1], lost, 0)
        rows.append({"state": state, "why": "", "epochs_run": int(ran), **came})
    return rows


def progress(folder: Path) -> int:
    """Epochs that the cells of the task have run so far, as far as it has said."""
    total = 0
    for status in folder.glob("*/*/*/status.json"):
        start = int(status.parent.parent.name.partition("-")[0])
        size = int(status.parent.name.partition("-")[2])
        total += size * (run_folder.read_json(status)["epochs"] - start)
    return total
