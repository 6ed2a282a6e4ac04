"""The flags of `overhead`, and the jobs that it measures."""

import dataclasses
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from experiments.harness import experiment
from experiments.harness.peers import process
from experiments.harness.peers.jobs import ARMS, Job, Shape
from experiments.harness.peers.process import OURS
from experiments.harness.peers.timing import Spread

PEERS = ("Keras on TensorFlow", "Keras on JAX", "PyTorch, one thread")
DEFAULTS = {"steps": (1, 10, 64, 1000), "repetitions": 7, "peers": PEERS}
QUICK = {"steps": (1, 64), "repetitions": 5, "peers": ()}
WHOLE = "one_call"  # the arm that others are compared with
AGAIN = ("recompile", "scratch")  # arms that rebuild something at each call
OUR_ARMS = (WHOLE, "keep", *AGAIN, "calls")


@dataclass(frozen=True)
class Config:
    """What can be asked for."""

    steps: tuple[int, ...] | None = None
    """steps in an epoch; by default 1 10 64 1000, with --quick 1 64"""
    repetitions: int | None = None
    """how often everything is timed, after a first time that compiles; by default 7, with --quick 5"""
    peers: tuple[str, ...] | None = None
    """besides ours: Keras on TensorFlow | JAX | Torch, PyTorch [compiled][, one thread], Flax NNX, Equinox"""
    python: str | None = None
    """path of the Python that has the packages; by default this one"""
    quick: bool = False
    """ours alone, in epochs of 1 and 64 steps, 5 repetitions, unless other flags say otherwise"""
    out: str | None = None
    """folder for the results, new or empty; by default a new one under runs/"""
    resume: str | None = None
    """folder of an interrupted run: continue it, with the configuration stored in it"""


def decide(config: Config, stored: Mapping[str, Any]) -> list[experiment.Decisions]:
    """Check everything. ValueError with field, value and what is allowed."""
    import jax

    from lstm_sched._names import check_name

    defaults = QUICK if config.quick else DEFAULTS
    missing = {name: value for name, value in defaults.items() if getattr(config, name) is None}
    config = dataclasses.replace(config, **missing)
    assert config.peers is not None and config.repetitions is not None
    for name in config.peers:
        check_name("peers", name, process.PEERS)
    if not config.steps or min(config.steps) < 1:
        raise ValueError(f"steps: {config.steps}; allowed: one number or more, each 1 or more")
    if config.repetitions < 1:
        raise ValueError(f"repetitions: {config.repetitions}; allowed: 1 or more")
    process.check_python("python", config.python)
    jax.config.update("jax_platforms", "cpu")
    steps = tuple(sorted(set(config.steps)))
    epochs = {str(n): [epochs_of(n, ours=True), epochs_of(n, ours=False)] for n in steps}
    facts = {"shape": asdict(Shape()), "epochs in one call": epochs}
    return [experiment.Decisions(config=dataclasses.replace(config, steps=steps), facts=facts)]


def epochs_of(steps: int, ours: bool) -> int:
    """Epochs in one call: enough to tell a call from noise, few enough to wait for."""
    return min(100, max(4, 320 // steps)) if ours else min(20, max(2, 320 // steps))


def jobs(config: Config, steps: int) -> list[Job]:
    """Every arm of every package, in epochs of so many steps."""
    assert config.peers is not None
    shape = Shape(windows=steps * Shape().batch)
    found = []
    for package in (OURS, *config.peers):
        ours = package == OURS
        for arm in OUR_ARMS if ours else ARMS:
            epochs = 2 if arm in AGAIN and not ours else epochs_of(steps, ours)
            kind = {"part": arm, "axis": "steps", "value": steps, "arm": arm}
            found.append(Job(**kind, package=package, shape=shape, epochs=epochs))
    return found


def events(job: Job) -> int:
    """The number of boundaries (ours) or calls (other packages) that a job has and one_call has not.

    In jobs of other packages that rebuild something, every epoch has this cost, including the first.
    """
    if job.arm == WHOLE:
        return 0
    return job.epochs if job.package != OURS and job.arm in AGAIN else job.epochs - 1


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The time that an arm adds in epochs of this length."""

    package: str
    arm: str
    steps: int
    epoch: Spread  # seconds, in one call
    call: Spread  # seconds beyond the epochs, per call or boundary
    share: Spread  # of an epoch
