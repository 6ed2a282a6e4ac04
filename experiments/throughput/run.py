"""How fast is a training, and how fast are many?

    python -m experiments.throughput                   ours, Flax, and the packages that this Python has (extra `peers`)
    python -m experiments.throughput --python PYTHON   those of another Python
    python -m experiments.throughput --quick           ours and Flax alone, in under a minute

LSTM(50), batch 32, 30 steps of 4 features, 2,048 windows, Adam: one training; 64 of them in one program against one
after another in one process a core; how time grows with members, epochs, time steps, hidden units and cores; and the
time that the matrix products alone would take at the rate measured in the same run. Each package has a process of its
own, all train the same windows from the same weights and must reach the same loss, and they take turns.
Runtime: about 15 minutes on two cores. Expected: ours takes 0.6 to 0.8 of the time of Flax's own cell scanned.
"""

from experiments.harness import report
from experiments.harness.peers import comparison
from experiments.throughput import jobs, measure
from experiments.throughput import report as re
from experiments.throughput.jobs import Config, Plan, Timed, prepare


def execute(plan: Plan) -> list[Timed]:
    """Measure, compare, write and print."""
    config = plan.config
    missing = {name: "not asked" for name in jobs.ASKED if name not in config.peers}
    rows: list[Timed] = []
    with report.running(plan.folder, "Table, figure and page") as out:
        out.print(f"{len(plan.cores)} cores. Ctrl-C stops it. Results: {plan.folder}", markup=False)
        for name in config.shapes:
            rows += measure.timed(plan, jobs.ones(plan, name), out, missing)
        rows += measure.timed(plan, jobs.many(plan, re.fastest(rows)), out, missing)
        for axis in () if config.quick else jobs.GROWTH:
            rows += measure.timed(plan, jobs.growth(plan, axis), out, missing)
        rows += measure.timed(plan, jobs.limit(plan), out, missing)
        told = re.compared(rows, missing)
        re.write(plan.folder, rows, told)
    comparison.say(out, told)
    return rows


def main(config: Config | None = None) -> list[Timed]:
    """The whole command, for Python. ValueError for what the command line would refuse."""
    return execute(prepare(Config() if config is None else config))
