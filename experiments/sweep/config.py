"""What a sweep may be asked: the fields that it varies, how it searches, and how it runs."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from experiments.harness.setting import WHERE, Setting
from experiments.sweep.engines.options import Cluster, Slurm
from experiments.sweep.values import Words

# Trials that differ in a traced field are one compiled program; each combination of static ones is another.
STATIC: dict[str, type] = {
    "window": int,
    "hidden": int,
    "layers": int,
    "dropout": float,
    "init": str,
    "batch": int,
    "drop_last": bool,
    "epochs": int,
    "optimizer": str,
    "weight_decay": float,
}
TRACED: dict[str, type] = {"lr": float, "schedule": str, "policy": str, "every": int}
FIELDS = STATIC | TRACED  # a value for each is a configuration; with a seed it is a trial
RUNNING = (  # fields of how and where it runs
    *WHERE,
    *("max_members", "members_per_task", "workers", "retries", "estimate", "dry_run"),
    *("engine", "cluster", "slurm"),
)
ENGINES = ("local", "ray", "submitit")
KINDS = ("random", "sobol", "optuna")


@dataclass(frozen=True)
class Fields:
    """What may be varied: everything but data, horizon, split and loss, which decide what a loss means."""

    window: Words = ()
    """rows that the network sees: several values, such as 12 24 48"""
    hidden: Words = ()
    """units in each LSTM layer: several values, such as 16 32 64"""
    layers: Words = ()
    """LSTM layers: several values, such as 1 2"""
    dropout: Words = ()
    """fraction of each layer's outputs dropped in training: several values, such as 0 0.2"""
    init: Words = ()
    """initial weights: keras flax"""
    batch: Words = ()
    """windows in an update: several values, such as 16 32 64"""
    drop_last: Words = ()
    """whether the last, partial batch of an epoch is left out: true false"""
    epochs: Words = ()
    """epochs in a whole training: several values, such as 50 100"""
    optimizer: Words = ()
    """optimizers, such as keras_adam adamw"""
    weight_decay: Words = ()
    """weight decay: several values, such as 1e-4 1e-2, for optimizers that have one"""
    lr: Words = ()
    """learning rates, such as 1e-4 3e-4 1e-3"""
    schedule: Words = ()
    """schedules of the learning rate, such as constant cosine"""
    policy: Words = ()
    """restart policies, such as one_fit keras_recompile@10 (@10: in fits of 10 epochs); by default one_fit"""
    every: Words = ()
    """epochs in each fit of a loop: several values, such as 1 10"""


@dataclass(frozen=True)
class Grid(Fields):
    """Lists such as `1e-4 3e-4` or `8:24` (8 to 23), of which every combination is trained."""

    seed: Words = ()
    """seeds of every configuration; by default 8:24, or as many as --seeds; for tuning take 1000:1008"""


@dataclass(frozen=True)
class Search(Fields):
    """Lists, or ranges such as `1e-5:1e-1:log`, from which configurations are drawn; each with all of the grid."""

    trials: int = 0
    """configurations to draw, each trained on all seeds; 0: the grid alone"""
    kind: str = "sobol"
    """how they are drawn: random, sobol (evenly spread), or optuna (learns from earlier ones; extra `optuna`)"""
    seed: int = 0
    """seed of the drawing"""
    ask: int = 16
    """optuna: configurations that are trained together before it is asked for more"""
    halving: tuple[int, ...] = ()
    """epochs after which only the best configurations go on, those of the grid too, such as 10 30"""
    keep: float = 1 / 3
    """halving: the fraction of configurations that goes on"""


@dataclass(frozen=True)
class Config(Setting):
    """Fields of a sweep; a field of the setting that neither grid nor search varies is the same for all trainings."""

    grid: Grid = Grid()
    """lists, of which every combination is trained"""
    search: Search = Search()
    """lists and ranges from which configurations are drawn"""
    max_members: int = 10_000
    """the most trainings that a sweep may have; more are refused"""
    members_per_task: int | None = None
    """the most trainings in one process; by default as many as keep all workers busy"""
    workers: int | None = None
    """processes at once; by default one per core or GPU, as many as a Ray cluster has room for, or 100 SLURM jobs"""
    retries: int = 2
    """how often a process that died is started again"""
    estimate: bool = True
    """before it starts, train up to four groups for an epoch to see how long the sweep takes, and how much memory"""
    dry_run: bool = False
    """list what would be trained, and stop; with --no-estimate nothing is trained for it"""
    engine: str | None = None
    """what runs the processes: local (the default), ray or submitit; a sweep that is resumed keeps its engine"""
    cluster: Annotated[Cluster, tyro.conf.arg(name="")] = Cluster()  # noqa: RUF009  frozen
    """what engines of many hosts give to each task"""
    slurm: Slurm = Slurm()  # noqa: RUF009  frozen
    """what each SLURM job is given"""


def learns(config: Config) -> bool:
    """Whether the next configurations depend on how earlier ones did."""
    return bool(config.search.trials) and config.search.kind == "optuna"


def substance(config: Config) -> dict[str, Any]:
    """The fields that results may depend on."""
    return {name: value for name, value in dataclasses.asdict(config).items() if name not in RUNNING}
