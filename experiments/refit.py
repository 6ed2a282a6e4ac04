"""What do the frameworks' idioms do between two fits, and does it matter?

    python -m experiments.refit            LSTM(50) on monthly sunspots, 100 epochs, 62 trainings
    python -m experiments.refit --quick    a look at it, in under 30 s

Runtime: 4 to 5 minutes on two cores. Expected: a loop of fits that drops nothing is the same run, bit for bit;
re-building the optimizer, or dropping its moments, is not, and whether it helps depends on when one looks.
"""

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from experiments import arms as A
from experiments import beside, figure, outcome, pooled, record, report, training
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
    decided = decisions(plan)
    stored = {
        "experiment": EXPERIMENT,
        "command": record.command(EXPERIMENT),
        "config": dataclasses.asdict(plan.config),
        "data": {"digest": plan.source.digest, "understood": plan.source.understood},
    }
    record.write_json(plan.folder / "config.json", stored | decided | {"hash": record.digest(decided)})
    record.write_json(plan.folder / "env.json", record.environment())


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


def execute(plans: list[Plan]) -> list[outcome.Results]:
    """Every series in turn; several of them are pooled."""
    results = [execute_one(plan) for plan in plans]
    if len(plans) > 1:
        rows = pooled.pool([plan.source.name for plan in plans], [plan.arms for plan in plans], results)
        pooled.say(report.console(), plans[0].folder.parent, rows)
    return results


def execute_one(plan: Plan) -> outcome.Results:
    """Train all members, then compare, write and print."""
    began = time.monotonic()
    config, built = plan.config, plan.built
    console = report.console()
    report.say_data(console, config, plan.source)
    labels = A.labels(plan.arms)
    member_M = population.stack(A.members(plan.arms, config, built))
    learner, layout, data = built.learner, built.layout, built.split.data
    compiled, epoch_seconds = training.probe(learner, layout, member_M, data)
    report.say_plan(console, plan.folder, config, plan.arms, layout, compiled, epoch_seconds)
    record.write_status(plan.folder, "running", of=config.epochs)
    chunk = training.chunk_of(epoch_seconds, config.epochs)
    started = time.monotonic()
    state_M = training.train(
        plan.folder, learner, layout, member_M, labels, data, config.epochs, chunk, console
    )
    trained = time.monotonic() - started
    results = outcome.conclude(config, built, plan.arms, plan.folder, state_M)
    stored = record.read_json(plan.folder / "config.json")
    found = beside.beside(plan.arms, results, plan.source.period)
    outcome.write(plan.folder, results, stored["hash"])
    beside.write(plan.folder, plan.arms, results, found, stored["hash"])
    figure.draw(plan.folder, config, plan.arms, results, stored["command"])
    report.write_markdown(plan.folder, config, plan.arms, results)
    report.say_answer(console, config, plan.arms, plan.twins, results)
    total = time.monotonic() - began
    record.write_status(
        plan.folder,
        "finished",
        epochs=config.epochs,
        seconds_training=round(trained, 1),
        seconds=round(total, 1),
    )
    console.print(f"{total:.0f} s, of them {trained:.0f} s training. Raw numbers and figure: {plan.folder}")
    void = outcome.void(plan.arms, results)
    if void:
        raise RuntimeError(f"void: {', '.join(void)} must be the reference run bit for bit, and is not")
    return results


def main(config: Config | None = None, series: Series | None = None) -> list[outcome.Results]:
    """The whole job, for Python, one result a series; ValueError for what the command line would refuse.

    `series` is your own (`lstm_sched.from_arrays(...).series`), in place of the one that `config.data` names.
    """
    return execute(prepare(Config() if config is None else config, series))


if __name__ == "__main__":
    training.command_line(EXPERIMENT, Config, prepare, execute, __doc__ or "")
