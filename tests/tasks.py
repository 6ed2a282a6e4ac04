"""Tasks of a sweep made by hand, small enough to wait for."""

import dataclasses
import itertools
from pathlib import Path

from experiments import record
from experiments.setting import Setting

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
    record.write_json(folder / "task.json", {"config": config, "cells": cells, "halving": halving})
    return folder


def results(folder: Path) -> tuple[bytes, bytes]:
    """What must not depend on how the task was run."""
    return (folder / "rows.csv").read_bytes(), (folder / "curves.npz").read_bytes()
