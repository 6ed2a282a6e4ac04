"""What a run decides before its first step: configuration, data, arms, and the folder that holds them."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments import arms as A
from experiments import outcome, record, training
from experiments.setting import WHERE, Built, Setting, build, check
from experiments.source import Source, open_source
from lstm_sched import population, stats
from lstm_sched.series import Series


class Experiment(NamedTuple):
    """What tells one question from another."""

    name: str  # of the module that is run
    config: type[Setting]
    arms: Callable[[Any, Built], tuple[list[A.Arm], dict[str, str]]]  # and those left out, {name: twin}
    watched: bool = False  # whether arms have per-epoch rules
    tuning: Callable[[Any, Source, Sequence[A.Arm]], dict[str, Any] | None] = lambda *_: None  # as in a Plan


class Plan(NamedTuple):
    """All that is decided before the first step on one series."""

    config: Any  # of the experiment's type
    folder: Path
    source: Source
    built: Built
    arms: list[A.Arm]
    twins: dict[str, str]
    tuning: dict[str, Any] | None = None  # how each arm's own best rate is found, where that is asked for
    heading: str = ""  # of its tables, where a run has two


def prepare(experiment: Experiment, config: Setting, given: Series | None = None) -> list[Plan]:
    """Check everything for every series, then make the folders. ValueError before any compilation.

    `given` is a series from Python, in place of the one that `data` names.
    """
    if config.resume is not None:
        return _resumed(experiment, config, given)
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
        built = build(one, source.split, experiment.watched)
        arms, twins = experiment.arms(one, built)
        ready.append((one, source, built, arms, twins, experiment.tuning(one, source, arms)))
    folder = record.new_folder(config.out, experiment.name)
    several = len(ready) > 1
    plans = []
    for (one, *rest), name in zip(ready, record.safe_names(names), strict=True):
        plan = Plan(one, folder / name if several else folder, *rest)
        plan.folder.mkdir(exist_ok=True)
        write_decisions(experiment.name, plan)
        plans.append(plan)
    if several:
        stored = {
            "experiment": experiment.name,
            "command": record.command(experiment.name),
            "runs": record.safe_names(names),
        }
        record.write_json(folder / "config.json", stored | {"config": dataclasses.asdict(config)})
    return plans


def unless_asked(config: Any, fields: dict[str, Any]) -> Any:
    """The configuration with other values for fields that are at their defaults."""
    return dataclasses.replace(
        config, **{k: v for k, v in fields.items() if getattr(config, k) == getattr(type(config), k)}
    )


def job_folder(plans: list[Plan]) -> Path:
    """What --resume takes: the folder of the one run, or the one around several."""
    return plans[0].folder if len(plans) == 1 else plans[0].folder.parent


def _resumed(experiment: Experiment, config: Setting, given: Series | None) -> list[Plan]:
    changed = {f.name for f in dataclasses.fields(config) if getattr(config, f.name) != f.default}
    if changed != {"resume"}:
        others = ", ".join(sorted(changed - {"resume"}))
        raise ValueError(f"resume: the configuration is read from {config.resume}; leave out {others}")
    folder = Path(str(config.resume))
    stored = record.read_json(folder / "config.json")
    if stored.get("experiment") != experiment.name:
        raise ValueError(
            f"resume: {folder} is a run of {stored.get('experiment')}; allowed: one of {experiment.name}"
        )
    if "rates" in stored:
        raise ValueError(f"resume: {folder} is a part of {folder.parent}; allowed: the whole")
    if "runs" in stored:
        whole = (experiment.config(resume=str(folder / run)) for run in stored["runs"])
        return [plan for one in whole for plan in _resumed(experiment, one, given)]
    known = training.from_dict(experiment.config, stored["config"])
    population.use_cores(known.devices)
    source = open_source(known, known.data[0], given)
    if source.digest != stored["data"]["digest"]:
        raise ValueError(
            f"resume: {folder} was begun with other values of {source.name}; allowed: the same data"
        )
    built = build(known, source.split, experiment.watched)
    return [Plan(known, folder, source, built, *experiment.arms(known, built), stored.get("tuning"))]


def write_decisions(
    experiment: str, plan: Plan, rates: dict[str, float] | None = None, command: str | None = None
) -> None:
    """config.json and env.json in the plan's folder.

    `rates` are those of the arms, where each has its own; `command` is what the user typed, if not just now.
    """
    decided = decisions(plan) | ({"rates": rates} if rates else {})
    substance = decided | {"data": plan.source.digest, "config": _of_substance(plan.config)}
    data = {"digest": plan.source.digest, "understood": plan.source.understood}
    facts = decided | {"data": data, "hash": record.digest(substance)}
    facts |= {"command": command} if command else {}
    record.decide(plan.folder, experiment, plan.config, facts)


def _of_substance(config: Setting) -> dict[str, Any]:
    """The fields that results may depend on."""
    where = (*WHERE, "tuned")  # the decisions say how rates are tuned
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
    } | ({"tuning": plan.tuning} if plan.tuning else {})
