"""What does a call of fit cost, relative to the epoch that it trains?

    python -m experiments.overhead                     ours, and the packages that this Python has (extra `peers`)
    python -m experiments.overhead --python PYTHON     those of another Python
    python -m experiments.overhead --quick             ours alone, in about a minute

LSTM(50), batch 32, 30 steps of 4 features, in epochs of 1 to 1,000 steps: one call per epoch, a new optimizer before
each call, and a new network too, against all epochs in one call. Ours has its boundaries within one compiled run, and
also one call per epoch. All train the same windows from the same weights, and must reach the same loss.
Runtime: about 18 minutes on two cores. Expected: a boundary of ours costs tens of µs whatever it drops; a call of Keras
milliseconds, and half a second where compile is called again.
"""

from experiments.harness.document import Document
from experiments.harness.experiment import Decisions, Experiment, Workplace, carry_out
from experiments.harness.peers.jobs import Measured
from experiments.overhead import jobs
from experiments.overhead.jobs import Config


def measure(decisions: Decisions, workplace: Workplace) -> Measured:
    """One length of an epoch after another; all arms of a package follow each other closely."""
    from experiments.harness.peers.measure import bench, timed  # --help must not wait for numpy

    config = decisions.config
    lost = {name: "not measured (not asked)" for name in jobs.PEERS if name not in config.peers}
    rows = []
    with bench(workplace, config.python, lost) as place:
        for steps in config.steps:
            rows += timed(place, jobs.jobs(config, steps), config.repetitions, lambda job: job.package)
    return Measured(rows=rows, lost=lost)


def conclude(decisions: Decisions, measured: Measured) -> Document:
    """What a call costs, what is missing, and whether all trained the same."""
    from experiments.overhead import report

    return report.document(measured)


EXPERIMENT = Experiment(
    name="overhead", config=Config, decide=jobs.decide, measure=measure, conclude=conclude
)


def main(config: Config | None = None) -> Measured:
    """The whole command, for Python: a row per repetition. ValueError for what the command line would refuse."""
    [measured] = carry_out(EXPERIMENT, Config() if config is None else config)
    return measured
