"""From what is asked to processes: configurations × seeds are cells, cells of one compiled program a group, and a slice
of a group a task. All of it is decided, in the same way each time, before anything is trained."""

import dataclasses
import json
import math
from collections.abc import Iterable, Sequence
from itertools import islice, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.harness import exits, run_folder
from experiments.harness import setting as se
from experiments.harness.arms import REFERENCE, split_name
from experiments.harness.setting import Setting
from experiments.harness.source import Source, open_source
from experiments.sweep import axes
from experiments.sweep import config as co
from experiments.sweep.config import STATIC, TRACED, Config
from experiments.sweep.task.halving import cost as halving_cost
from lstm_sched.presets import ALIASES, POLICIES
from lstm_sched.schedules import TABLES

MOST = 500  # trainings in a task, unless told otherwise: what is saved at once
WORTH = 2e11  # multiplications that are worth a process of their own: about 20 s
STEP = 5e4  # multiplications that take as long as a time step of a layer, however small it is
Configuration = dict[str, Any]  # a value for each of sweep_config.FIELDS
Cell = dict[str, Any]  # number, seed, and the traced fields


class Data(NamedTuple):
    """What was understood of the series, and what its values are known by."""

    understood: dict[str, Any]
    digest: str


class Group(NamedTuple):
    """Configurations that are one compiled program."""

    setting: Setting
    configurations: list[Configuration]
    source: Data
    work: float  # of one training, in multiplications


class Task(NamedTuple):
    """One process: a group or a slice of one."""

    number: int
    group: Group
    cells: list[Cell]


def configurations(config: Config, trials: Iterable[Configuration]) -> list[Configuration]:
    """Every trial with every combination of the grid, in order; what is the same training is there once."""
    grid, _ = axes.axes(config)
    plain = {field: getattr(config, field, REFERENCE) for field in co.FIELDS}
    found: dict[tuple[Any, ...], Configuration] = {}
    for trial in trials:
        for values in product(*grid.values()):
            one = _in_fits(plain | dict(zip(grid, values, strict=True)) | trial)
            found.setdefault(tuple(one.values()), one)
    return list(found.values())


def _in_fits(one: Configuration) -> Configuration:
    """`policy@n` as policy and epochs in each fit; one fit has all of them, whatever `every` is for others."""
    name, own = split_name("policy", one["policy"], [*POLICIES, *ALIASES])
    every = one["every"] if own is None else own
    se.check_every(f"every of {one['policy']}", every, one["epochs"])
    policy = ALIASES.get(name, name)
    return one | {"policy": policy, "every": one["epochs"] if policy == REFERENCE else every}


def groups(config: Config, chosen: Iterable[Configuration]) -> list[Group]:
    """Those of the same static fields together, in the order of their first. ValueError for what cannot be trained."""
    sources: dict[int, Source] = {}
    found: dict[tuple[Any, ...], list[Configuration]] = {}
    for one in chosen:
        found.setdefault(tuple(one[field] for field in STATIC), []).append(one)
    return [_group(config, members, sources) for members in found.values()]


def _group(config: Config, members: list[Configuration], sources: dict[int, Source]) -> Group:
    shared = {f.name: getattr(config, f.name) for f in dataclasses.fields(Setting)}
    shared |= {"every": 1, "out": None, "resume": None}
    setting = Setting(**shared | {field: members[0][field] for field in STATIC})
    se.check(setting)
    if setting.window not in sources:
        sources[setting.window] = open_source(setting, setting.data[0])
    source = sources[setting.window]
    built = se.build(setting, source.split)
    for schedule, policy, every in {
        (one["schedule"], one["policy"] if one["policy"] in TABLES else REFERENCE, one["every"])
        for one in members
    }:
        se.rates(dataclasses.replace(setting, schedule=schedule), built.steps, 1.0, policy, every)
    inputs = [source.split.scale.mean_F.size] + [setting.hidden] * (setting.layers - 1)
    gates = sum(4 * setting.hidden * (size + setting.hidden) for size in inputs)
    step = setting.layers * STEP + setting.batch * gates
    work = setting.epochs * built.steps * setting.window * step
    return Group(setting, members, Data(source.understood, source.digest), work)


def numbered(config: Config, found: Sequence[Group], cell: int = 0) -> list[tuple[Configuration, range]]:
    """The configurations, group by group, and the numbers of their cells, a seed each, from `cell` on."""
    seeds, all_ = len(axes.seeds(config)), [one for group in found for one in group.configurations]
    return [(one, range(cell + i * seeds, cell + (i + 1) * seeds)) for i, one in enumerate(all_)]


def tasks(config: Config, found: Sequence[Group], first: int = 0, cell: int = 0) -> list[Task]:
    """The cells, numbered from `cell`, of each group shared out to tasks numbered from `first`."""
    seeds, numbers = axes.seeds(config), iter(numbered(config, found, cell))
    made: list[Task] = []
    for group, pieces in zip(found, _pieces(config, found, len(seeds)), strict=True):
        cells = [
            {"number": number} | {field: one[field] for field in TRACED} | {"seed": seed}
            for one, mine in islice(numbers, len(group.configurations))
            for number, seed in zip(mine, seeds, strict=True)
        ]
        for part in np.array_split(np.arange(len(cells)), pieces):
            made.append(Task(first + len(made), group, cells[part[0] : part[-1] + 1]))
    return made


def _pieces(config: Config, found: Sequence[Group], seeds: int) -> list[int]:
    """How many tasks each group becomes. Halving ranks all of a group, which therefore stays whole; one group is cut
    evenly for all workers, several are cut finer, so that no worker waits long for the last."""
    members = [len(group.configurations) * seeds for group in found]
    work = [group.work * size for group, size in zip(found, members, strict=True)]
    if config.search.halving:
        return [1] * len(found)
    if config.members_per_task is not None:
        return [math.ceil(size / config.members_per_task) for size in members]
    workers = config.workers or 1
    even, finer = (workers, workers) if len(found) == 1 else (1, 2 * workers)
    pieces = []
    for size, mine in zip(members, work, strict=True):
        n = max(1, min(round(finer * mine / sum(work)), int(mine / WORTH)), math.ceil(size / MOST))
        pieces.append(min(size, n if n == 1 else even * math.ceil(n / even)))
    return pieces


def halving(config: Config) -> dict[str, Any] | None:
    """As a task is told."""
    if not config.search.halving:
        return None
    return {"epochs": [*config.search.halving, config.epochs], "keep": config.search.keep}


def cost(task: Task, config: Config) -> int:
    """Epochs of all of the task's cells."""
    return halving_cost(task.cells, halving(config), task.group.setting.epochs)


def longest_first(made: Iterable[Task]) -> list[Task]:
    """In the order in which workers should take them, so that they end together."""
    return sorted(made, key=lambda task: -task.group.work * len(task.cells))


def absolute(name: str) -> str:
    """A series' name, or the whole path of a file, which tasks find from wherever they run."""
    return str(Path(name).absolute()) if Path(name).suffix else name


def place(folder: Path, task: Task) -> Path:
    """The task's own folder in that of the sweep."""
    return folder / "tasks" / f"{task.number:04d}"


def write(folder: Path, config: Config, made: Iterable[Task], digest: str) -> list[Path]:
    """The folder of every task, with its task.json. Refused where one is there that says something else."""
    folders = []
    for task in made:
        path = place(folder, task) / "task.json"
        said = {
            "number": task.number,
            "sweep": digest,
            "data": task.group.source.digest,
            "config": dataclasses.asdict(task.group.setting),
            "cells": task.cells,
            "halving": halving(config),
        }
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            run_folder.write_json(path, said)
        elif (there := run_folder.read_json(path)) != json.loads(json.dumps(said)):
            values = f"with other values of {config.data[0]}; allowed: the same data"
            version = f"by another version: {path} is not what this one plans"
            same = there["data"] == task.group.source.digest
            raise exits.Refused(f"resume: begun {version if same else values}")
        folders.append(path.parent)
    return folders
