"""Does a loop of fits buy early stopping, or plateau decay?

    python -m experiments.monitoring            stopping and ReduceLROnPlateau × counters × patience, on sunspots
    python -m experiments.monitoring --quick    a look at it

Each rule runs in one fit; in a loop of fits that keeps its counters; in Keras' loop, where the same callback
object is handed to every fit and starts again; and in that loop with `initial_epoch`. Runtime: about 5 minutes on
two cores. Expected: kept counters are the one fit and reset counters are no rule at all, bit for bit; what stopping
saves in epochs and costs in loss is a matter of the patience, not of the loop.
"""

import dataclasses
from functools import partial

from experiments.harness import experiment, outcome
from experiments.harness.data_section import show_data
from experiments.harness.experiment import Experiment, Workplace
from experiments.harness.outcome import Results
from experiments.harness.plan import Plan
from experiments.monitoring import report
from experiments.monitoring.config import Config, decide
from lstm_sched.data.series import Series


def measure(plan: Plan, workplace: Workplace) -> Results:
    """Train all arms."""
    show_data(workplace.console, plan.config, plan.source)
    return outcome.measure(plan, workplace.folder, workplace.console)


EXPERIMENT = Experiment(
    name="monitoring", config=Config, decide=decide, measure=measure, conclude=report.document
)


def main(config: Config | None = None, series: Series | None = None) -> list[Results]:
    """The whole experiment, for Python; arguments and errors as in `refit`."""
    question = dataclasses.replace(EXPERIMENT, decide=partial(decide, series=series))
    return experiment.carry_out(question, Config() if config is None else config)
