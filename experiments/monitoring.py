"""Does a loop of fits buy early stopping, or plateau decay?

    python -m experiments.monitoring            stopping and ReduceLROnPlateau × counters × patience, on sunspots
    python -m experiments.monitoring --quick    a look at it

Each rule runs in one fit; in a loop of fits that keeps its counters; in Keras' loop, where the same callback
object is handed to every fit and starts anew; and in that loop with `initial_epoch`. Runtime: about 5 minutes on
two cores. Expected: kept counters are the one fit and reset counters are no rule at all, bit for bit; what stopping
saves in epochs and costs in loss is a matter of the patience, not of the loop.
"""

import time

from experiments import command_line, job, monitoring_page, monitoring_report, outcome, page, record, report
from experiments.monitoring_plan import MONITORING, Config, prepare
from experiments.plan import Plan
from lstm_sched.series import Series


def execute(plans: list[Plan]) -> list[outcome.Results]:
    """Every series in turn."""
    return job.each(plans, execute_one)


def execute_one(plan: Plan) -> outcome.Results:
    """Train all members, assert the identities, then compare, write and print."""
    began, console = time.monotonic(), report.console()
    state_M, trained = job.train(plan, console)
    results = outcome.conclude(plan.config, plan.built, plan.arms, plan.folder, state_M)
    stored = record.read_json(plan.folder / "config.json")
    outcome.write(plan.folder, results, stored["hash"])
    rows = monitoring_report.rows(plan.arms, results)
    record.write_csv(plan.folder / "rules.csv", [{"config": stored["hash"]} | row for row in rows])
    monitoring_report.draw(plan.folder, plan.arms, results, stored["command"])
    environment = record.read_json(plan.folder / "env.json")
    page.write(plan.folder, monitoring_page.sections(plan, results, stored, environment))
    monitoring_report.say(console, plan.arms, results)
    job.finish(plan, console, began, trained, outcome.void(plan.arms, results))
    return results


def main(config: Config | None = None, series: Series | None = None) -> list[outcome.Results]:
    """The whole job, for Python, one result a series; ValueError for what the command line would refuse."""
    return execute(prepare(Config() if config is None else config, series))


if __name__ == "__main__":
    command_line.run(MONITORING.name, Config, prepare, execute, __doc__ or "")
