"""The flags of `refit`, and what is decided from them before the first step."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.harness import arms as ar
from experiments.harness import plan as pl
from experiments.harness.plan import Plan
from experiments.harness.setting import FIRST_SEED, Built, Setting
from experiments.refit import tuning
from experiments.refit.tuning import Grid, Swept
from lstm_sched.data.series import Series

QUICK = {"epochs": 10, "seeds": 6}
ALL_SEEDS = 32


@dataclass(frozen=True)
class Config(Setting):
    """Fields of refit."""

    arms: tuple[str, ...] = (
        "one_fit",
        "keras_loop",
        "keras_recompile",
        "drop_moments",
        "aa",
        "ulp",
        "rate_x2",
    )
    """policies and controls to compare, listed above, or all; keras_recompile@10 is one in fits of 10 epochs"""
    quick: bool = False
    """10 epochs and 6 seeds, unless asked otherwise: to see it work, not to conclude from"""
    full: bool = False
    """add the ruler of rates: one fit at half, 0.9, 1.1 times and twice the rate"""
    tuned: tuple[str, ...] | None = None
    """compare again, each arm at its own best rate: from a grid around --lr, or from the folder of a sweep"""


@dataclass(frozen=True, kw_only=True)
class RefitPlan(Plan):
    """A plan, and how each arm's own best rate is found, if that is asked for."""

    tuning: Grid | Swept | None = None


def decide(config: Config, stored: Mapping[str, Any], series: Series | None = None) -> list[RefitPlan]:
    """The plan for each series; `series` is one given from Python, in place of the one that `config.data` names."""
    if "rates" in stored:
        raise ValueError("resume: a folder best_rate is part of a run; allowed: the folder above it")
    plans = pl.decide(RefitPlan, expanded(config), arms_of, series=series)
    return [_with_tuning(plan, stored.get("tuning")) for plan in plans]


def expanded(config: Config) -> Config:
    """The configuration with the values that `quick`, `full` and `all` (arms) stand for."""
    if config.quick:
        config = pl.unless_asked(config, QUICK)
    if config.arms == ("all",):
        config = pl.unless_asked(config, {"seeds": ALL_SEEDS})
    if config.full:
        names = tuple(dict.fromkeys((*config.arms, *ar.RULER)))
        config = dataclasses.replace(config, arms=names, full=False)
    return config


def arms_of(config: Config, built: Built) -> tuple[list[ar.Arm], dict[str, str]]:
    """The arms of the configuration, and the names left out as duplicates."""
    return ar.parse(config.arms, config, built)


def _with_tuning(plan: RefitPlan, stored: Mapping[str, Any] | None) -> RefitPlan:
    """Add the tuning to a plan; `stored` is that of a resumed run. ValueError for an invalid field."""
    config = plan.config
    if config.tuned is None:
        return plan
    if len(config.tuned) > 1:
        raise ValueError(f"tuned: {', '.join(config.tuned)}; allowed: nothing, or one folder of a sweep")
    able = tuning.able(plan.arms)
    if not config.tuned:
        last = tuning.FIRST_TUNED - FIRST_SEED
        if config.seeds > last:
            raise ValueError(
                f"seeds: {config.seeds}; allowed with tuned: up to {last}, as rates are tuned on seeds from "
                f"{tuning.FIRST_TUNED} on"
            )
        seeds = tuning.QUICK_SEEDS if config.quick else tuning.SEEDS
        decided = Grid(
            arms=tuple(arm.name for arm in able), seeds=tuple(tuning.FIRST_TUNED + i for i in range(seeds))
        )
    elif stored is not None:  # the sweep is read only once
        decided = Swept(**stored)
    else:
        from experiments.refit import rates_of_sweep  # imports polars, which other runs do not need

        decided = rates_of_sweep.decide(config, Path(config.tuned[0]), plan.source, able)
    return dataclasses.replace(pl.with_facts(plan, {"tuning": dataclasses.asdict(decided)}), tuning=decided)
