"""How long do 1,024 trainings take on a GPU, and how long PyTorch's, one after another?

    python -m experiments.throughput_gpu --python PYTHON     beside the PyTorch (with CUDA) of another Python
    python -m experiments.throughput_gpu --device cpu --members 8 --epochs 3 --others 2     the same work without a GPU

LSTM(50), batch 32, 30 steps of 4 features, 2,048 windows, Adam, 100 epochs: seeds with four learning rates in one
program, against PyTorch's nn.LSTM (cuDNN on a GPU), which trains a few of them, one after another. Same windows,
weights and batches, all in float32 without TF32; what both train must reach the same loss after a few epochs (later,
rounding has grown to parts of the loss itself).
Runtime: a few minutes on a GPU. Not measured on one yet; on two cores, 4 members take 13 s here, 50 s in PyTorch.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import numpy as np
from rich.console import Console

from experiments import command_line, comparison, peers, record, report, timing, training
from experiments import workload as W
from experiments.peers import OURS
from experiments.throughput_gpu_report import Row, compared
from experiments.throughput_plan import RATES

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
    repetitions: int = 3
    """of everything, one after another, after a first that compiles"""
    device: Literal["cuda", "cpu"] = "cuda"
    """where both train"""
    python: str | None = None
    """the Python that has PyTorch, if it is not this one"""
    out: str | None = None
    """folder for the results, new or empty; by default a new one under runs/"""


class Plan(NamedTuple):
    """What is decided before the first step."""

    config: Config
    folder: Path


def prepare(config: Config) -> Plan:
    """Check and make the folder. ValueError before anything is run."""
    for field in ("members", "epochs", "others", "repetitions"):
        if getattr(config, field) < 1:
            raise ValueError(f"{field}: {getattr(config, field)}; allowed: 1 or more")
    if config.others > config.members:
        raise ValueError(f"others: {config.others}; allowed: up to {config.members}, the members")
    peers.check_python("python", config.python)
    plan = Plan(config, record.new_folder(config.out, EXPERIMENT))
    record.decide(plan.folder, EXPERIMENT, config, {"shape": W.Shape()._asdict(), "rates": RATES})
    return plan


def execute(plan: Plan) -> list[Row]:
    """Measure, compare, write and print. Raises Lost where ours cannot train there."""
    with report.running(plan.folder, "Table and page") as out:
        rows, missing = measure(plan, out)
        told = compared(rows, missing)
        record.write_csv(plan.folder / "results.csv", [r._asdict() for r in rows])
        comparison.write(plan.folder, told, {"results.csv": "a row a repetition of a package"})
    comparison.say(out, told)
    return rows


def measure(plan: Plan, out: Console) -> tuple[list[Row], dict[str, str]]:
    """A row a repetition; and why PyTorch is not among them, where it is not."""
    config, rows = plan.config, []
    path = W.save(plan.folder / "data.npz", W.arrays(W.Shape(), config.members))
    turns: dict[str, Callable[[], Row]] = {}
    missing: dict[str, str] = {}
    with ExitStack() as running:
        for package, members in ((OURS, config.members), (TORCH, config.others)):
            opened = peers.opened(config.python, package, _errors(plan), platform=config.device)
            try:
                process = running.enter_context(opened)
                if process.why_not:
                    raise peers.Lost(process.why_not)
                ask = partial(_once, plan, process, package, path)
                rows.append(ask(config.others, CHECKED, repetition=-1))
                rows.append(ask(members, config.epochs))
            except peers.Lost as e:
                if package == OURS:
                    raise
                missing[package] = str(e)
                continue
            turns[package] = partial(ask, members, config.epochs)
            first = f"first in {report.duration(rows[-1].seconds)}"
            out.print(f"{package}: {members} trainings, {process.version}, {first}", markup=False)
        order = np.random.default_rng(0)
        for all_ in timing.interleaved(turns, config.repetitions, order).values():
            rows += [row._replace(repetition=r) for r, row in enumerate(all_, 1)]
    path.unlink()
    return rows, missing


def _errors(plan: Plan) -> Path:
    return plan.folder / "peers.log"


def _once(
    plan: Plan,
    process: peers.Process,
    package: str,
    path: Path,
    members: int,
    epochs: int,
    repetition: int = 0,
) -> Row:
    shape = W.Shape()
    told = {"data": str(path.resolve()), "arm": "one_call", "epochs": epochs, "device": plan.config.device}
    told |= {"hidden": shape.hidden, "batch": shape.batch, "rate": W.RATE}
    told |= {"members": [(m, RATES[m % len(RATES)]) for m in range(members)]}
    said = peers.ask(process, package, _errors(plan), told)
    return Row(package, process.version, repetition, members, epochs, said["seconds"], tuple(said["loss"]))


def main(config: Config | None = None) -> list[Row]:
    """The whole command, for Python. ValueError for what the command line would refuse."""
    return execute(prepare(Config() if config is None else config))


def _execute(plan: Plan) -> None:
    try:
        execute(plan)
    except peers.Lost as e:
        raise training.Refused(str(e), code=1) from e


if __name__ == "__main__":
    jax.config.update(
        "jax_platforms", "cpu"
    )  # this process only asks, and leaves the card's memory to the others
    command_line.run(EXPERIMENT, Config, prepare, _execute, __doc__ or "", resumable=False)
