"""What do the frameworks' idioms do between two fits, and does it matter?

    python -m experiments.refit            LSTM(50) on monthly sunspots, 100 epochs, 62 trainings
    python -m experiments.refit --quick    a look at it, in under 30 s

Runtime: about 4 minutes on two cores. Expected: a loop of fits that drops nothing is the same run, bit for bit;
re-building the optimizer, or dropping its moments, is not, and whether it helps depends on when one looks.
"""

import time

from experiments import beside, command_line, job, outcome, page, pooled, record, report
from experiments.plan import Plan, job_folder
from experiments.refit_plan import REFIT, Config, prepare
from lstm_sched.series import Series


def execute(plans: list[Plan]) -> list[outcome.Results]:
    """Every series in turn; several of them are pooled."""
    results = job.each(plans, execute_one)
    if len(plans) > 1:
        rows = pooled.pool([plan.source.name for plan in plans], [plan.arms for plan in plans], results)
        pooled.say(report.console(), job_folder(plans), rows)
    return results


def execute_one(plan: Plan) -> outcome.Results:
    """Train all members, then compare, write and print."""
    began, console, config = time.monotonic(), report.console(), plan.config
    state_M, trained = job.train(plan, console)
    from experiments import figure, refit_page  # no training waits for matplotlib

    results = outcome.conclude(config, plan.built, plan.arms, plan.folder, state_M)
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
    job.finish(plan, console, began, trained, outcome.void(plan.arms, results))
    return results


def main(config: Config | None = None, series: Series | None = None) -> list[outcome.Results]:
    """The whole job, for Python, one result a series; ValueError for what the command line would refuse.

    `series` is your own (`lstm_sched.from_arrays(...).series`), in place of the one that `config.data` names.
    """
    return execute(prepare(Config() if config is None else config, series))


if __name__ == "__main__":
    command_line.run(REFIT.name, Config, prepare, execute, __doc__ or "")
