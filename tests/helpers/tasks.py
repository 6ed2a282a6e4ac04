"""Tasks of a sweep made by hand, small enough to wait for."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np

from experiments.harness import run_folder
from experiments.harness.setting import Setting
from experiments.sweep.task import events, rungs, trials

SMALL = Setting(data=("sines",), hidden=2, window=4, batch=512, epochs=12, save_every=0)


def cells(lrs=(1e-3, 1e-2, 1e30), policies=("one_fit", "drop_moments"), seeds=(8,), first=0):
    """The product of the fields, in this order, numbered from `first`."""
    return [
        {"number": first + i, "lr": lr, "schedule": "constant", "policy": policy, "every": 1, "seed": seed}
        for i, (lr, policy, seed) in enumerate(itertools.product(lrs, policies, seeds))
    ]


def write(folder: Path, cells, halving=None, **fields) -> Path:
    """The folder of a task that nobody has begun."""
    folder.mkdir(parents=True)
    config = dataclasses.asdict(dataclasses.replace(SMALL, **fields))
    run_folder.write_json(folder / "task.json", {"config": config, "cells": cells, "halving": halving})
    return folder


def finish(folder, own, epochs=6, why="", **fields):
    """The folder of a task that ended with numbers that follow from the cells'."""
    write(folder, own, epochs=epochs, **fields)
    events.note(folder, "began", host="h", pid=1)
    if why:
        run_folder.write_json(folder / "done.json", {"state": "failed", "why": why, "baselines": {}})
        return folder
    config = dataclasses.replace(SMALL, epochs=epochs, **fields)
    rows, curves = [], {name: np.full((len(own), epochs), np.nan) for name in run_folder.CURVES}
    for m, cell in enumerate(own):
        ran = 1 + cell["number"] % epochs
        for k, name in enumerate(run_folder.CURVES):
            curves[name][m, :ran] = cell["number"] + 100 * k + np.arange(ran) / 8
        loss = dict.fromkeys(rungs.OUTCOME, 0.1 + cell["number"] / 3)
        rows.append(
            trials.columns(cell, config)
            | {
                "state": "finished",
                "why": "",
                "epochs_run": ran,
                **loss,
                "best_epoch": ran,
                "diverged": cell["number"] == 1,
            }
        )
    run_folder.write_csv(folder / "rows.csv", rows)
    numbers = np.array([cell["number"] for cell in own])
    np.savez(
        folder / "curves.npz",
        allow_pickle=False,
        dims=["cell", "epoch"],
        number=numbers,
        epoch=np.arange(1, epochs + 1),
        **curves,
    )
    run_folder.write_json(
        folder / "timing.json", {"seconds": 1.5, "host": "h", "packages": {"jax": "9"}, "devices": ["a"]}
    )
    run_folder.write_json(folder / "done.json", {"state": "finished", "why": "", "baselines": {}})
    return folder


def results(folder: Path) -> tuple[bytes, bytes]:
    """What must not depend on how the task was run."""
    return (folder / "rows.csv").read_bytes(), (folder / "curves.npz").read_bytes()
