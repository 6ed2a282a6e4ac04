"""The training of a task: its trials from rung to rung, in slices, each with curves and checkpoints of its own.

    rungs/SLICES/START-END/FIRST-SIZE/   one slice in one rung: metrics.jsonl, checkpoint/, status.json

What is decided between rungs follows from what is on disk, so that a training that goes on is the uninterrupted one,
bit for bit. Letters: M trials that can be run, E epochs.
"""

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from experiments.harness import outcome, run_folder, source, training
from experiments.harness.setting import Built, Setting, build
from experiments.sweep.task import halving as ha
from experiments.sweep.task import trials as tr
from lstm_sched import population
from lstm_sched.members import Member, Progress
from lstm_sched.population import stacking

OUTCOME = ("test_end", "test_selected", "val_end", "val_selected", "train_end", "best_epoch", "diverged")
SPENT = ("seconds_compiling", "seconds_epoch", "seconds_training", "seconds_saving")


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The results of a task's trials."""

    rows: list[dict[str, Any]]  # one per trial
    numbers: list[int]  # of the trials that have curves
    curves: dict[str, np.ndarray]  # [M, E], nan after a trial's last epoch
    baselines: dict[str, dict[str, float]]  # forecast -> part -> loss
    seconds: dict[str, float]  # of SPENT; an epoch is that of one trial


@dataclass(frozen=True, kw_only=True)
class _Work:
    """The objects that all rungs share."""

    folder: Path
    setting: Setting
    built: Built
    trials: Sequence[ha.Trial]  # those that can be run
    members: Sequence[Member]
    slices: int
    console: Console
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SPENT, 0.0))


def failed(why: str) -> dict[str, Any]:
    """The end of the row of a trial that could not be run."""
    return {"state": "failed", "why": why, "epochs_run": 0} | dict.fromkeys(OUTCOME, "")


def train(folder: Path, task: Mapping[str, Any], setting: Setting, slices: int, console: Console) -> Trained:
    """Train the trials of task.json in `slices`, one after another, going on from what the folder holds.

    Raises as `training.train`, and ValueError for a task that cannot be trained, as where the data are not those of its
    digest.
    """
    rungs = ha.rungs(task["halving"], setting.epochs)
    population.use_cores(setting.devices)
    data = source.open_source(setting, setting.data[0])
    if task.get("data", data.digest) != data.digest:
        raise ValueError(
            f"data: {data.name} has other values than when the sweep began; allowed: the same values"
        )
    built = build(setting, data.split)
    members, reasons = tr.members(task["trials"], setting, built)
    ready = [trial for trial, reason in zip(task["trials"], reasons, strict=True) if not reason]
    baselines = outcome.loss_of_baselines(setting.loss, built)
    for old in folder.glob("*"):
        if old.name != str(slices):
            shutil.rmtree(old)
    work = _Work(
        folder=folder / str(slices),
        setting=setting,
        built=built,
        trials=ready,
        members=members,
        slices=slices,
        console=console,
    )
    outcomes, curves = _climb(work, rungs if ready else (), baselines["mean"]["train"])
    ran = iter(outcomes)
    rows = [
        tr.columns(trial, setting) | (failed(reason) if reason else next(ran))
        for trial, reason in zip(task["trials"], reasons, strict=True)
    ]
    return Trained(
        rows=rows,
        numbers=[trial["number"] for trial in ready],
        curves=curves,
        baselines=baselines,
        seconds=work.seconds,
    )


def _climb(
    work: _Work, rungs: Sequence[ha.Rung], mean: float
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """The end of each trial's row, and the curves; `mean` is the training loss of predicting the mean."""
    size = len(work.trials)
    curves = {name: np.full((size, work.setting.epochs), np.nan) for name in run_folder.CURVES}
    ran_M, in_M, progress_M, last_M = np.zeros(size, int), np.arange(size), None, None
    for rung in rungs:
        progress_M, of_rung = _train_rung(work, rung, in_M, progress_M)
        ran_M[in_M] = rung.end
        for name, curve in curves.items():
            curve[in_M, rung.start : rung.end] = of_rung[name]
        now_M = progress_M.state.params, progress_M.selected
        last_M = now_M if last_M is None else jax.tree.map(partial(_put, in_M), last_M, now_M)
        diverged_M = outcome.who_diverged(
            mean, {name: curve[in_M, : rung.end] for name, curve in curves.items()}
        )
        score_M = np.where(diverged_M, np.inf, np.log(progress_M.selected.val))
        stays_M = ha.best([work.trials[m] for m in in_M.tolist()], score_M, rung.keep)
        in_M, progress_M = in_M[stays_M], population.to_host(progress_M, stays_M)
    return [] if last_M is None else _rows(work, mean, ran_M, curves, *last_M), curves


def _put(rows: np.ndarray, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    old[rows] = new
    return old


def _slices(size: int, slices: int) -> list[np.ndarray]:
    """The places of the trials of each slice."""
    width = -(-size // slices)
    return [np.arange(size)[start : start + width] for start in range(0, size, width)]


def _train_rung(
    work: _Work, rung: ha.Rung, in_M: np.ndarray, begin_M: Progress | None
) -> tuple[Progress, dict[str, np.ndarray]]:
    """The trials at places `in_M` at the end of the rung, and their curves in it."""
    learner, layout, data = work.built.learner, work.built.layout, work.built.split.data
    seconds = work.seconds
    states, curves = [], []
    for at in _slices(in_M.size, work.slices):
        trials = [work.trials[m] for m in in_M[at]]
        folder = work.folder / f"{rung.start}-{rung.end}" / f"{int(in_M[at[0]])}-{at.size}"
        folder.mkdir(parents=True, exist_ok=True)
        member_M = population.stack([work.members[m] for m in in_M[at]])
        if not seconds["seconds_epoch"]:
            seconds["seconds_compiling"], epoch = training.probe(learner, layout, member_M, data)
            seconds["seconds_epoch"] = epoch / at.size
        chunk = training.chunk_of(seconds["seconds_epoch"] * at.size, work.setting.epochs)
        labels = [(str(trial["number"]), trial["seed"]) for trial in trials]
        begun = training.resumed(folder, learner, member_M, work.console)
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
                work.console,
                work.setting.save_every,
                begun,
            )
        )
        seconds["seconds_training"] += time.monotonic() - began
        seconds["seconds_saving"] += run_folder.read_status(folder).get("seconds_saving", 0.0)
        curves.append(run_folder.read_curves(folder, labels, rung.end, rung.start))
    whole = states[0] if len(states) == 1 else jax.tree.map(stacking.concatenate, *states)
    return whole, {name: np.concatenate([curve[name] for curve in curves]) for name in run_folder.CURVES}


def _rows(
    work: _Work, mean: float, ran_M: np.ndarray, curves: dict[str, np.ndarray], end_M: Any, selected_M: Any
) -> list[dict[str, Any]]:
    """The end of each trial's row. The test part is read here, twice per trial, and nowhere else."""
    parts = []
    for at in _slices(ran_M.size, work.slices):
        params = population.to_host((end_M, selected_M.params), at)
        parts.append(
            {metric: loss_MW.mean(1) for metric, loss_MW in outcome.on_test(work.built, *params).items()}
        )
    loss = {metric: np.concatenate([part[metric] for part in parts]) for metric in parts[0]}
    rows = []
    for m, ran in enumerate(ran_M):
        losses = {metric: loss_M[m : m + 1] for metric, loss_M in loss.items()}
        to_end = {name: curve[m : m + 1, :ran] for name, curve in curves.items()}
        diverged = outcome.who_diverged(mean, to_end, *losses.values())
        state = "finished" if ran == work.setting.epochs else "pruned"
        columns = outcome.columns(losses, to_end, selected_M.epoch[m : m + 1], diverged, 0)
        rows.append({"state": state, "why": "", "epochs_run": int(ran), **columns})
    return rows
