"""The plan of a run that compares arms on a series: decided before its first step, kept in config.json."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from experiments.harness import run_folder
from experiments.harness.arms import Arm, family
from experiments.harness.experiment import Decisions
from experiments.harness.setting import WHERE, Built, Setting, build, check
from experiments.harness.source import Source, open_source
from lstm_sched import population, stats
from lstm_sched.data.series import Series

APART = (*WHERE, "tuned")  # fields on which no result depends, or which the facts describe better


@dataclass(frozen=True, kw_only=True)
class Plan(Decisions):
    """All decisions on one series; `config` is a subclass of Setting.

    `aliases` are names that were left out because they would repeat another arm's run: {name: that arm}.
    """

    source: Source
    built: Built
    arms: tuple[Arm, ...]
    aliases: Mapping[str, str]


P = TypeVar("P", bound=Plan)


def decide(
    kind: type[P],
    config: Setting,
    arms_of: Callable[[Any, Built], tuple[list[Arm], dict[str, str]]],
    watched: bool = False,
    series: Series | None = None,
) -> list[P]:
    """The plan for each series in turn.

    Args:
        kind: the class of the plans; fields that it adds to those of Plan need defaults.
        config: the configuration; `data` may name several series.
        arms_of: maps the configuration and what was built from it to the arms, and to the names left out.
        watched: whether arms have per-epoch rules.
        series: given from Python, in place of the one that `data` names.

    Raises:
        ValueError, TypeError, OSError: before any compilation, with the field, its value and what is allowed.
    """
    check(config)
    if series is not None and len(config.data) > 1:
        raise ValueError(
            f"data: {', '.join(config.data)}; allowed: one name for one series given from Python"
        )
    names = [Path(name).stem for name in config.data] if series is None else [series.name]
    population.use_cores(config.devices)
    plans = []
    for name, part in zip(config.data, run_folder.safe_names(names), strict=True):
        of_part = dataclasses.replace(config, data=(name,), out=None, resume=None)
        source = open_source(of_part, name, series)
        built = build(of_part, source.split, watched)
        arms, aliases = arms_of(of_part, built)
        plan = kind(
            config=of_part,
            facts={},
            part=part,
            source=source,
            built=built,
            arms=tuple(arms),
            aliases=aliases,
        )
        plans.append(with_facts(plan, {}))
    return plans


def with_facts(plan: P, more: Mapping[str, Any]) -> P:
    """The plan with its facts, including `more`, and with the hash of all that results depend on."""
    decided = {
        "arms": {
            arm.name: {"seeds": arm.seeds, "every": arm.every or 0, "control": arm.control}
            for arm in plan.arms
        },
        "twins": plan.aliases,
        "metrics": list(stats.Metric),
        "margin": stats.DELTA,
        "alpha": stats.ALPHA,
        "family": family(plan.arms),
        **more,
    }
    config = {name: value for name, value in dataclasses.asdict(plan.config).items() if name not in APART}
    digest = run_folder.digest(decided | {"data": plan.source.digest, "config": config})
    data = {"digest": plan.source.digest, "understood": plan.source.understood}
    return dataclasses.replace(plan, facts={**decided, "data": data}, digest=digest)


def unless_asked(config: Any, fields: Mapping[str, Any]) -> Any:
    """The configuration with these values for fields that are at their defaults."""
    defaults = {
        name: value for name, value in fields.items() if getattr(config, name) == getattr(type(config), name)
    }
    return dataclasses.replace(config, **defaults)
