"""What do the frameworks' idioms do between two fits, and does it matter?

    python -m experiments.refit            LSTM(50) on monthly sunspots, 100 epochs, 62 trainings
    python -m experiments.refit --quick    a look at it, in under 30 s

Runtime: 4 to 5 minutes on two cores. Expected: a loop of fits that drops nothing is the same run, bit for bit;
re-building the optimizer, or dropping its moments, is not, and whether it helps depends on when one looks.
"""

import time
from pathlib import Path

from experiments import arms as A
from experiments import beside, figure, outcome, page, pooled, record, refit_page, report, training
from experiments.refit_plan import EXPERIMENT, Config, Plan, prepare
from lstm_sched import population
from lstm_sched.series import Series


def execute(plans: list[Plan]) -> list[outcome.Results]:
    """Every series in turn; several of them are pooled."""
    try:
        results = [execute_one(plan) for plan in plans]
    except training.Interrupted as e:  # the whole is what the user goes on with
        raise training.Interrupted(e.signum, job_folder(plans)) from e
    if len(plans) > 1:
        rows = pooled.pool([plan.source.name for plan in plans], [plan.arms for plan in plans], results)
        pooled.say(report.console(), job_folder(plans), rows)
    return results


def job_folder(plans: list[Plan]) -> Path:
    """What --resume takes: the folder of the one run, or the one around several."""
    return plans[0].folder if len(plans) == 1 else plans[0].folder.parent


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
    environment = record.read_json(plan.folder / "env.json")
    page.write(
        plan.folder,
        refit_page.sections(
            plan.folder, config, plan.source, plan.arms, plan.twins, results, found, stored, environment
        ),
    )
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
