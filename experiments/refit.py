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
from experiments import figure, outcome, record, report, training
from experiments.setting import Built, Setting, build
from lstm_sched import population, stats

EXPERIMENT = "refit"
QUICK = {"epochs": 10, "seeds": 6}


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
    """what is compared with one_fit: policies (keras_recompile@10: another --every for one arm) and controls"""
    quick: bool = False
    """10 epochs and 6 seeds, unless said otherwise: to see it work, not to conclude from"""


class Plan(NamedTuple):
    """All that is decided before the first step."""

    config: Config
    folder: Path
    built: Built
    arms: list[A.Arm]
    twins: dict[str, str]


def prepare(config: Config) -> Plan:
    """Check everything, then make the folder. Raises ValueError before any compilation."""
    if config.resume is not None:
        changed = {f.name for f in dataclasses.fields(config) if getattr(config, f.name) != f.default}
        if changed != {"resume"}:
            others = ", ".join(sorted(changed - {"resume"}))
            raise ValueError(f"resume: the configuration is read from {config.resume}; leave out {others}")
        folder = Path(config.resume)
        stored = record.read_json(folder / "config.json")
        if stored["experiment"] != EXPERIMENT:
            raise ValueError(
                f"resume: {folder} is a run of {stored['experiment']}; allowed: one of {EXPERIMENT}"
            )
        config = training.from_dict(Config, stored["config"])
        built = build(config)
        return Plan(config, folder, built, *A.parse(config.arms, config, built))
    if config.quick:
        unset = {k: v for k, v in QUICK.items() if getattr(config, k) == getattr(Config, k)}
        config = dataclasses.replace(config, **unset)
    built = build(config)
    arms, twins = A.parse(config.arms, config, built)
    plan = Plan(config, record.new_folder(config.out, EXPERIMENT), built, arms, twins)
    decided = decisions(plan)
    stored = {
        "experiment": EXPERIMENT,
        "command": record.command(EXPERIMENT),
        "config": dataclasses.asdict(config),
    }
    record.write_json(plan.folder / "config.json", stored | decided | {"hash": record.digest(decided)})
    record.write_json(plan.folder / "env.json", record.environment())
    return plan


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


def execute(plan: Plan) -> outcome.Results:
    """Train all members, then compare, write and print."""
    began = time.monotonic()
    config, built = plan.config, plan.built
    console = report.console()
    report.say_data(console, config, built)
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
    outcome.write(plan.folder, plan.arms, results, stored["hash"])
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


def main(config: Config | None = None) -> outcome.Results:
    """The whole job, for Python: ValueError for what the command line would refuse."""
    return execute(prepare(Config() if config is None else config))


if __name__ == "__main__":
    training.command_line(EXPERIMENT, Config, prepare, execute, __doc__ or "")
