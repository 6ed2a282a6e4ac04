"""The flags of `throughput`, and the jobs that it measures."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from experiments.harness import experiment
from experiments.harness.peers import process
from experiments.harness.peers.jobs import RATES, SHAPES, Job, Shape

PEERS = (
    *("Keras on TensorFlow", "Keras on JAX", "Keras on Torch", "PyTorch", "PyTorch, one thread"),
    *("Flax NNX", "Equinox"),
)
ON_GPU = ("PyTorch", "PyTorch compiled")  # packages that can be asked with --gpu
GROWTH = {  # the axes of our growth, and their values
    "members": (1, 4, 16, 64),
    "epochs": (1, 4, 16),
    "window": (10, 30, 100),
    "hidden": (16, 50, 128),
    "cores": (1, 2, 4, 8, 16),
}
DEFAULTS = {"epochs": 3, "members": 64, "repetitions": 5, "peers": PEERS}
QUICK = {"epochs": 3, "members": 4, "repetitions": 3, "peers": ()}
GPU = {"epochs": 100, "members": 1024, "repetitions": 3, "peers": ("PyTorch",)}
GPU_SHAPES = ("question", "large")
CHECKED = 3  # epochs after which losses are compared on a GPU; later, rounding has grown to parts of the loss itself


@dataclass(frozen=True)
class Config:
    """What can be asked for."""

    shapes: tuple[str, ...] = ("question",)
    """sizes: question (LSTM(50), batch 32, 30 steps, 4 features), medium (128, 64, 30, 8), large (512, 128, 100, 16)"""
    epochs: int | None = None
    """epochs of every training, each of 2,048 windows; by default 3, with --gpu 100"""
    members: int | None = None
    """trainings where many are timed, with four learning rates; by default 64, with --quick 4, with --gpu 1024"""
    repetitions: int | None = None
    """how often everything is timed, after a first time that compiles; by default 5, with --quick or --gpu 3"""
    peers: tuple[str, ...] | None = None
    """besides ours and Flax: Keras on TensorFlow | JAX | Torch, PyTorch [compiled][, one thread], Flax NNX, Equinox"""
    python: str | None = None
    """path of the Python that has the packages; by default this one"""
    quick: bool = False
    """ours and Flax alone, 4 members on all cores, 3 repetitions, no growth, unless other flags say otherwise"""
    full: bool = False
    """all three sizes"""
    gpu: bool = False
    """very many trainings in one program, and one large, on a GPU"""
    device: Literal["cuda", "cpu"] = "cuda"
    """with --gpu: where all train; cpu tries the same without a GPU"""
    others: int = 4
    """with --gpu: how many of the trainings another package does, one after another"""
    large_epochs: int = 5
    """with --gpu: epochs of the one large training; 0 leaves it out"""
    out: str | None = None
    """folder for the results, new or empty; by default a new one under runs/"""
    resume: str | None = None
    """folder of an interrupted run: continue it, with the configuration stored in it"""


@dataclass(frozen=True, kw_only=True)
class Decisions(experiment.Decisions):
    """The decisions made before the first step; `cores` are those that this process may use."""

    cores: tuple[int, ...]


def expected(config: Config) -> tuple[str, ...]:
    """The packages to compare with; the report names those that are missing."""
    return GPU["peers"] if config.gpu else PEERS


def decide(config: Config, stored: Mapping[str, Any]) -> list[Decisions]:
    """Check everything. ValueError with field, value and what is allowed."""
    import jax

    from lstm_sched._names import check_name

    if config.gpu and (config.quick or config.full):
        raise ValueError("gpu: True with quick or full; allowed: one of the three")
    for field in ("device", "others", "large_epochs"):
        if not config.gpu and getattr(config, field) != getattr(Config, field):
            raise ValueError(f"{field}: {getattr(config, field)} without gpu; allowed: together with it")
    defaults = GPU if config.gpu else QUICK if config.quick else DEFAULTS
    missing = {name: value for name, value in defaults.items() if getattr(config, name) is None}
    config = replace(config, **missing)
    if config.gpu:
        if config.shapes not in (Config.shapes, GPU_SHAPES):
            raise ValueError(f"shapes: {config.shapes} with gpu; allowed: {GPU_SHAPES}, its only ones")
        config = replace(config, shapes=GPU_SHAPES)
    elif config.full:
        config = replace(config, shapes=tuple(SHAPES))
    assert config.members is not None and config.peers is not None
    for name in config.shapes:
        check_name("shapes", name, SHAPES)
    for name in config.peers:
        check_name("peers", name, ON_GPU if config.gpu else process.PEERS)
    least = {"epochs": 1, "members": 1 if config.gpu else 2, "repetitions": 1, "others": 1, "large_epochs": 0}
    for field, lowest in least.items():
        if getattr(config, field) < lowest:
            raise ValueError(f"{field}: {getattr(config, field)}; allowed: {lowest} or more")
    if config.gpu and config.others > config.members:
        raise ValueError(f"others: {config.others}; allowed: up to {config.members}, the members")
    process.check_python("python", config.python)
    jax.config.update(
        "jax_platforms", "cpu"
    )  # this process only asks, and leaves a GPU's memory to the others
    cores = tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else (0,)
    sizes = {name: asdict(SHAPES[name]) for name in config.shapes}
    facts = {"sizes": sizes, "rates": RATES, "cores": cores}
    return [Decisions(config=config, facts=facts, cores=cores)]


def usual(decisions: Decisions, part: str, name: str) -> Job:
    """One training of these sizes by ours, on all cores."""
    whole = {"epochs": decisions.config.epochs, "cores": (decisions.cores,), "memory": True}
    return Job(part=part, axis=name, package=process.OURS, shape=SHAPES[name], **whole)


def ones(decisions: Decisions, name: str) -> list[Job]:
    """One training by each package on all cores, and one by ours with batches divided over several cores."""
    ours = usual(decisions, "one", name)
    divided = [process.DIVIDED] * (len(decisions.cores) > 1)
    others = [*divided, process.STEP, process.EPOCH, *decisions.config.peers]
    return [ours, *(replace(ours, package=package, memory=False) for package in others)]


def many(decisions: Decisions, best: str) -> list[Job]:
    """Ours in one program, on one core and on all; Flax and the fastest package one after another, in one process and
    in one per core. In the quick form ours and Flax on all cores, once each."""
    config, cores = decisions.config, decisions.cores
    single, per_core = (cores[:1],), tuple((core,) for core in cores)
    ways = [(process.OURS, single), (process.OURS, (cores,))]
    ways += [(package, where) for package in (process.EPOCH, best) for where in ((cores,), per_core)]
    if config.quick:
        ways = [(process.OURS, (cores,)), (process.EPOCH, per_core)]
    ours = replace(usual(decisions, "many", config.shapes[0]), value=config.members, members=config.members)
    return [
        replace(ours, package=package, cores=where, memory=package == process.OURS)
        for package, where in dict.fromkeys(ways)
    ]


def growth(decisions: Decisions, axis: str) -> list[Job]:
    """Jobs of ours along one axis; on the axis `cores` they have the members of `many`."""
    cores, members = decisions.cores, decisions.config.members if axis == "cores" else 1
    ours = replace(usual(decisions, "growth", decisions.config.shapes[0]), axis=axis, members=members)

    def at(value: int) -> Job:
        if axis == "cores":
            return replace(ours, value=value, cores=(cores[:value],))
        if axis in ("members", "epochs"):
            return replace(ours, value=value, **{axis: value})
        return replace(ours, value=value, shape=replace(ours.shape, **{axis: value}))

    return [at(value) for value in GROWTH[axis] if axis != "cores" or value <= len(cores)]


def limit(decisions: Decisions) -> list[Job]:
    """Jobs on one core: a training of each size, and a large matrix product."""
    core = (decisions.cores[:1],)
    trained = [replace(usual(decisions, "limit", name), cores=core) for name in decisions.config.shapes]
    return [*trained, replace(trained[0], axis="product", epochs=1, arm="product", memory=False)]


def on_gpu(config: Config) -> list[Job]:
    """Many trainings and one large, by ours and by other packages, which do a few of the many; a check before each."""
    assert config.members is not None and config.peers is not None
    whole = {"package": process.OURS, "members": config.members, "epochs": config.epochs}
    many = Job(part="many", axis="question", value=config.members, shape=SHAPES["question"], **whole)
    large = Job(
        part="one", axis="large", shape=SHAPES["large"], package=process.OURS, epochs=config.large_epochs
    )
    few = min(config.members, config.others)
    jobs = [many, *(replace(many, package=package, members=few) for package in config.peers)]
    others = [process.CUDNN] * (config.device == "cuda") + [*config.peers]
    if config.large_epochs:
        jobs += [large, *(replace(large, package=package) for package in others)]
    check = {"part": "check", "epochs": CHECKED, "repeated": False}
    return [job for x in jobs for job in (replace(x, members=min(x.members, few), **check), x)]


def operations(shape: Shape) -> float:
    """Floating-point operations of the matrix products in an epoch.

    A step has T products of (B, H + F) and (H + F, 4H) forward, and T of (B, 4H) and (4H, H) backward; the
    kernel's gradient costs as much as forward. Head, gates and optimizer are left out.
    """
    gates = 4 * shape.hidden
    forward = 2 * shape.batch * (shape.hidden + shape.features) * gates
    backward = 2 * shape.batch * gates * shape.hidden
    return float(shape.steps * shape.window * (2 * forward + backward))


def cores_of(job: Job) -> int:
    """Cores of all processes together; 0 where they were not chosen."""
    return len({core for process in job.cores for core in process})
