"""What `throughput` may be asked, and what it measures."""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax

from experiments.harness import run_folder
from experiments.harness.peers import process
from experiments.harness.peers.workload import RATES, SHAPES, Shape
from experiments.harness.plan import unless_asked
from lstm_sched._names import check_name

EXPERIMENT = "throughput"
ASKED = (
    *("Keras on TensorFlow", "Keras on JAX", "Keras on Torch", "PyTorch", "PyTorch, one thread"),
    *("Flax NNX", "Equinox"),
)
GROWTH = {  # of ours: what varies, and over what
    "members": (1, 4, 16, 64),
    "epochs": (1, 4, 16),
    "window": (10, 30, 100),
    "hidden": (16, 50, 128),
    "cores": (1, 2, 4, 8, 16),
}
QUICK = {"members": 4, "repetitions": 3, "peers": ()}


@dataclass(frozen=True)
class Config:
    """What can be asked for."""

    shapes: tuple[str, ...] = ("question",)
    """sizes: question (LSTM(50), batch 32, 30 steps, 4 features), medium (128, 64, 30, 8), large (512, 128, 100, 16)"""
    epochs: int = 3
    """epochs of every training, each of 2,048 windows"""
    members: int = 64
    """trainings, where many are timed: seeds with four learning rates"""
    repetitions: int = 5
    """of everything, one after another, after a first that compiles"""
    peers: tuple[str, ...] = ASKED
    """packages beside ours and Flax, of those that experiments/peers.py names"""
    python: str | None = None
    """the Python that has the packages, if it is not this one"""
    quick: bool = False
    """ours and Flax alone, 4 members on all cores, 3 repetitions, no scaling, unless said otherwise"""
    full: bool = False
    """all three sizes"""
    out: str | None = None
    """folder for the results, new or empty; by default a new one under runs/"""


class Plan(NamedTuple):
    """What is decided before the first step."""

    config: Config
    folder: Path
    cores: tuple[int, ...]  # that this process may use


class Job(NamedTuple):
    """Something to be timed."""

    part: str  # one, many, growth, limit
    package: str  # a name in peers.OWN or peers.PEERS
    axis: str  # of a growth: what varies; otherwise the name of the sizes
    value: int  # of the axis; otherwise the number of members
    shape: Shape
    members: int
    epochs: int
    cores: tuple[tuple[int, ...], ...]  # of each process; the members are shared out to them
    arm: str = "one_call"


class Timed(NamedTuple):
    """One repetition of a job; 0 is the first, which compiles."""

    part: str
    package: str
    axis: str
    value: int
    processes: int
    cores: int
    members: int
    epochs: int
    repetition: int
    seconds: float  # that the caller waits; of a product, those of one
    loss: float  # of the last epoch, mean over members; of a product, its floating-point operations
    bytes: int = 0  # that the compiled program of ours takes for all members, in the first; 0 where not known


def prepare(config: Config) -> Plan:
    """Check and make the folder. ValueError before anything is run."""
    for name in config.shapes:
        check_name("shapes", name, SHAPES)
    for name in config.peers:
        check_name("peers", name, process.PEERS)
    for field, least in (("epochs", 1), ("members", 2), ("repetitions", 1)):
        if getattr(config, field) < least:
            raise ValueError(f"{field}: {getattr(config, field)}; allowed: {least} or more")
    process.check_python("python", config.python)
    if config.full:
        config = dataclasses.replace(config, shapes=tuple(SHAPES))
    if config.quick:
        config = unless_asked(config, QUICK)
    jax.config.update("jax_platforms", "cpu")
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    plan = Plan(config, run_folder.new_folder(config.out, EXPERIMENT), tuple(cores))
    sizes = {name: SHAPES[name]._asdict() for name in config.shapes}
    run_folder.decide(plan.folder, EXPERIMENT, config, {"sizes": sizes, "rates": RATES, "cores": plan.cores})
    return plan


def ones(plan: Plan, name: str) -> list[Job]:
    """One training by everybody, each on all cores; its batches are divided where there are several."""
    packages = [name for name in process.OWN if name != process.DIVIDED or len(plan.cores) > 1]
    packages += plan.config.peers
    shape = SHAPES[name]
    return [Job("one", package, name, 1, shape, 1, plan.config.epochs, (plan.cores,)) for package in packages]


def many(plan: Plan, best: str) -> list[Job]:
    """Ours in one program, on one core and on all; Flax and the fastest package one after another, in one process and
    in one a core. In the quick form ours and Flax on all cores, once each."""
    single, each = (plan.cores[:1],), tuple((core,) for core in plan.cores)
    name, members = plan.config.shapes[0], plan.config.members
    ways = [(process.OURS, single), (process.OURS, (plan.cores,))]
    ways += [(package, cores) for package in (process.EPOCH, best) for cores in ((plan.cores,), each)]
    if plan.config.quick:
        ways = [(process.OURS, (plan.cores,)), (process.EPOCH, each)]
    return [
        Job("many", package, name, members, SHAPES[name], members, plan.config.epochs, cores)
        for package, cores in dict.fromkeys(ways)
    ]


def growth(plan: Plan, axis: str) -> list[Job]:
    """Ours along one axis; where cores grow, over the members of `many`."""
    name, jobs = plan.config.shapes[0], []
    for value in GROWTH[axis]:
        sizes = {axis: value} if axis in Shape._fields else {}
        members = value if axis == "members" else plan.config.members if axis == "cores" else 1
        epochs = value if axis == "epochs" else plan.config.epochs
        cores = (plan.cores[:value] if axis == "cores" else plan.cores,)
        shape = SHAPES[name]._replace(**sizes)
        if axis != "cores" or value <= len(plan.cores):
            jobs.append(Job("growth", process.OURS, axis, value, shape, members, epochs, cores))
    return jobs


def limit(plan: Plan) -> list[Job]:
    """On one core: a training of each size, and a large matrix product."""
    core = (plan.cores[:1],)
    trained = [
        Job("limit", process.OURS, name, 1, SHAPES[name], 1, plan.config.epochs, core)
        for name in plan.config.shapes
    ]
    return [*trained, Job("limit", process.OURS, "product", 1, Shape(), 1, 1, core, arm="product")]


def operations(shape: Shape) -> float:
    """Floating-point operations of the matrix products in an epoch: of a step forward, T products of (B, H + F) and
    (H + F, 4H); backward, T of (B, 4H) and (4H, H), and the kernel's gradient, as much as forward. The head's are left
    out, as are gates and optimizer."""
    gates = 4 * shape.hidden
    forward = 2 * shape.batch * (shape.hidden + shape.features) * gates
    backward = 2 * shape.batch * gates * shape.hidden
    return float(shape.steps * shape.window * (2 * forward + backward))
