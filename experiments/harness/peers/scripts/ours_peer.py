"""This package, asked by lines what to train (loop_peer.py): `python ours_peer.py`, also with `divided` or `cudnn`

One member is a run, several are a population over the cores that the process may use; divided, any number is trained
one after another, each batch divided over the cores. With cudnn the LSTM is that of cuDNN within JAX.
The arms of several calls are boundaries within one compiled run, before every epoch but the first, but for `calls`,
which is one compiled call per epoch; `keep` is a boundary that keeps everything. Two arms are no training: `product`
multiplies two large matrices, and `memory` says how many bytes the compiled training takes.
"""

import os
import sys
import time
from collections import deque
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.harness.peers import workload
from experiments.harness.peers.jobs import Shape
from lstm_sched import population, rules
from lstm_sched.data.windows import Data
from lstm_sched.learner import Learner
from lstm_sched.loop import run
from lstm_sched.members import Hyper, Member, member, start
from lstm_sched.population.layout import padded_size
from lstm_sched.population.memory import memory_of
from lstm_sched.presets import CONTINUE, POLICIES
from lstm_sched.schedules import tabulate

BOUNDARIES = {
    "keep": CONTINUE,
    "recompile": POLICIES["keras_recompile"],
    "scratch": POLICIES["scratch"],
}
SIZE = 1024  # of the matrices whose product is timed

_run = jax.jit(run, static_argnames=("learner", "epochs"))


@cache
def load(path: str) -> tuple[dict[str, np.ndarray], Data]:
    """All arrays, and the windows among them on the device."""
    arrays = dict(np.load(path))
    return arrays, workload.data(arrays)


def train(task: dict[str, Any], divided: bool = False, form: str = "fused") -> dict[str, Any]:
    """{"seconds", "loss"} of a training, {"seconds", "flops", "loss"} of a product, {"bytes"} of a program."""
    if task["arm"] == "product":
        return product()
    arrays, data = load(task["data"])
    windows, window, features = arrays["X"].shape
    sizes = {"hidden": task["hidden"], "batch": task["batch"], "window": window, "features": features}
    shape = Shape(**sizes, windows=windows)
    learner, epochs = workload.learner(shape, form), task["epochs"]
    when = rules.every(1, epochs) if task["arm"] in BOUNDARIES else rules.never(epochs)
    policy = BOUNDARIES.get(task["arm"], CONTINUE)

    def training(m: int, rate: float) -> Member:
        hp = Hyper(tabulate(rate, epochs * shape.steps))
        return member(learner, hp, policy, when, workload.origin(arrays, m))

    members = [training(*pair) for pair in task["members"]]
    if len(members) == 1 and not divided:
        return alone(task["arm"], learner, members[0], data, epochs)
    layout, member_M = population.choose_layout(divided=divided), population.stack(members)
    if task["arm"] == "memory":
        needs = population.memory_needed(learner, layout, member_M, data)
        padded = padded_size(len(members), layout)
        return {"bytes": layout.devices * needs.fixed + padded * needs.per_member}
    began = time.perf_counter()
    chunks = population.train(learner, layout, member_M, data, epochs)
    _, log_M = deque(chunks, maxlen=1).pop()
    return {"seconds": time.perf_counter() - began, "loss": log_M.loss[:, -1].tolist()}


def alone(arm: str, learner: Learner, training: Member, data: Data, epochs: int) -> dict[str, Any]:
    """One training; its arguments are ready before the clock starts."""
    progress = jax.block_until_ready(start(learner, training.origin))
    if arm == "memory":
        needs = memory_of(_run.lower(learner, training, data, progress, epochs).compile(), 0, 1, mapped=True)
        return {"bytes": needs.fixed + needs.per_member}
    calls, epochs_per_call = (epochs, 1) if arm == "calls" else (1, epochs)
    began = time.perf_counter()
    for _ in range(calls):
        progress, _ = _run(learner, training, data, progress, epochs_per_call)
    jax.block_until_ready(progress)
    return {"seconds": time.perf_counter() - began, "loss": [float(progress.log.loss)]}


def product() -> dict[str, Any]:
    """The best of ten products of two large matrices, compiled beforehand."""
    a = jnp.ones((SIZE, SIZE), jnp.float32)
    jax.block_until_ready(a @ a)
    seconds = []
    for _ in range(10):
        began = time.perf_counter()
        jax.block_until_ready(a @ a)
        seconds.append(time.perf_counter() - began)
    return {"seconds": min(seconds), "flops": 2 * SIZE**3, "loss": []}


def main() -> None:
    from loop_peer import serve  # keeps the process to its cores, before JAX is used

    population.use_cores()
    try:
        devices = jax.devices()
        greeting = {"version": f"jax {jax.__version__}, {len(devices)} × {devices[0].device_kind}"}
    except (RuntimeError, AssertionError):  # the latter where JAX was installed without that platform
        greeting = {"why_not": f"JAX has no device of the platform {os.environ['JAX_PLATFORMS']}"}
    form = "cudnn" if "cudnn" in sys.argv else "fused"
    serve(greeting, partial(train, divided="divided" in sys.argv, form=form))


if __name__ == "__main__":
    main()
