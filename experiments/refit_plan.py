"""What a run of `refit` decides before its first step: configuration, data, arms, and the folder that holds them."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from experiments import arms as A
from experiments import outcome, record, training
from experiments.setting import Built, Setting, build, check
from experiments.source import Source, open_source
from lstm_sched import population, stats
from lstm_sched.series import Series

EXPERIMENT = "refit"
QUICK = {"epochs": 10, "seeds": 6}
ALL_SEEDS = 32


@dataclass(frozen=True)
class Config(Setting):
    """Fields of the main job."""

    arms: tuple[str, ...] = (
        "one_fit",
        "keras_loop",
        "keras_recompile",
        "drop_moments",
        "aa",
        "ulp",
        "rate_x2",
    )
    """what is compared with one_fit: policies (keras_recompile@10: another --every for one arm) and controls; or all"""
    quick: bool = False
    """10 epochs and 6 seeds, unless said otherwise: to see it work, not to conclude from"""
    full: bool = False
    """add the ruler of rates: one fit at half, 0.9, 1.1 times and twice the rate"""


class Plan(NamedTuple):
    """All that is decided before the first step on one series."""

    config: Config
    folder: Path
    source: Source
    built: Built
    arms: list[A.Arm]
    twins: dict[str, str]


def prepare(config: Config, given: Series | None = None) -> list[Plan]:
    """Check everything for every series, then make the folders. ValueError before any compilation.

    `given` is a series from Python, in place of the one that `data` names.
    """
    if config.resume is not None:
        return _resumed(config, given)
    if config.quick:
        config = _unless_asked(config, QUICK)
    if config.arms == ("all",):
        config = _unless_asked(config, {"seeds": ALL_SEEDS})
    if config.full:
        config = dataclasses.replace(config, arms=tuple(dict.fromkeys((*config.arms, *A.RULER))), full=False)
    check(config)
    names = [Path(name).stem if given is None else given.name for name in config.data]
    if given is not None and len(names) > 1:
        raise ValueError(
            f"data: {', '.join(config.data)}; allowed: one name for one series given from Python"
        )
    population.use_cores(config.devices)
    ready = []
    for name in config.data:
        one = dataclasses.replace(config, data=(name,), out=None)
        source = open_source(one, name, given)
        built = build(one, source.split)
        ready.append((one, source, built, *A.parse(one.arms, one, built)))
    folder = record.new_folder(config.out, EXPERIMENT)
    several = len(ready) > 1
    plans = []
    for (one, source, built, arms, twins), name in zip(ready, record.safe_names(names), strict=True):
        plan = Plan(one, folder / name if several else folder, source, built, arms, twins)
        plan.folder.mkdir(exist_ok=True)
        _write_decisions(plan)
        plans.append(plan)
    if several:
        stored = {
            "experiment": EXPERIMENT,
            "command": record.command(EXPERIMENT),
            "runs": record.safe_names(names),
        }
        record.write_json(folder / "config.json", stored | {"config": dataclasses.asdict(config)})
    return plans


def _unless_asked(config: Config, fields: dict[str, Any]) -> Config:
    return dataclasses.replace(
        config, **{k: v for k, v in fields.items() if getattr(config, k) == getattr(Config, k)}
    )


def _resumed(config: Config, given: Series | None) -> list[Plan]:
    changed = {f.name for f in dataclasses.fields(config) if getattr(config, f.name) != f.default}
    if changed != {"resume"}:
        others = ", ".join(sorted(changed - {"resume"}))
        raise ValueError(f"resume: the configuration is read from {config.resume}; leave out {others}")
    folder = Path(str(config.resume))
    stored = record.read_json(folder / "config.json")
    if stored.get("experiment") != EXPERIMENT:
        raise ValueError(
            f"resume: {folder} is a run of {stored.get('experiment')}; allowed: one of {EXPERIMENT}"
        )
    if "runs" in stored:
        return [plan for run in stored["runs"] for plan in _resumed(Config(resume=str(folder / run)), given)]
    known = training.from_dict(Config, stored["config"])
    population.use_cores(known.devices)
    source = open_source(known, known.data[0], given)
    if source.digest != stored["data"]["digest"]:
        raise ValueError(
            f"resume: {folder} was begun with other values of {source.name}; allowed: the same data"
        )
    built = build(known, source.split)
    return [Plan(known, folder, source, built, *A.parse(known.arms, known, built))]


def _write_decisions(plan: Plan) -> None:
    decided = decisions(plan) | {"data": plan.source.digest, "config": _of_substance(plan.config)}
    stored = {
        "experiment": EXPERIMENT,
        "command": record.command(EXPERIMENT),
        "config": dataclasses.asdict(plan.config),
        "data": {"digest": plan.source.digest, "understood": plan.source.understood},
    }
    record.write_json(plan.folder / "config.json", decided | stored | {"hash": record.digest(decided)})
    record.write_json(plan.folder / "env.json", record.environment())


def _of_substance(config: Config) -> dict[str, Any]:
    """The fields that results may depend on."""
    where = ("out", "resume", "devices", "layout")
    return {name: value for name, value in dataclasses.asdict(config).items() if name not in where}


def decisions(plan: Plan) -> dict[str, Any]:
    """What the verdicts rest on, fixed before the first step."""
    return {
        "arms": {
            arm.name: {"seeds": arm.seeds, "every": arm.every, "control": arm.control} for arm in plan.arms
        },
        "twins": plan.twins,
        "metrics": [stats.END, stats.SELECTED],
        "margin": stats.DELTA,
        "alpha": stats.ALPHA,
        "family": outcome.family(plan.arms),
    }
