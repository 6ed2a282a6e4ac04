"""What a sweep is asked, parsed and checked: the lists of its grid, the values of its search, its seeds."""

import dataclasses
import math
from typing import Any

from experiments.harness.arms import split_name
from experiments.harness.setting import FIRST_SEED, Setting, check
from experiments.sweep import config as co
from experiments.sweep.config import ENGINES, FIELDS, KINDS, Config, Range, Values
from lstm_sched._names import check_name
from lstm_sched.presets import ALIASES, POLICIES

LEAST = {"every": 1, "epochs": 1, "weight_decay": 0}  # more is said by the field that each depends on


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
        values = co.parse(where, kind, listed or drawn)
        _check(config, where, field, values)
        if listed:
            grid[field] = co.listed(where, values)
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
            split_name(where, str(value), [*POLICIES, *ALIASES])
        elif field in LEAST:
            if not (math.isfinite(value) and value >= LEAST[field]):
                raise ValueError(f"{where}: {value}; allowed: {LEAST[field]} or more")
        else:
            try:
                check(dataclasses.replace(config, **{field: value}, every=1, weight_decay=None))
            except ValueError as e:
                raise ValueError(f"{where}: {value}: {e}") from e


def seeds(config: Config) -> tuple[int, ...]:
    """The seeds of every configuration."""
    if not config.grid.seed:
        return tuple(range(FIRST_SEED, FIRST_SEED + config.seeds))
    if config.seeds != Setting.seeds:
        raise ValueError(f"seeds: both seeds {config.seeds} and grid.seed; allowed: one of them")
    found = co.listed("grid.seed", co.parse("grid.seed", int, config.grid.seed))
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
    if config.engine is not None:
        check_name("engine", config.engine, ENGINES)
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
    if bool(drawn) != bool(search.trials):
        given = f"search.trials: {search.trials} with {', '.join(drawn) or 'nothing'} to draw"
        raise ValueError(
            f"{given}; allowed: both --search.trials and a field such as --search.lr 1e-5:1e-1:log"
        )
    if not (grid or drawn or config.grid.seed):
        raise ValueError(
            "grid: empty; allowed: a list for at least one field, such as --grid.lr 3e-4 1e-3 3e-3"
        )
    if search.kind == "optuna" and grid:
        raise ValueError(
            f"grid.{next(iter(grid))}: not with optuna, which chooses; allowed: grid.seed, search.FIELD"
        )
    _check_halving(config, "epochs" in grid or "epochs" in drawn)
    sizes = [max(1, search.trials), *map(len, grid.values()), len(seeds(config))]
    if math.prod(sizes) > config.max_members:
        product = f"{' × '.join(str(size) for size in sizes if size > 1)} = {math.prod(sizes)}"
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
