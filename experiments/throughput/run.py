"""How fast is a training, and how fast are many?

    python -m experiments.throughput                   ours, Flax, and the packages that this Python has (extra `peers`)
    python -m experiments.throughput --python PYTHON   those of another Python
    python -m experiments.throughput --quick           ours and Flax alone, in about a minute
    python -m experiments.throughput --gpu             1,024 trainings at once, and one large, on a GPU
    python -m experiments.throughput --gpu --device cpu --members 8 --epochs 3 --others 2     the same without a GPU

LSTM(50), batch 32, 30 steps of 4 features, 2,048 windows, Adam: one training; 64 of them in one program against one
after another in one process per core; how time grows with members, epochs, time steps, hidden units and cores; and the
time that the matrix products alone would take at the rate measured in the same run. On a GPU: 1,024 of them with four
learning rates in one program, against a few of PyTorch's, one after another; and one LSTM(512), batch 128, 100 steps
of 16 features, by this package's scan, by cuDNN within JAX, and by PyTorch. Each package has a process of its own, all
train the same windows from the same weights in float32 and must reach the same loss, and they take turns.
Runtime: about 15 minutes on two cores. Expected: ours takes 0.6 to 0.8 × the time of Flax's own cell scanned.
"""

from experiments.harness.document import Document
from experiments.harness.experiment import Experiment, Workplace, carry_out
from experiments.harness.peers.jobs import Job, Measured, Row
from experiments.throughput import jobs
from experiments.throughput.jobs import Config, Decisions


def measure(decisions: Decisions, workplace: Workplace) -> Measured:
    """All jobs; those of one part take turns, and the fastest package is chosen for the second part."""
    from experiments.harness.peers.measure import bench, timed  # --help must not wait for numpy
    from experiments.throughput.report import fastest

    config = decisions.config
    lost = {name: "not measured (not asked)" for name in jobs.expected(config) if name not in config.peers}
    platform = config.device if config.gpu else "cpu"

    def part(of: list[Job]) -> list[Row]:
        with bench(workplace, config.python, lost, platform, waited=not config.gpu) as place:
            return timed(place, of, config.repetitions)

    if config.gpu:
        return Measured(rows=part(jobs.on_gpu(config)), lost=lost)
    rows = [row for name in config.shapes for row in part(jobs.ones(decisions, name))]
    rows += part(jobs.many(decisions, fastest(rows)))
    for axis in () if config.quick else jobs.GROWTH:
        rows += part(jobs.growth(decisions, axis))
    return Measured(rows=rows + part(jobs.limit(decisions)), lost=lost)


def conclude(decisions: Decisions, measured: Measured) -> Document:
    """Times and ratios, what is missing, whether all trained the same, and the limit."""
    from experiments.throughput import report

    return report.document(measured, decisions.config.gpu)


EXPERIMENT = Experiment(
    name="throughput", config=Config, decide=jobs.decide, measure=measure, conclude=conclude
)


def main(config: Config | None = None) -> Measured:
    """The whole command, for Python: a row per repetition. ValueError for what the command line would refuse."""
    [measured] = carry_out(EXPERIMENT, Config() if config is None else config)
    return measured
