"""What a sweep may be asked: the fields that it varies, how it searches, and how it runs."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from experiments import sweep_values as V
from experiments import training
from experiments.arms import split_name
from experiments.setting import FIRST_SEED, Setting, check
from experiments.sweep_values import Range, Values, Words
from lstm_sched.names import check_name
from lstm_sched.policies import ALIASES, POLICIES

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
WHERE = (  # fields of how and where it runs
    *("out", "resume", "devices", "layout", "save_every", "max_members", "members_per_task", "workers"),
    *("retries", "estimate", "dry_run", "engine"),
)
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
    """processes at once; by default one a core, or one a GPU"""
    retries: int = 2
    """how often a process that died is started again"""
    estimate: bool = True
    """before it starts, measure what an epoch takes and say what to expect"""
    dry_run: bool = False
    """say what would be trained, and stop"""
    engine: str = "local"
    """what runs the processes: local, on this host"""


def of_dict(fields: dict[str, Any]) -> Config:
    """A configuration from its JSON."""
    nested = {"grid": Grid, "search": Search}
    inner = {name: training.from_dict(kind, fields[name]) for name, kind in nested.items()}
    return training.from_dict(Config, fields | inner)


def learns(config: Config) -> bool:
    """Whether what is asked for next depends on what came before."""
    return bool(config.search.trials) and config.search.kind == "optuna"


def substance(config: Config) -> dict[str, Any]:
    """The fields that results may depend on."""
    return {name: value for name, value in dataclasses.asdict(config).items() if name not in WHERE}


def axes(config: Config) -> tuple[dict[str, tuple[Any, ...]], dict[str, Values]]:
    """Lists of the grid and values of the search, by field, in the order of FIELDS. ValueError naming the first that
    cannot be."""
    grid: dict[str, tuple[Any, ...]] = {}
    search: dict[str, Values] = {}
    for field, kind in FIELDS.items():
        listed, drawn = getattr(config.grid, field), getattr(config.search, field)
        if listed and drawn:
            raise ValueError(f"{field}: both grid.{field} and search.{field}; allowed: one of them")
        if not (listed or drawn):
            continue
        fixed = getattr(config, field, None)
        where = f"grid.{field}" if listed else f"search.{field}"
        if field != "policy" and fixed != getattr(Setting, field):
            raise ValueError(f"{field}: both {field} {fixed} and {where}; allowed: one of them")
        values = V.parse(where, kind, listed or drawn)
        _check(config, where, field, values)
        if listed:
            grid[field] = V.listed(where, values)
        else:
            search[field] = values
    return grid, search


def _check(config: Config, where: str, field: str, values: Values) -> None:
    """ValueError where one of the values, or an end of a range, cannot be."""
    ends = values
    if isinstance(values, Range):
        ends = (values.low, values.high - 1) if values.whole else (values.low, values.high)
    for value in ends:
        if field == "policy":
            split_name(where, value, [*POLICIES, *ALIASES])
        elif field in ("every", "epochs", "weight_decay"):  # judged with the field that each depends on
            if not (math.isfinite(value) and value >= (field != "weight_decay")):
                raise ValueError(
                    f"{where}: {value}; allowed: {'0' if field == 'weight_decay' else '1'} or more"
                )
        else:
            one = dataclasses.replace(config, **{field: value}, every=1, weight_decay=None)
            try:
                check(one)
            except ValueError as e:
                raise ValueError(f"{where}: {V.text((value,))}: {e}") from e


def seeds(config: Config) -> tuple[int, ...]:
    """The seeds of every configuration."""
    if not config.grid.seed:
        return tuple(range(FIRST_SEED, FIRST_SEED + config.seeds))
    if config.seeds != Setting.seeds:
        raise ValueError(f"seeds: both seeds {config.seeds} and grid.seed; allowed: one of them")
    found = V.listed("grid.seed", V.parse("grid.seed", int, config.grid.seed))
    for seed in found:
        if not 0 <= seed < 2**31:
            raise ValueError(f"grid.seed: {seed}; allowed: 0 to {2**31 - 1}")
    return found


def check_sweep(config: Config) -> None:
    """ValueError naming the first field that cannot be, before any combination is made."""
    search = config.search
    if len(config.data) != 1:
        raise ValueError(f"data: {', '.join(config.data)}; allowed: one series a sweep")
    if config.devices is not None:
        raise ValueError(f"devices: {config.devices}; allowed: none, --workers shares out the cores")
    check_name("engine", config.engine, ("local",))
    check_name("search.kind", search.kind, KINDS)
    counts = {"max_members": config.max_members, "search.ask": search.ask}
    counts |= {"members_per_task": config.members_per_task, "workers": config.workers}
    for field, value in counts.items():
        if value is not None and value < 1:
            raise ValueError(f"{field}: {value}; allowed: 1 or more")
    for field, value in {
        "retries": config.retries,
        "search.trials": search.trials,
        "search.seed": search.seed,
    }.items():
        if value < 0:
            raise ValueError(f"{field}: {value}; allowed: 0 or more")
    grid, drawn = axes(config)
    if not (grid or drawn or config.grid.seed):
        raise ValueError(
            "grid: empty; allowed: a list for at least one field, such as --grid.lr 3e-4 1e-3 3e-3"
        )
    if bool(drawn) != bool(search.trials):
        given = f"search.trials: {search.trials} with {', '.join(drawn) or 'nothing'} to draw"
        raise ValueError(
            f"{given}; allowed: both --search.trials and a field such as --search.lr 1e-5:1e-1:log"
        )
    if search.kind == "optuna" and grid:
        raise ValueError(
            f"grid.{next(iter(grid))}: not with optuna, which chooses; allowed: grid.seed, search.FIELD"
        )
    _check_halving(config, "epochs" in grid or "epochs" in drawn)
    sizes = [max(1, search.trials), *map(len, grid.values()), len(seeds(config))]
    if math.prod(sizes) > config.max_members:
        product = f"{' × '.join(map(str, sizes))} = {math.prod(sizes)}"
        raise ValueError(
            f"max_members: {config.max_members}, and these are {product} trainings; allowed: more of it"
        )


def _check_halving(config: Config, varied: bool) -> None:
    epochs, halving = config.epochs, config.search.halving
    if not 0 < config.search.keep < 1:
        raise ValueError(f"search.keep: {config.search.keep}; allowed: a fraction between 0 and 1")
    if not halving:
        return
    if varied:
        raise ValueError("search.halving: with epochs that vary; allowed: one number of epochs for all")
    if config.members_per_task is not None:
        raise ValueError(
            "search.halving: with members_per_task; allowed: one of them, as all of a group are ranked"
        )
    if list(halving) != sorted(set(halving)) or not 0 < halving[0] <= halving[-1] < epochs:
        raise ValueError(f"search.halving: {halving}; allowed: increasing epochs from 1 to {epochs - 1}")
