"""Tasks of a sweep made by hand, small enough to wait for, or finished without any training."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np

from experiments.harness import run_folder
from experiments.harness.setting import Setting
from experiments.sweep.task import events, rungs
from experiments.sweep.task import trials as tr

SMALL = Setting(data=("sines",), hidden=2, window=4, batch=512, epochs=8)


def trials(lrs=(1e-3, 1e-2, 1e30), policies=("one_fit", "drop_moments"), seeds=(8,), first=0):
    """The product of the fields, in this order, numbered from `first`."""
    return [
        {"number": first + i, "lr": lr, "schedule": "constant", "policy": policy, "every": 1, "seed": seed}
        for i, (lr, policy, seed) in enumerate(itertools.product(lrs, policies, seeds))
    ]


def share_program(patch):
    """Have tasks with the same setting that are carried out in this process share what was compiled for the first."""
    build, built = rungs.build, {}

    def shared(setting, split):
        key = dataclasses.replace(setting, save_every=0.0)
        if key not in built:
            built[key] = build(setting, split)
        return built[key]

    patch.setattr(rungs, "build", shared)


def write(folder: Path, several, halving=None, **fields) -> Path:
    """The folder of a task that nobody has begun."""
    folder.mkdir(parents=True)
    config = dataclasses.asdict(dataclasses.replace(SMALL, **fields))
    run_folder.write_json(folder / "task.json", {"config": config, "trials": several, "halving": halving})
    return folder


def finish(folder, several, epochs=6, why="", baselines=(), **fields):
    """The folder of a task that ended with numbers that follow from those of its trials."""
    write(folder, several, epochs=epochs, **fields)
    events.note(folder, "began", host="h", pid=1)
    if why:
        run_folder.write_json(folder / "done.json", {"state": "failed", "why": why, "baselines": {}})
        return folder
    setting = dataclasses.replace(SMALL, epochs=epochs, **fields)
    curves = {name: np.full((len(several), epochs), np.nan) for name in run_folder.CURVES}
    rows = []
    for m, trial in enumerate(several):
        number, ran = trial["number"], 1 + trial["number"] % epochs
        for k, curve in enumerate(curves.values()):
            curve[m, :ran] = number + 100 * k + np.arange(ran) / 8
        row = tr.columns(trial, setting) | {"state": "finished", "why": "", "epochs_run": ran}
        row |= dict.fromkeys(rungs.OUTCOME, 0.1 + number / 3)
        rows.append(row | {"best_epoch": ran, "diverged": number == 1})
    run_folder.write_csv(folder / "rows.csv", rows)
    number = np.array([trial["number"] for trial in several])
    labels = {"dims": np.array(["cell", "epoch"]), "number": number, "epoch": np.arange(1, epochs + 1)}
    np.savez(folder / "curves.npz", allow_pickle=False, **labels, **curves)
    timing = {"seconds": 1.5, "host": "h", "packages": {"jax": "9"}, "devices": ["a"]}
    run_folder.write_json(folder / "timing.json", timing)
    done = {"state": "finished", "why": "", "baselines": dict(baselines)}
    run_folder.write_json(folder / "done.json", done)
    return folder


def results(folder: Path) -> tuple[bytes, bytes]:
    """What must not depend on how the task was run."""
    return (folder / "rows.csv").read_bytes(), (folder / "curves.npz").read_bytes()
