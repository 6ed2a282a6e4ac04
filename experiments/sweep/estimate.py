"""The time and memory of a sweep, estimated before it starts from one training of a few groups.

Separate processes measure on the cores of one worker, so that a configuration that does not fit into memory
neither ends the sweep nor leaves anything behind on an accelerator.
"""

import dataclasses
import heapq
import math
import multiprocessing
import os
import resource
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from experiments.harness import run_folder, training
from experiments.harness import setting as se
from experiments.harness.source import open_source
from experiments.sweep.engines.local_engine import Place, places
from experiments.sweep.plan import Group, Task
from experiments.sweep.task.halving import Trial, cost
from experiments.sweep.task.trials import members
from lstm_sched import population

MEASURED = 4  # groups: the others are extrapolated from the one nearest in work


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The cost of one training of a group, or of as many as are batched."""

    start: float  # seconds until the data are ready
    compiled: float  # seconds to compile
    epoch: float  # seconds per epoch of `together` trainings
    together: int  # trainings at once
    fixed: float  # bytes, whatever the number of trainings
    per_trial: float  # bytes more for each training


@dataclass(frozen=True, kw_only=True)
class Expected:
    """The expected time and memory of a group."""

    seconds: float = math.nan  # of one worker
    bytes: float = math.nan  # of its largest task
    how: str  # measured, extrapolated, or why it is not known


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The expected time and memory of a sweep."""

    groups: list[Expected]
    seconds: float  # until all tasks are done, by all workers


def measure(fields: dict[str, Any], trials: Sequence[Trial]) -> Measured:
    """Time and memory of the group with this setting, from a task's first trials; run by a worker."""
    began = time.perf_counter()
    setting = run_folder.config_of(se.Setting, fields)
    population.use_cores()
    built = se.build(setting, open_source(setting, setting.data[0]).split)
    learner, layout, data = built.learner, built.layout, built.split.data
    made, reasons = members(trials[: layout.devices] if layout.mapped else trials, setting, built)
    if not made:
        raise ValueError(reasons[0])
    member_M, together = population.stack(made), len(made)
    start = time.perf_counter() - began
    compiled, epoch = training.probe(learner, layout, member_M, data)
    needs = population.memory_needed(learner, layout, member_M, data)  # of the program just probed
    fixed, per_trial = float(needs.fixed * layout.devices), float(needs.per_member)
    if jax.default_backend() == "cpu":  # the process itself, and a copy of each training on the host
        fixed, per_trial = 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 2 * per_trial
    return Measured(
        start=start, compiled=compiled, epoch=epoch, together=together, fixed=fixed, per_trial=per_trial
    )


def estimate(
    groups: Sequence[Group], tasks: Sequence[Task], workers: int, halving: Mapping[str, Any] | None
) -> Estimate:
    """Measure a few of the groups, as many at a time as when the sweep runs, and extrapolate to the others."""
    order = sorted(range(len(groups)), key=lambda g: groups[g].work)
    chosen = sorted({order[round(i)] for i in np.linspace(0, len(order) - 1, min(MEASURED, len(order)))})
    of_group = [[task.trials for task in tasks if task.group is group] for group in groups]
    largest = [max(several, key=len) for several in of_group]
    where = places(workers)
    with ThreadPoolExecutor(workers) as threads:
        waiting = {
            g: threads.submit(_in_process, groups[g], largest[g], where[i % workers])
            for i, g in enumerate(chosen)
        }
        results = {g: future.result() for g, future in waiting.items()}
    known = {g: result for g, result in results.items() if isinstance(result, Measured)}
    expected, seconds = [], []
    for g, group in enumerate(groups):
        if not known or isinstance(results.get(g), str):
            expected.append(Expected(how=str(results.get(g, "not known"))))
            continue
        near = min(known, key=lambda k: abs(math.log(groups[k].work / group.work)))
        took = [_seconds(known[near], group, groups[near], trials, halving) for trials in of_group[g]]
        size = known[near].fixed + known[near].per_trial * len(largest[g])
        how = "measured" if near == g else "extrapolated"
        expected.append(Expected(seconds=sum(took), bytes=size, how=how))
        seconds += took
    return Estimate(groups=expected, seconds=makespan(seconds, workers))


def _seconds(
    of: Measured, group: Group, measured: Group, trials: Sequence[Trial], halving: Mapping[str, Any] | None
) -> float:
    """The expected time and memory of a task, whose trainings run `together` at a time."""
    epochs = cost(trials, halving, group.setting.epochs) / of.together
    scale = group.work / group.setting.epochs / (measured.work / measured.setting.epochs)
    return of.start + of.compiled + epochs * scale * of.epoch


def _in_process(group: Group, trials: Sequence[Trial], place: Place) -> Measured | str:
    """Measure in another process; returns the reason as text if that fails."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=_settle, initargs=(place,)) as pool:
        try:
            return pool.submit(measure, dataclasses.asdict(group.setting), trials).result()
        except BrokenProcessPool:
            return "its process was killed: too large?"
        except (ValueError, MemoryError, jax.errors.JaxRuntimeError) as e:
            return str(e).partition("\n")[0]


def _settle(place: Place) -> None:
    """Move to the cores or GPUs of a worker, before JAX looks for any."""
    os.environ.update(place.environment)
    if place.cores:
        os.sched_setaffinity(0, place.cores)


def makespan(seconds: Sequence[float], workers: int) -> float:
    """Seconds until the last task is done, where each begins as soon as a worker is free."""
    free = [0.0] * workers
    for of_task in seconds:
        heapq.heapreplace(free, free[0] + of_task)
    return max(free)
