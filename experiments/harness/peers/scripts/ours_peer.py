"""This package, told by lines what to train (loop_peer.py): `python ours_peer.py`, `python ours_peer.py divided`

One member is a run, several are a population over the cores that the process may use; divided, any number is one after
another, its batches divided over the cores. Two arms are no training:
`product` times a large matrix product, and answers with its rate; `memory` says what the compiled training takes.
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
from lstm_sched import population, rules
from lstm_sched.data.windows import Data
from lstm_sched.loop import run
from lstm_sched.members import Hyper, Member, member, start
from lstm_sched.population.layout import padded_size
from lstm_sched.population.memory import memory_of
from lstm_sched.presets import CONTINUE
from lstm_sched.schedules import tabulate

SIZE = 1024  # of the matrices whose product is timed

_run = jax.jit(run, static_argnames=("learner", "epochs"))


@cache
def arrays(path: str) -> tuple[dict[str, np.ndarray], Data]:
    told = dict(np.load(path))
    return told, workload.data(told)


def train(told: dict[str, Any], divided: bool = False) -> dict[str, Any]:
    """Losses of the last epoch, and the seconds; for a product, {"seconds", "flops", "loss": []}; or {"bytes"}."""
    if told["arm"] == "product":
        return product()
    given, data = arrays(told["data"])
    n, window, features = given["X"].shape
    shape = workload.Shape(told["hidden"], told["batch"], window, features, n)
    own, epochs = workload.learner(shape, told.get("form", "fused")), told["epochs"]

    def one(m: int, rate: float) -> Member:
        hp = Hyper(tabulate(rate, epochs * shape.steps))
        return member(own, hp, CONTINUE, rules.never(epochs), workload.origin(given, m))

    members = [one(*pair) for pair in told["members"]]
    if len(members) == 1 and not divided:
        asked = own, members[0], data, start(own, members[0].origin), epochs
        if told["arm"] == "memory":
            return {"bytes": sum(memory_of(_run.lower(*asked).compile(), 0, 1, mapped=True))}
        began = time.perf_counter()
        _, log = jax.block_until_ready(_run(*asked))
        return {"seconds": time.perf_counter() - began, "loss": [float(log.loss[-1])]}
    layout, member_M = population.choose_layout(divided=divided), population.stack(members)
    if told["arm"] == "memory":
        needs = population.memory_needed(own, layout, member_M, data)
        return {"bytes": layout.devices * needs.fixed + padded_size(len(members), layout) * needs.per_member}
    began = time.perf_counter()
    chunks = population.train(own, layout, member_M, data, epochs)
    _, log_M = deque(chunks, maxlen=1).pop()
    return {"seconds": time.perf_counter() - began, "loss": log_M.loss[:, -1].tolist()}


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
    from loop_peer import serve  # beside this file; keeps the process to its cores, before JAX is used  # pyright: ignore[reportMissingImports]

    population.use_cores()
    try:
        devices = jax.devices()
        said = {"version": f"jax {jax.__version__}, {len(devices)} × {devices[0].device_kind}"}
    except (RuntimeError, AssertionError):  # the latter where JAX was installed without that platform
        said = {"why_not": f"JAX has no device of the platform {os.environ['JAX_PLATFORMS']}"}
    serve(said, partial(train, divided="divided" in sys.argv))


if __name__ == "__main__":
    main()
