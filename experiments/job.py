"""A plan carried out as far as all experiments do the same: say what is planned, train, note how it ended."""

import contextlib
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from rich.console import Console

from experiments import arms as A
from experiments import lock, record, report, signals, training
from experiments.plan import Plan, job_folder
from lstm_sched import population
from lstm_sched.member import Progress

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
        except signals.Interrupted as e:
            raise signals.Interrupted(e.signum, job_folder(plans)) from e


def train(plan: Plan, console: Console, describe: bool = True) -> tuple[Progress, float]:
    """All members at their last epoch, and the seconds that it took; before it the data are described, once a run."""
    config, built = plan.config, plan.built
    if describe:
        report.say_data(console, config, plan.source)
    member_M = population.stack(A.members(plan.arms, config, built))
    learner, layout, data = built.learner, built.layout, built.split.data
    compiled, epoch_seconds = training.probe(learner, layout, member_M, data)
    report.say_plan(console, plan.folder, config, plan.arms, layout, compiled, epoch_seconds)
    record.write_status(plan.folder, "running", of=config.epochs)
    chunk = training.chunk_of(epoch_seconds, config.epochs)
    started = time.monotonic()
    labels = A.labels(plan.arms)
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
    last = record.read_json(plan.folder / "status.json")
    record.write_status(
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
