"""How long do 1,024 trainings take on a GPU, and how long PyTorch's, one after another?

    python -m experiments.throughput_gpu --python PYTHON     beside the PyTorch (with CUDA) of another Python
    python -m experiments.throughput_gpu --device cpu --members 8 --epochs 3 --others 2     the same work without a GPU

Many: LSTM(50), batch 32, 30 steps of 4 features, 2,048 windows, Adam, 100 epochs: seeds with four learning rates in
one program, against PyTorch's nn.LSTM (cuDNN on a GPU), which trains a few of them, one after another. One large:
LSTM(512), batch 128, 100 steps of 16 features, by this package's scan, by cuDNN within JAX, and by PyTorch. Same
windows, weights and batches, all in float32 without TF32; what both train must reach the same loss after a few epochs
(later, rounding has grown to parts of the loss itself).
Runtime: a few minutes on a GPU. Not measured on one yet; on two cores, 4 members take 13 s here, 50 s in PyTorch.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import numpy as np
from rich.console import Console

from experiments.harness import cli, report, run_folder
from experiments.harness.peers import comparison, timing, workload
from experiments.harness.peers import process as pr
from experiments.harness.peers.comparison import Comparison
from experiments.harness.peers.process import OURS
from experiments.harness.peers.workload import RATES, SHAPES

# What `throughput_gpu` says: how long many trainings take here, and each of them elsewhere. Letters: R
# repetitions.


SAME = 2e-3  # relative difference of losses that rounding, and each package's form of Adam, may make
COLUMNS = ("what", "package", "trainings", "all of them", "first, s", "a training", "to ours")


class Row(NamedTuple):
    """One repetition of a package; 0 is the first, which compiles, and −1 the check, of CHECKED epochs."""

    what: str  # many, one large
    package: str
    version: str  # and the device
    repetition: int
    members: int
    epochs: int
    seconds: float  # of training
    losses: tuple[float, ...]  # of the last epoch, of each member


def compared(rows: Sequence[Row], missing: dict[str, str]) -> Comparison:
    """A training's time in each package, and the ratio to ours of the same repetition."""
    each: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.repetition >= 0:
            each.setdefault((row.what, row.package), []).append(row)
    one_R = {key: np.array([r.seconds / r.members for r in same[1:]]) for key, same in each.items()}
    cells, said = [], {}
    for (what, package), (first, *same) in each.items():
        seconds = timing.told(timing.spread([r.seconds for r in same]), "s")
        one = timing.told(timing.spread(one_R[what, package]), "s")
        ratio = "–"
        if package == OURS:
            said[what] = f"{what}, {first.members:,} × {first.epochs} epochs ({first.version}): {seconds}"
        else:
            ratio = timing.told(timing.ratio(one_R[what, package], one_R[what, OURS]), "×")
            said[what] += f"; {package} takes {ratio} the time of each"
        cells.append((what, package, f"{first.members:,}", seconds, timing.number(first.seconds), one, ratio))
    versions = {package: same[0].version for (_, package), same in each.items()}
    others = len(versions) > 1
    return Comparison(
        "How long do many trainings, and one large, take on one device?",
        ". ".join(said.values()),
        [
            *(f"{package}: {version}." for package, version in versions.items()),
            *comparison.notes(missing, disagreeing(rows) if others else None, SAME),
        ],
        "What was timed",
        "The median, and the quartiles around it; first: with compilation; to ours: a training, by repetition",
        COLUMNS,
        cells,
    )


def disagreeing(rows: Sequence[Row]) -> list[str]:
    """Of the members that several trained for the check, those whose loss is not ours."""
    checked = {(r.what, r.package): r.losses for r in rows if r.repetition < 0}
    return [
        f"{what}, {package}, member {m}: {loss:.6g}, ours {checked[what, OURS][m]:.6g}"
        for (what, package), losses in checked.items()
        for m, loss in enumerate(losses)
        if not abs(loss - checked[what, OURS][m]) <= SAME * abs(checked[what, OURS][m])
    ]


EXPERIMENT = "throughput_gpu"
TORCH = "PyTorch"
CHECKED = 3  # epochs, after which the losses of both are compared


@dataclass(frozen=True)
class Config:
    """What can be asked for."""

    members: int = 1024
    """trainings in one program: seeds with four learning rates"""
    epochs: int = 100
    """epochs of every training, each of 2,048 windows"""
    others: int = 4
    """of these trainings, how many PyTorch does, one after another"""
    large_epochs: int = 5
    """epochs of the one large training; 0 leaves it out"""
    repetitions: int = 3
    """of everything, one after another, after a first that compiles"""
    device: Literal["cuda", "cpu"] = "cuda"
    """where both train"""
    python: str | None = None
    """the Python that has PyTorch, if it is not this one"""
    out: str | None = None
    """folder for the results, new or empty; by default a new one under runs/"""


class Job(NamedTuple):
    """What a package trains in every repetition."""

    what: str
    package: str
    shape: workload.Shape
    members: int
    epochs: int
    form: str = "fused"  # of ours: a name in layer.LAYERS

    @property
    def name(self) -> str:
        """Of the package, in its form."""
        return self.package if self.form == "fused" else f"{self.package}, {self.form}"


class Plan(NamedTuple):
    """What is decided before the first step."""

    config: Config
    folder: Path


def prepare(config: Config) -> Plan:
    """Check and make the folder. ValueError before anything is run."""
    for field in ("members", "epochs", "others", "repetitions"):
        if getattr(config, field) < 1:
            raise ValueError(f"{field}: {getattr(config, field)}; allowed: 1 or more")
    if config.large_epochs < 0:
        raise ValueError(f"large_epochs: {config.large_epochs}; allowed: 0 or more")
    if config.others > config.members:
        raise ValueError(f"others: {config.others}; allowed: up to {config.members}, the members")
    pr.check_python("python", config.python)
    plan = Plan(config, run_folder.new_folder(config.out, EXPERIMENT))
    run_folder.decide(
        plan.folder,
        EXPERIMENT,
        config,
        {"sizes": {name: SHAPES[name]._asdict() for name in ("question", "large")}, "rates": RATES},
    )
    return plan


def execute(plan: Plan) -> list[Row]:
    """Measure, compare, write and print. Raises Lost where ours cannot train there."""
    with report.running(plan.folder, "Table and page") as out:
        rows, missing = measure(plan, out)
        told = compared(rows, missing)
        run_folder.write_csv(plan.folder / "results.csv", [r._asdict() for r in rows])
        comparison.write(plan.folder, told, {"results.csv": "a row a repetition of a package"})
    comparison.say(out, told)
    return rows


def jobs(config: Config) -> list[Job]:
    """Ours first of each; cuDNN within JAX on a GPU alone."""
    question, large = SHAPES["question"], SHAPES["large"]
    many = [
        Job("many", OURS, question, config.members, config.epochs),
        Job("many", TORCH, question, config.others, config.epochs),
    ]
    forms = [Job("one large", OURS, large, 1, config.large_epochs, form) for form in ("fused", "cudnn")]
    ones = [*forms[: 1 + (config.device == "cuda")], forms[0]._replace(package=TORCH)]
    return many + ones * (config.large_epochs > 0)


def measure(plan: Plan, out: Console) -> tuple[list[Row], dict[str, str]]:
    """A row a repetition; and why a package is not among them, where it is not. Raises Lost where ours is not."""
    config, rows, errors = plan.config, [], plan.folder / "peers.log"
    members = {"many": config.members, "one large": 1}
    turns: dict[Job, Callable[[], Row]] = {}
    missing: dict[str, str] = {}
    with ExitStack() as running:
        opened: dict[str, pr.Process] = {}
        files: dict[str, Path] = {}
        for job in jobs(config):
            if job.name in missing:
                continue
            if job.what not in files:
                data = workload.arrays(job.shape, members[job.what])
                files[job.what] = workload.save(plan.folder / f"data-{job.what.replace(' ', '-')}.npz", data)
            try:
                if job.name not in opened:
                    one = pr.opened(config.python, job.package, errors, platform=config.device)
                    opened[job.name] = running.enter_context(one)
                if opened[job.name].why_not:
                    raise pr.Lost(opened[job.name].why_not)
                ask = partial(_once, plan, opened[job.name], files[job.what])
                rows.append(ask(job._replace(members=min(job.members, config.others), epochs=CHECKED), -1))
                rows.append(ask(job, 0))
            except pr.Lost as e:
                if job.name == OURS:
                    raise
                missing[job.name] = str(e)
                continue
            turns[job] = partial(ask, job, 0)
            first = f"first in {report.duration(rows[-1].seconds)}"
            out.print(f"{job.name}, {job.what}: {opened[job.name].version}, {first}", markup=False)
        order = np.random.default_rng(0)
        for all_ in timing.interleaved(turns, config.repetitions, order).values():
            rows += [row._replace(repetition=r) for r, row in enumerate(all_, 1)]
        for path in files.values():
            path.unlink()
    return rows, missing


def _once(plan: Plan, process: pr.Process, path: Path, job: Job, repetition: int) -> Row:
    told = {
        "data": str(path.resolve()),
        "arm": "one_call",
        "epochs": job.epochs,
        "device": plan.config.device,
    }
    told |= {"hidden": job.shape.hidden, "batch": job.shape.batch, "rate": workload.RATE, "form": job.form}
    told |= {"members": [(m, RATES[m % len(RATES)]) for m in range(job.members)]}
    said = pr.ask(process, job.name, plan.folder / "peers.log", told)
    sizes = process.version, repetition, job.members, job.epochs
    return Row(job.what, job.name, *sizes, said["seconds"], tuple(said["loss"]))


def main(config: Config | None = None) -> list[Row]:
    """The whole command, for Python. ValueError for what the command line would refuse."""
    return execute(prepare(Config() if config is None else config))


if __name__ == "__main__":
    jax.config.update(
        "jax_platforms", "cpu"
    )  # this process only asks, and leaves the card's memory to the others
    cli.run_plan(EXPERIMENT, Config, prepare, execute, __doc__ or "", resumable=False)
