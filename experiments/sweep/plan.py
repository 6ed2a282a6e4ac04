"""The division of a sweep into tasks, made before anything is trained, and always in the same way.

Configurations × seeds are trials; trials of one compiled program are a group; a task is a slice of a group.
A configuration has a value for each of config.FIELDS; a trial is a training: number, seed, traced fields.
"""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from experiments.harness import exits, run_folder
from experiments.harness import setting as se
from experiments.harness.arms import REFERENCE, split_name
from experiments.harness.setting import Setting
from experiments.harness.source import Source, open_source
from experiments.sweep import axes
from experiments.sweep.config import FIELDS, STATIC, TRACED, Config
from experiments.sweep.task.events import finished
from experiments.sweep.task.halving import Trial
from experiments.sweep.task.halving import cost as cost_of_trials
from lstm_sched.presets import ALIASES, POLICIES
from lstm_sched.schedules import TABLES

MOST = 500  # trials in a task, unless --members-per-task says otherwise: they are saved together
WORTH = 2e11  # multiplications from which a process of its own pays off: about 20 s
STEP = 5e4  # multiplications that take as long as a time step of the smallest layer
Configuration = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Configurations that share one compiled program."""

    setting: Setting
    configurations: Sequence[Configuration]
    data: Mapping[str, Any]  # {"understood": facts, "digest": of the values}
    work: float  # multiplications in one training


@dataclass(frozen=True, kw_only=True)
class Task:
    """The trials of one process: a group or a slice of one."""

    number: int
    group: Group
    trials: Sequence[Trial]


def configurations(config: Config, drawn: Iterable[Configuration]) -> list[Configuration]:
    """Every drawn configuration with every combination of the grid, in order, without duplicates."""
    grid, _ = axes.axes(config)
    plain = {field: getattr(config, field, REFERENCE) for field in FIELDS}
    distinct: dict[tuple[Any, ...], Configuration] = {}
    for values in drawn:
        for combination in product(*grid.values()):
            configuration = _in_fits(plain | dict(zip(grid, combination, strict=True)) | values)
            distinct.setdefault(tuple(configuration.values()), configuration)
    return list(distinct.values())


def _in_fits(configuration: Configuration) -> Configuration:
    """`policy@n` as policy and epochs in each fit; one fit has all epochs, whatever `every` is for others."""
    name, in_fit = split_name("policy", configuration["policy"], [*POLICIES, *ALIASES])
    every, epochs = configuration["every"] if in_fit is None else in_fit, configuration["epochs"]
    se.check_every(f"every of {configuration['policy']}", every, epochs)
    policy = ALIASES.get(name, name)
    return configuration | {"policy": policy, "every": epochs if policy == REFERENCE else every}


def groups(config: Config, chosen: Iterable[Configuration]) -> list[Group]:
    """Configurations with the same static fields together, in order. ValueError for one that cannot be trained."""
    sources: dict[int, Source] = {}
    alike: dict[tuple[Any, ...], list[Configuration]] = {}
    for configuration in chosen:
        alike.setdefault(tuple(configuration[field] for field in STATIC), []).append(configuration)
    return [_group(config, several, sources) for several in alike.values()]


def _group(config: Config, several: list[Configuration], sources: dict[int, Source]) -> Group:
    shared = {f.name: getattr(config, f.name) for f in dataclasses.fields(Setting)}
    shared |= {"every": 1, "out": None, "resume": None}
    setting = Setting(**shared | {field: several[0][field] for field in STATIC})
    se.check(setting)
    if setting.window not in sources:
        sources[setting.window] = open_source(setting, setting.data[0])
    source = sources[setting.window]
    built = se.build(setting, source.split)
    for schedule, policy, every in {
        (c["schedule"], c["policy"] if c["policy"] in TABLES else REFERENCE, c["every"]) for c in several
    }:
        se.rates(dataclasses.replace(setting, schedule=schedule), built.steps, 1.0, policy, every)
    inputs = [source.split.scale.mean_F.size] + [setting.hidden] * (setting.layers - 1)
    gates = sum(4 * setting.hidden * (size + setting.hidden) for size in inputs)
    step = setting.layers * STEP + setting.batch * gates
    return Group(
        setting=setting,
        configurations=several,
        data={"understood": source.understood, "digest": source.digest},
        work=setting.epochs * built.steps * setting.window * step,
    )


def numbered(config: Config, several: Sequence[Group], first: int = 0) -> list[tuple[Configuration, range]]:
    """The configurations, group by group, and the numbers of their trials, one per seed, from `first` on."""
    seeds = len(axes.seeds(config))
    chosen = [configuration for group in several for configuration in group.configurations]
    return [(c, range(first + i * seeds, first + (i + 1) * seeds)) for i, c in enumerate(chosen)]


def tasks(config: Config, several: Sequence[Group], first_task: int = 0, first_trial: int = 0) -> list[Task]:
    """The trials of each group divided into tasks; trials and tasks are numbered from the given ones on."""
    seeds, numbers = axes.seeds(config), iter(numbered(config, several, first_trial))
    made: list[Task] = []
    for group, pieces in zip(several, _pieces(config, several, len(seeds)), strict=True):
        trials = [
            {"number": number} | {field: configuration[field] for field in TRACED} | {"seed": seed}
            for configuration, of_seeds in (next(numbers) for _ in group.configurations)
            for number, seed in zip(of_seeds, seeds, strict=True)
        ]
        for part in np.array_split(np.arange(len(trials)), pieces):
            slice_ = trials[part[0] : part[-1] + 1]
            made.append(Task(number=first_task + len(made), group=group, trials=slice_))
    return made


def _pieces(config: Config, several: Sequence[Group], seeds: int) -> list[int]:
    """How many tasks each group becomes.

    Halving ranks all of a group, which therefore stays whole. A single group is cut evenly for all workers; several are
    cut finer, so that no worker waits long for the last task.
    """
    sizes = [len(group.configurations) * seeds for group in several]
    if config.search.halving:
        return [1] * len(several)
    if config.members_per_task is not None:
        return [math.ceil(size / config.members_per_task) for size in sizes]
    workers = config.workers or 1
    multiple, finer = (workers, workers) if len(several) == 1 else (1, 2 * workers)
    work = [group.work * size for group, size in zip(several, sizes, strict=True)]
    pieces = []
    for size, of_group in zip(sizes, work, strict=True):
        n = max(1, min(round(finer * of_group / sum(work)), int(of_group / WORTH)), math.ceil(size / MOST))
        pieces.append(min(size, n if n == 1 else multiple * math.ceil(n / multiple)))
    return pieces


def halving(config: Config) -> dict[str, Any] | None:
    """The contents of task.json."""
    if not config.search.halving:
        return None
    return {"epochs": [*config.search.halving, config.epochs], "keep": config.search.keep}


def cost(task: Task, config: Config) -> int:
    """Epochs of all trials of the task."""
    return cost_of_trials(task.trials, halving(config), task.group.setting.epochs)


def ran(folder: Path) -> int:
    """Epochs of all trials of the task in this folder, if it has finished."""
    if finished(folder) is None:
        return 0
    task = run_folder.read_json(folder / "task.json")
    return cost_of_trials(task["trials"], task["halving"], task["config"]["epochs"])


def longest_first(made: Iterable[Task]) -> list[Task]:
    """The order in which workers should take tasks, so that they end together."""
    return sorted(made, key=lambda task: -task.group.work * len(task.trials))


def absolute(name: str) -> str:
    """A series' name, or the whole path of a file, which tasks find from wherever they run."""
    return str(Path(name).absolute()) if Path(name).suffix else name


def place(folder: Path, task: Task) -> Path:
    """The path of the task's folder in the sweep's folder."""
    return folder / "tasks" / f"{task.number:04d}"


def write(folder: Path, config: Config, made: Iterable[Task], digest: str) -> list[Path]:
    """Make the folder of every task, with its task.json. Refused if it holds a different task.json."""
    folders = []
    for task in made:
        path = place(folder, task) / "task.json"
        planned = {
            "number": task.number,
            "sweep": digest,
            "data": task.group.data["digest"],
            "config": dataclasses.asdict(task.group.setting),
            "trials": task.trials,
            "halving": halving(config),
        }
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            run_folder.write_json(path, planned)
        elif run_folder.read_json(path) != json.loads(json.dumps(planned)):
            raise exits.Refused(
                f"resume: {path} differs from what this version plans; allowed: a sweep that this version began"
            )
        folders.append(path.parent)
    return folders
