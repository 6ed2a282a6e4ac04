"""Saves and resumes at any epoch must leave a run as it is; the cost of saving is measured too."""

import contextlib
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from experiments.faults.processes import ROOT, Row
from experiments.harness import arms, run_folder
from experiments.harness.plan import Plan
from experiments.harness.setting import SAVE_EVERY
from lstm_sched import checkpoint, population
from lstm_sched.members import Progress, make_origin
from lstm_sched.nn.network import lstm
from lstm_sched.optimizers import OPTIMIZERS


def resumes(base: Path, plan: Plan, every: bool, epochs: int = 11) -> list[Row]:
    """Save and resume a run at each epoch boundary, with chunks of each length before and after."""
    built = plan.built
    member_M = population.stack(arms.members(plan.arms, plan.config, built))

    def until(end: int, progress: Progress | None, chunk: int) -> Progress:
        args = built.learner, built.layout, member_M, built.split.data, end, progress, chunk
        *_, (last, _) = population.train(*args)
        return last

    whole = until(epochs, None, population.MAX_CHUNK)
    lengths = range(1, population.MAX_CHUNK + 1)
    cuts = [
        (cut, n)
        for cut in range(1, epochs)
        for n in lengths
        if every or n == 1 + 7 * cut % population.MAX_CHUNK
    ]
    bits = 0
    for cut, chunk in cuts:
        store = base / "cuts" / f"{cut}-{chunk}"
        half = until(cut, None, chunk)
        checkpoint.save(store, half, {"cut": cut})
        progress = checkpoint.restore(store, half)[0]
        bits += arms.differing(until(epochs, progress, chunk), whole)
    return [
        Row(
            "a resume at every epoch boundary and chunk length",
            "0 bits differ",
            f"{bits} numbers differ in {len(cuts)} resumed runs: {epochs - 1} boundaries, "
            f"{len({n for _, n in cuts})} lengths",
            bits == 0,
        )
    ]


def cost(base: Path, members: int = 62, saves: int = 5) -> list[Row]:
    """The time that a save of the default run's population takes, relative to the interval SAVE_EVERY."""
    learner = lstm(OPTIMIZERS["keras_adam"], features=1, hidden=50)
    origin_M = population.stack([make_origin(learner, seed) for seed in range(members)])
    state_M = population.to_host(population.start_all(learner, origin_M))
    seconds = []
    for clock in range(1, saves + 1):
        now_M = state_M._replace(clock=np.full_like(state_M.clock, clock))
        began = time.monotonic()
        checkpoint.save(base / "cost", now_M, {"saves": saves})
        seconds.append(time.monotonic() - began)
    median = statistics.median(seconds)
    share = 100 * median / SAVE_EVERY
    return [
        Row(
            "cost of a save in refit's default run",
            "below 1 % of the wall time",
            f"{1000 * median:.0f} ms (median of {saves}, {members} members) each {SAVE_EVERY:.0f} s: {share:.2f} %",
            share < 1,
        )
    ]


def default_run(base: Path) -> list[Row]:
    """The share of time spent on saving in refit's default run, from its status.json."""
    folder = base / "refit"
    with folder.with_suffix(".log").open("wb") as log, contextlib.ExitStack() as ending:
        process = subprocess.Popen(
            [sys.executable, "-m", "experiments.refit", "--out", str(folder)],
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )
        ending.callback(process.wait)
        ending.callback(process.kill)
        code = process.wait()
    status = run_folder.read_json(folder / "status.json")
    saving, training_ = status["seconds_saving"], status["seconds_training"]
    share = 100 * saving / training_
    return [
        Row(
            "cost of saving in refit's default run",
            "below 1 % of the wall time",
            f"{saving:.1f} s of {training_:.0f} s: {share:.2f} %",
            code == 0 and share < 1,
        )
    ]
