"""Does a loop of fits buy early stopping, or plateau decay?

    python -m experiments.monitoring            stopping and ReduceLROnPlateau × counters × patience, on sunspots
    python -m experiments.monitoring --quick    a look at it

Each rule runs in one fit; in a loop of fits that keeps its counters; in Keras' loop, where the same callback
object is handed to every fit and starts anew; and in that loop with `initial_epoch`. Runtime: about 5 minutes on
two cores. Expected: kept counters are the one fit and reset counters are no rule at all, bit for bit; what stopping
saves in epochs and costs in loss is a matter of the patience, not of the loop.
"""

import time

from experiments.harness import outcome, page, report, run_folder
from experiments.harness import plan as pl
from experiments.harness.plan import Plan
from experiments.monitoring import report as re
from experiments.monitoring import report as rep
from experiments.monitoring.config import Config, prepare
from lstm_sched.data.series import Series


def execute(plans: list[Plan]) -> list[outcome.Results]:
    """Every series in turn."""
    return pl.each(plans, execute_one)


def execute_one(plan: Plan) -> outcome.Results:
    """Train all members, assert the identities, then compare, write and print."""
    began, console = time.monotonic(), report.console()
    state_M, trained = pl.train(plan, console)
    results = outcome.conclude(plan.config, plan.built, plan.arms, plan.folder, state_M)
    stored = run_folder.read_json(plan.folder / "config.json")
    outcome.write(plan.folder, results, stored["hash"])
    rows = rep.rows(plan.arms, results)
    run_folder.write_csv(plan.folder / "rules.csv", [{"config": stored["hash"]} | row for row in rows])
    rep.draw(plan.folder, plan.arms, results, stored["command"])
    environment = run_folder.read_json(plan.folder / "env.json")
    page.write(plan.folder, re.sections(plan, results, stored, environment))
    rep.say(console, plan.arms, results)
    pl.finish(plan, console, began, trained, outcome.void(plan.arms, results))
    return results


def main(config: Config | None = None, series: Series | None = None) -> list[outcome.Results]:
    """The whole job, for Python, one result a series; ValueError for what the command line would refuse."""
    return execute(prepare(Config() if config is None else config, series))
