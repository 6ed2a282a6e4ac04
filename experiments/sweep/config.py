"""What a sweep may be asked: the fields that it varies, how it searches, and how it runs."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import tyro

from experiments.harness import training
from experiments.harness.setting import WHERE, Setting

# What a field may be, as it is typed: a list `1e-4 3e-4`, whole numbers `8:24`, a range to draw from
# `1e-5:1e-1:log`. Of whole numbers the last is left out, as Python does; of a continuous range both ends
# may be drawn.


Words = tuple[str | float, ...]  # as typed, or numbers from Python
MOST = 100_000  # values in a list
TRUTH = {"true": True, "false": False}


class Range(NamedTuple):
    """Numbers between two ends; `low` < `high`, and above 0 where they lie evenly on a log scale."""

    low: float
    high: float
    log: bool = False
    whole: bool = False  # whole numbers, without `high`


Values = tuple[Any, ...] | Range


def parse(field: str, kind: type, words: Words) -> Values:
    """The values of a field of type int, float, bool or str. ValueError naming field, word and what is allowed."""
    if len(words) == 1 and (found := _range(field, kind, str(words[0]))):
        return found
    values: list[Any] = []
    for word in words:
        several = _range(field, kind, str(word))
        values += [_one(field, kind, str(word))] if several is None else listed(field, several)
    seen = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{field}: {value} is given twice; allowed: each value once")
        seen.add(value)
    return tuple(values)


def listed(field: str, values: Values) -> tuple[Any, ...]:
    """All of the values one by one. ValueError for a range that has no end of them."""
    if not isinstance(values, Range):
        return values
    if not values.whole or values.log:
        raise ValueError(
            f"{field}: {text(values)} is a range to draw from; allowed: a list, or whole numbers such as 8:24 "
            f"(or --search.{field.rpartition('.')[2].replace('_', '-')}, with --search.trials)"
        )
    if values.high - values.low > MOST:
        raise ValueError(f"{field}: {text(values)} is too many; allowed: up to {MOST} values")
    return tuple(range(int(values.low), int(values.high)))


def at(values: Values, u: float) -> Any:
    """The value at u, 0 to below 1, of the way through them: uniform where u is."""
    if not isinstance(values, Range):
        return values[int(u * len(values))]
    low, high = values.low, values.high
    found = low * (high / low) ** u if values.log else low + (high - low) * u
    return min(math.floor(found), int(high) - 1) if values.whole else min(found, high)


def text(values: Values) -> str:
    """As it would be typed."""
    if isinstance(values, Range):
        return f"{values.low:g}:{values.high:g}" + ":log" * values.log
    return " ".join(str(value) for value in values)


def _range(field: str, kind: type, word: str) -> Range | None:
    """None where the word is a single value."""
    if kind not in (int, float) or ":" not in word:
        return None
    low, high, *scale = word.split(":")
    if scale not in ([], ["log"]):
        raise ValueError(f"{field}: {word!r}; allowed: low:high or low:high:log")
    ends: Sequence[Any] = [_one(field, kind, end, word) for end in (low, high)]
    found = Range(*ends, log=bool(scale), whole=kind is int)
    if not (math.isfinite(found.low) and math.isfinite(found.high) and found.low < found.high):
        raise ValueError(f"{field}: {word!r} is empty; allowed: low:high with low below high")
    if found.log and found.low <= 0:
        raise ValueError(f"{field}: {word!r}; allowed on a log scale: above 0")
    return found


def _one(field: str, kind: type, word: str, whole_word: str = "") -> Any:
    where = f" in {whole_word!r}" if whole_word else ""
    if kind is bool:
        if word.lower() not in TRUTH:
            raise ValueError(f"{field}: {word!r}{where}; allowed: true, false")
        return TRUTH[word.lower()]
    try:
        return kind(word)
    except ValueError:
        allowed = "whole numbers such as 8 or 8:24" if kind is int else "numbers such as 1e-3"
        raise ValueError(f"{field}: {word!r}{where}; allowed: {allowed}") from None


# Members that differ in a traced field are one compiled program; each combination of static ones is another.
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
FIELDS = STATIC | TRACED  # those that make a configuration; with a seed it is a cell
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
    hidden: Words = ()
    layers: Words = ()
    dropout: Words = ()
    init: Words = ()
    batch: Words = ()
    drop_last: Words = ()
    epochs: Words = ()
    optimizer: Words = ()
    weight_decay: Words = ()
    lr: Words = ()
    schedule: Words = ()
    policy: Words = ()
    """restart policies (keras_recompile@10: another --every for one of them); by default one_fit"""
    every: Words = ()


@dataclass(frozen=True)
class Grid(Fields):
    """Lists such as `1e-4 3e-4` or `8:24` (8 to 23), of which every combination is trained."""

    seed: Words = ()
    """by default 8:24, or as many as --seeds; those that tune are 1000:1008"""


@dataclass(frozen=True)
class Search(Fields):
    """Lists, or ranges such as `1e-5:1e-1:log`, from which configurations are drawn; each with all of the grid."""

    trials: int = 0
    """configurations to draw; 0: the grid alone"""
    kind: str = "sobol"
    """how: random, sobol (evenly spread), or optuna (learning from the ones before; needs the extra `optuna`)"""
    seed: int = 0
    """of the drawing"""
    ask: int = 16
    """optuna: configurations that are trained together before the next are asked for"""
    storage: str | None = None
    """optuna: URL of a database; by default a journal in the sweep's folder"""
    halving: tuple[int, ...] = ()
    """epochs after which only the best go on, such as 10 30; the grid's configurations, too"""
    keep: float = 1 / 3
    """the fraction of configurations that goes on"""


@dataclass(frozen=True)
class Cluster:
    """What a task is given by engines of many hosts."""

    address: str | None = None
    """ray: of a cluster that is there, such as auto or HOST:PORT; by default one is started on this host"""
    cpus: float = 1
    """of a task; ray takes fractions"""
    gpus: float = 0
    """of a task: 0 trains on the CPU; ray takes fractions, and its tasks then share a GPU"""


@dataclass(frozen=True)
class Slurm:
    """What a job of SLURM is given, with the engine submitit."""

    partition: str | None = None
    """where it is queued"""
    account: str | None = None
    """who pays"""
    time: str = "04:00:00"
    """after which it is queued again, and goes on"""
    mem: str | None = None
    """memory, such as 8GB"""
    local: bool = False
    """jobs on this host, without SLURM, to try it out"""


@dataclass(frozen=True)
class Config(Setting):
    """Fields of a sweep; those of a setting that neither grid nor search names are the same for all."""

    grid: Grid = Grid()
    """lists, of which every combination is trained"""
    search: Search = Search()
    """lists and ranges from which configurations are drawn"""
    max_members: int = 10_000
    """trainings at most: more are refused"""
    members_per_task: int | None = None
    """trainings in one process at most; by default as many as keep all workers busy"""
    workers: int | None = None
    """processes at once; by default one a core or GPU, as many as a Ray cluster has room for, or 100 jobs of SLURM"""
    retries: int = 2
    """how often a process that died is started again"""
    estimate: bool = True
    """before it starts, measure what an epoch takes and say what to expect"""
    dry_run: bool = False
    """say what would be trained, and stop"""
    engine: str | None = None
    """what runs the processes: local (the default), ray or submitit; a sweep that is resumed keeps its own"""
    cluster: Annotated[Cluster, tyro.conf.arg(name="")] = Cluster()
    """what a task is given by engines of many hosts"""
    slurm: Slurm = Slurm()
    """what a job of SLURM is given"""


def of_dict(fields: dict[str, Any]) -> Config:
    """A configuration from its JSON."""
    nested = {"grid": Grid, "search": Search, "cluster": Cluster, "slurm": Slurm}
    inner = {name: training.from_dict(kind, fields[name]) for name, kind in nested.items()}
    return training.from_dict(Config, fields | inner)


def learns(config: Config) -> bool:
    """Whether what is asked for next depends on what came before."""
    return bool(config.search.trials) and config.search.kind == "optuna"


def substance(config: Config) -> dict[str, Any]:
    """The fields that results may depend on."""
    return {name: value for name, value in dataclasses.asdict(config).items() if name not in RUNNING}
