"""What does a call of fit cost, beside the epoch that it trains?

    python -m experiments.overhead                     ours, and the packages that this Python has (extra `peers`)
    python -m experiments.overhead --python PYTHON     those of another Python
    python -m experiments.overhead --quick             ours alone, in under a minute

LSTM(50), batch 32, 30 steps of 4 features, in epochs of 1 to 1,000 steps: a call for each epoch, an optimizer made anew
at each, and everything made anew, against all epochs in one call. Ours has its boundaries within one compiled run; a
call for each epoch is there too. All train the same windows from the same weights, and must reach the same loss.
Runtime: about 18 minutes on two cores. Expected: a boundary of ours costs tens of µs whatever it drops; a call of Keras
milliseconds, and seconds where compile is called again.
"""

import dataclasses
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from rich.console import Console

from experiments.harness import report, run_folder
from experiments.harness.peers import comparison, timing, workload
from experiments.harness.peers import process as pr
from experiments.harness.peers.scripts import loop_peer
from experiments.harness.plan import unless_asked
from experiments.overhead import ours as ou
from experiments.overhead import report as re
from experiments.overhead.ours import Timed
from experiments.overhead.report import OURS, Row
from lstm_sched._names import check_name

EXPERIMENT = "overhead"
ASKED = ("Keras on TensorFlow", "Keras on JAX", "PyTorch, one thread")
QUICK = {"steps": (1, 64), "repetitions": 5, "peers": ()}


@dataclass(frozen=True)
class Config:
    """What can be asked for."""

    steps: tuple[int, ...] = (1, 10, 64, 1000)
    """steps in an epoch"""
    repetitions: int = 7
    """of everything, one after another"""
    peers: tuple[str, ...] = ASKED
    """packages beside ours, of those that experiments/peers.py names"""
    python: str | None = None
    """the Python that has the packages, if it is not this one"""
    quick: bool = False
    """ours alone, in epochs of 1 and 64 steps, 5 repetitions, unless said otherwise"""
    out: str | None = None
    """folder for the results, new or empty; by default a new one under runs/"""


class Plan(NamedTuple):
    """What is decided before the first step."""

    config: Config
    folder: Path


def epochs_of(steps: int, ours: bool) -> int:
    """In one call: enough to tell a call from noise, few enough to wait for."""
    return min(100, max(4, 320 // steps)) if ours else min(20, max(2, 320 // steps))


def prepare(config: Config) -> Plan:
    """Check and make the folder. ValueError before anything is run."""
    for name in config.peers:
        check_name("peers", name, pr.PEERS)
    if not config.steps or min(config.steps) < 1:
        raise ValueError(f"steps: {config.steps}; allowed: one number or more, each 1 or more")
    if config.repetitions < 1:
        raise ValueError(f"repetitions: {config.repetitions}; allowed: 1 or more")
    pr.check_python("python", config.python)
    if config.quick:
        config = unless_asked(config, QUICK)
    config = dataclasses.replace(config, steps=tuple(sorted(set(config.steps))))
    jax.config.update("jax_platforms", "cpu")
    plan = Plan(config, run_folder.new_folder(config.out, EXPERIMENT))
    facts = {
        "shape": workload.Shape()._asdict(),
        "epochs in one call": {s: [epochs_of(s, True), epochs_of(s, False)] for s in config.steps},
    }
    run_folder.decide(plan.folder, EXPERIMENT, config, facts)
    return plan


def execute(plan: Plan) -> list[Row]:
    """Measure, compare, write and print."""
    with report.running(plan.folder, "Table, figure and page") as out:
        out.print(f"epochs of {', '.join(map(str, plan.config.steps))} steps. Ctrl-C stops it.", markup=False)
        rows, missing = measure(plan, out)
        told = re.compared(rows, missing)
        re.write(plan.folder, rows, told)
    comparison.say(out, told)
    return rows


def measure(plan: Plan, out: Console) -> tuple[list[Row], dict[str, str]]:
    """A row a repetition of an arm; and the packages that are not among them, with the reason."""
    rows: list[Row] = []
    missing = {name: "not asked" for name in ASKED if name not in plan.config.peers}
    with ExitStack() as running:
        processes: dict[str, pr.Process] = {}
        for name in plan.config.peers:
            process = running.enter_context(pr.opened(plan.config.python, name, _errors(plan)))
            out.print(f"{name}: {process.version or process.why_not}", markup=False)
            if process.why_not:
                missing[name] = process.why_not
            else:
                processes[name] = process
        for steps in plan.config.steps:
            shape = workload.Shape(windows=steps * workload.Shape().batch)
            told = workload.arrays(shape)
            path = workload.save(plan.folder / f"{steps}.npz", told)
            arms = {OURS: ou.arms(shape, told, epochs_of(steps, ours=True))}
            for name, process in processes.items():
                asks = partial(_peer, plan, name, process, shape, path)
                arms[name] = {arm: partial(asks, arm) for arm in loop_peer.ARMS}
            rows += _timed(arms, steps, plan.config.repetitions)
            path.unlink()
            out.print(f"epochs of {steps} steps: done", markup=False)
    return rows, missing


def _timed(arms: dict[str, dict[str, Callable[[], Timed]]], steps: int, repetitions: int) -> list[Row]:
    """Each package has its turn in every repetition, and in it runs all its arms: what is set against each other lies
    close in time, in an order of its own each time."""
    order = np.random.default_rng(0)
    for mine in arms.values():
        for arm in mine.values():
            arm()  # compile
    turns = {package: partial(timing.interleaved, mine, 1, order) for package, mine in arms.items()}
    return [
        Row(package, arm, steps, r, *timed)
        for package, all_ in timing.interleaved(turns, repetitions, order).items()
        for r, turn in enumerate(all_)
        for arm, [timed] in turn.items()
    ]


def _errors(plan: Plan) -> Path:
    return plan.folder / "peers.log"


def _peer(plan: Plan, name: str, process: pr.Process, shape: workload.Shape, path: Path, arm: str) -> Timed:
    """One repetition. What makes things anew takes seconds in some packages: twice is enough."""
    anew = arm in ("recompile", "scratch")
    epochs = 2 if anew else epochs_of(shape.steps, ours=False)
    asked = {"data": str(path.resolve()), "arm": arm, "epochs": epochs, "members": [[0, workload.RATE]]}
    sizes = {"hidden": shape.hidden, "batch": shape.batch, "rate": workload.RATE}
    said = pr.ask(process, name, _errors(plan), asked | sizes)
    events = 0 if arm == "one_call" else epochs if anew else epochs - 1
    return Timed(said["seconds"], events, epochs, said["loss"][0])


def main(config: Config | None = None) -> list[Row]:
    """The whole command, for Python. ValueError for what the command line would refuse."""
    return execute(prepare(Config() if config is None else config))
