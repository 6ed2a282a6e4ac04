"""What a run decides before its first step: configuration, data, arms, and the folder that holds them."""

import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from rich.console import Console

from experiments.harness import arms, exits, lock, outcome, report, run_folder, training
from experiments.harness import arms as ar
from experiments.harness.setting import WHERE, Built, Setting, build, check
from experiments.harness.source import Source, open_source
from lstm_sched import population, stats
from lstm_sched.data.series import Series
from lstm_sched.members import Progress


class Experiment(NamedTuple):
    """What tells one question from another."""

    name: str  # of the module that is run
    config: type[Setting]
    arms: Callable[[Any, Built], tuple[list[ar.Arm], dict[str, str]]]  # and those left out, {name: twin}
    watched: bool = False  # whether arms have per-epoch rules
    tuning: Callable[[Any, Source, Sequence[ar.Arm]], dict[str, Any] | None] = lambda *_: None  # as in a Plan


class Plan(NamedTuple):
    """All that is decided before the first step on one series."""

    config: Any  # of the experiment's type
    folder: Path
    source: Source
    built: Built
    arms: list[ar.Arm]
    aliases: dict[str, str]
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
        arms, aliases = experiment.arms(one, built)
        ready.append((one, source, built, arms, aliases, experiment.tuning(one, source, arms)))
    folder = run_folder.new_folder(config.out, experiment.name)
    several = len(ready) > 1
    plans = []
    for (one, *rest), name in zip(ready, run_folder.safe_names(names), strict=True):
        plan = Plan(one, folder / name if several else folder, *rest)
        plan.folder.mkdir(exist_ok=True)
        write_decisions(experiment.name, plan)
        plans.append(plan)
    if several:
        stored = {
            "experiment": experiment.name,
            "command": run_folder.command(experiment.name),
            "runs": run_folder.safe_names(names),
        }
        run_folder.write_json(folder / "config.json", stored | {"config": dataclasses.asdict(config)})
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
    stored = run_folder.read_json(folder / "config.json")
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
    facts = decided | {"data": data, "hash": run_folder.digest(substance)}
    facts |= {"command": command} if command else {}
    run_folder.decide(plan.folder, experiment, plan.config, facts)


def _of_substance(config: Setting) -> dict[str, Any]:
    """The fields that results may depend on."""
    where = (*WHERE, "tuned")  # the decisions say how rates are tuned
    return {name: value for name, value in dataclasses.asdict(config).items() if name not in where}


def decisions(plan: Plan) -> dict[str, Any]:
    """What the verdicts rest on, fixed before the first step."""
    return {
        "arms": {
            arm.name: {"seeds": arm.seeds, "every": arm.every or 0, "control": arm.control}
            for arm in plan.arms
        },
        "twins": plan.aliases,
        "metrics": [*stats.Metric],
        "margin": stats.DELTA,
        "alpha": stats.ALPHA,
        "family": outcome.family(plan.arms),
    } | ({"tuning": plan.tuning} if plan.tuning else {})


# A plan carried out as far as all experiments do the same: say what is planned, train, note how it ended.


T = TypeVar("T")


def each(plans: list[Plan], execute_one: Callable[[Plan], T]) -> list[T]:
    """Every series in turn; where a signal stops one, the whole is what the user goes on with.

    Raises lock.InUse where another process works in one of the folders.
    """
    with contextlib.ExitStack() as held:
        for plan in plans:
            said = held.enter_context(lock.hold(plan.folder))
            if said:
                print(said, file=sys.stderr)
        try:
            return [execute_one(plan) for plan in plans]
        except exits.Interrupted as e:
            raise exits.Interrupted(e.signum, job_folder(plans)) from e


def train(plan: Plan, console: Console, describe: bool = True) -> tuple[Progress, float]:
    """All members at their last epoch, and the seconds that it took; before it the data are described, once a run."""
    config, built = plan.config, plan.built
    if describe:
        report.say_data(console, config, plan.source)
    member_M = population.stack(arms.members(plan.arms, config, built))
    learner, layout, data = built.learner, built.layout, built.split.data
    compiled, epoch_seconds = training.probe(learner, layout, member_M, data)
    report.say_plan(console, plan.folder, config, plan.arms, layout, compiled, epoch_seconds)
    run_folder.write_status(plan.folder, "running", of=config.epochs)
    chunk = training.chunk_of(epoch_seconds, config.epochs)
    started = time.monotonic()
    labels = arms.labels(plan.arms)
    state_M = training.train(
        plan.folder,
        learner,
        layout,
        member_M,
        labels,
        data,
        config.epochs,
        chunk,
        console,
        config.save_every,
    )
    return state_M, time.monotonic() - started


def finish(plan: Plan, console: Console, began: float, trained: float, void: list[str]) -> None:
    """Note the end. RuntimeError where an arm is not the run that it must be."""
    total = time.monotonic() - began
    last = run_folder.read_json(plan.folder / "status.json")
    run_folder.write_status(
        plan.folder,
        "finished",
        epochs=plan.config.epochs,
        seconds_training=round(trained, 1),
        seconds_saving=last.get("seconds_saving", 0.0),
        seconds=round(total, 1),
    )
    console.print(f"{total:.0f} s, of them {trained:.0f} s training. Raw numbers and figure: {plan.folder}")
    if void:
        raise RuntimeError(f"void: {', '.join(void)} must be another run bit for bit, and is not")
