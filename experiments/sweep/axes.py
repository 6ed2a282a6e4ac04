"""The axes of a sweep, parsed and checked: the lists of its grid, the values of its search, its seeds."""

import dataclasses
import math
from typing import Any

from experiments.harness.arms import split_name
from experiments.harness.setting import FIRST_SEED, Setting, check
from experiments.sweep.config import ENGINES, FIELDS, KINDS, Config
from experiments.sweep.values import Range, Values, listed, parse
from lstm_sched._names import check_name
from lstm_sched.presets import ALIASES, POLICIES

LEAST = {"every": 1, "epochs": 1, "weight_decay": 0}  # what depends on other fields is checked later


def axes(config: Config) -> tuple[dict[str, tuple[Any, ...]], dict[str, Values]]:
    """Lists of the grid and values of the search, by field, in the order of FIELDS; checks each field."""
    grid: dict[str, tuple[Any, ...]] = {}
    search: dict[str, Values] = {}
    for field, kind in FIELDS.items():
        of_grid, of_search = getattr(config.grid, field), getattr(config.search, field)
        if of_grid and of_search:
            raise ValueError(f"{field}: both grid.{field} and search.{field}; allowed: one of them")
        if not (of_grid or of_search):
            continue
        place = f"grid.{field}" if of_grid else f"search.{field}"
        fixed = getattr(config, field, None)
        if field != "policy" and fixed != getattr(Setting, field):
            raise ValueError(f"{field}: both {field} {fixed} and {place}; allowed: one of them")
        values = parse(place, kind, of_grid or of_search)
        _check(config, place, field, values)
        if of_grid:
            grid[field] = listed(place, values)
        else:
            search[field] = values
    return grid, search


def _check(config: Config, place: str, field: str, values: Values) -> None:
    """Raise ValueError if one of the values, or an end of a range, is invalid."""
    if isinstance(values, Range):
        values = (values.low, values.high - 1) if values.whole else (values.low, values.high)
    for value in values:
        if field == "policy":
            split_name(place, str(value), [*POLICIES, *ALIASES])
        elif field in LEAST:
            if not (math.isfinite(value) and value >= LEAST[field]):
                raise ValueError(f"{place}: {value}; allowed: {LEAST[field]} or more")
        else:
            try:
                check(dataclasses.replace(config, **{field: value}, every=1, weight_decay=None))
            except ValueError as e:
                raise ValueError(f"{place}: {value}: {e}") from e


def seeds(config: Config) -> tuple[int, ...]:
    """The seeds of every configuration."""
    if not config.grid.seed:
        return tuple(range(FIRST_SEED, FIRST_SEED + config.seeds))
    if config.seeds != Setting.seeds:
        raise ValueError(f"seeds: both seeds {config.seeds} and grid.seed; allowed: one of them")
    values = listed("grid.seed", parse("grid.seed", int, config.grid.seed))
    if wrong := [seed for seed in values if not 0 <= seed < 2**31]:
        raise ValueError(f"grid.seed: {wrong[0]}; allowed: 0 to {2**31 - 1}")
    return values


def check_sweep(config: Config) -> None:
    """Raise ValueError for the first invalid field, before any combination is made."""
    search = config.search
    if len(config.data) != 1:
        raise ValueError(f"data: {', '.join(config.data)}; allowed: one series per sweep")
    if config.devices is not None:
        raise ValueError(f"devices: {config.devices}; allowed: none, as --workers divides the cores")
    if config.engine is not None:
        check_name("engine", config.engine, ENGINES)
    check_name("search.kind", search.kind, KINDS)
    least = {
        "max_members": (config.max_members, 1),
        "search.ask": (search.ask, 1),
        "members_per_task": (config.members_per_task, 1),
        "workers": (config.workers, 1),
        "retries": (config.retries, 0),
        "search.trials": (search.trials, 0),
        "search.seed": (search.seed, 0),
    }
    for field, (value, lowest) in least.items():
        if value is not None and value < lowest:
            raise ValueError(f"{field}: {value}; allowed: {lowest} or more")
    grid, drawn = axes(config)
    if bool(drawn) != bool(search.trials):
        raise ValueError(
            f"search.trials: {search.trials} with {', '.join(drawn) or 'nothing'} to draw; allowed: both "
            "--search.trials and a field such as --search.lr 1e-5:1e-1:log"
        )
    if not (grid or drawn or config.grid.seed):
        raise ValueError(
            "grid: empty; allowed: a list for at least one field, such as --grid.lr 3e-4 1e-3 3e-3"
        )
    if search.kind == "optuna" and grid:
        raise ValueError(
            f"grid.{next(iter(grid))}: not with optuna, which chooses itself; allowed: grid.seed and search.FIELD"
        )
    _check_halving(config, "epochs" in grid or "epochs" in drawn)
    sizes = [max(1, search.trials), *map(len, grid.values()), len(seeds(config))]
    if math.prod(sizes) > config.max_members:
        product = f"{' × '.join(str(size) for size in sizes if size > 1)} = {math.prod(sizes)}"
        raise ValueError(
            f"max_members: {config.max_members}, and these are {product} trainings; allowed: at least that many"
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
            "search.halving: with members_per_task; allowed: one of them, as all trainings of a group are ranked"
        )
    if list(halving) != sorted(set(halving)) or not 0 < halving[0] <= halving[-1] < epochs:
        raise ValueError(f"search.halving: {halving}; allowed: increasing epochs from 1 to {epochs - 1}")
