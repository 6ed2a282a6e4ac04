"""Our side of `overhead`: boundaries within one compiled run, and one compiled call an epoch.

Letters: E epochs, S steps of the run.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from experiments.harness.peers import workload
from experiments.harness.peers.workload import Shape
from lstm_sched import rules
from lstm_sched.loop import run
from lstm_sched.members import Hyper, member, start
from lstm_sched.presets import CONTINUE, POLICIES
from lstm_sched.schedules import tabulate

BOUNDARIES = {  # before every epoch but the first, in the one call
    "keep": CONTINUE,
    "recompile": POLICIES["keras_recompile"],
    "scratch": POLICIES["scratch"],
}
ARMS = ("one_call", *BOUNDARIES, "calls")

_run = jax.jit(run, static_argnames=("learner", "epochs"))


class Timed(NamedTuple):
    """One repetition of one arm."""

    seconds: float
    events: int  # boundaries, or calls beyond the first
    epochs: int
    loss: float  # of the last epoch


def arms(shape: Shape, told: dict[str, np.ndarray], epochs: int) -> dict[str, Callable[[], Timed]]:
    """Each arm, to be called as often as wanted; the first call compiles."""
    own, data, origin = workload.learner(shape), workload.data(told), workload.origin(told)
    hp = Hyper(tabulate(workload.RATE, epochs * shape.steps))
    never, always = rules.never(epochs), rules.every(1, epochs)
    begin = start(own, origin)

    def in_one_call(policy, when) -> Callable[[], Timed]:
        one = member(own, hp, policy, when, origin)

        def timed() -> Timed:
            began = time.perf_counter()
            _, log = jax.block_until_ready(_run(own, one, data, begin, epochs))
            seconds = time.perf_counter() - began
            return Timed(seconds, int(log.boundary.sum()), epochs, float(log.loss[-1]))

        return timed

    one = member(own, hp, CONTINUE, never, origin)

    def calls() -> Timed:
        began, progress = time.perf_counter(), begin
        for _ in range(epochs):
            progress, _ = _run(own, one, data, progress, 1)
        jax.block_until_ready(progress)
        return Timed(time.perf_counter() - began, epochs - 1, epochs, float(progress.log.loss))

    every = {name: in_one_call(policy, always) for name, policy in BOUNDARIES.items()}
    return {"one_call": in_one_call(CONTINUE, never), **every, "calls": calls}
