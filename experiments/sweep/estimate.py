"""What a sweep will take: time and memory, measured on one training of a few groups before it starts.

Measured in a process of its own on the cores of one worker, so that a configuration that does not fit ends neither the
sweep nor leaves anything behind on an accelerator.
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
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.harness import setting as se
from experiments.harness import training
from experiments.harness.source import open_source
from experiments.sweep.engines.local_engine import Place, places
from experiments.sweep.plan import Cell, Group, Task
from experiments.sweep.task.halving import cost
from experiments.sweep.task.trials import members
from lstm_sched import population

MEASURED = 4  # groups: the others are extrapolated from the one nearest in work


class Measured(NamedTuple):
    """One training of a group, or as many as are batched."""

    start: float  # seconds until there are data
    compiled: float  # seconds
    epoch: float  # seconds, of `together` trainings
    together: int  # trainings at once
    fixed: float  # bytes, whatever the number of trainings
    each: float  # bytes more for each of them


class Expected(NamedTuple):
    """Of a group."""

    seconds: float  # of one worker
    bytes: float  # of its largest task
    how: str  # measured, extrapolated, or why not known


def measure(fields: dict[str, Any], cells: list[Cell]) -> Measured:
    """Of the group with this setting, by the first of the cells of a task. Runs where a worker would."""
    began = time.perf_counter()
    setting = training.from_dict(se.Setting, fields)
    population.use_cores()
    built = se.build(setting, open_source(setting, setting.data[0]).split)
    learner, layout, data = built.learner, built.layout, built.split.data
    made, why = members(cells[: layout.devices] if layout.mapped else cells, setting, built)
    if not made:
        raise ValueError(why[0])
    member_M, together = population.stack(made), len(made)
    start = time.perf_counter() - began
    compiled, epoch = training.probe(learner, layout, member_M, data)
    needs = population.memory_needed(learner, layout, member_M, data)  # of the program just probed
    fixed, each = float(needs.fixed * layout.devices), float(needs.per_member)
    if jax.default_backend() == "cpu":  # the process itself, and a copy of each training on the host
        fixed, each = 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 2 * each
    return Measured(start, compiled, epoch, together, fixed, each)


def expect(
    tasks: Sequence[Task], workers: int, halving: Mapping[str, Any] | None
) -> tuple[list[Expected], float]:
    """For each group, in order, and the seconds that all take with so many workers."""
    groups = list({id(task.group): task.group for task in tasks}.values())
    order = sorted(range(len(groups)), key=lambda g: groups[g].work)
    chosen = sorted({order[round(i)] for i in np.linspace(0, len(order) - 1, min(MEASURED, len(order)))})
    largest = [max((t.cells for t in tasks if t.group is group), key=len) for group in groups]
    where = places(workers)
    with ThreadPoolExecutor(workers) as threads:  # as many at a time as when it runs
        waiting = {
            g: threads.submit(_apart, groups[g], largest[g], where[i % workers]) for i, g in enumerate(chosen)
        }
        found = {g: one.result() for g, one in waiting.items()}
    known = {g: measured for g, measured in found.items() if isinstance(measured, Measured)}
    expected, seconds = [], []
    for g, group in enumerate(groups):
        mine = [task for task in tasks if task.group is group]
        if not known or isinstance(found.get(g), str):
            expected.append(Expected(math.nan, math.nan, str(found.get(g, "not known"))))
            continue
        near = min(known, key=lambda k: abs(math.log(groups[k].work / group.work)))
        took = [_seconds(known[near], group, groups[near], task.cells, halving) for task in mine]
        size = known[near].fixed + known[near].each * len(largest[g])
        expected.append(Expected(sum(took), size, "measured" if near == g else "extrapolated"))
        seconds += took
    return expected, makespan(seconds, workers)


def _seconds(
    one: Measured, group: Group, measured: Group, cells: list[Cell], halving: Mapping[str, Any] | None
) -> float:
    """Of a task: trainings one after another, `together` at a time."""
    epochs = cost(cells, halving, group.setting.epochs) / one.together
    scale = group.work / group.setting.epochs / (measured.work / measured.setting.epochs)
    return one.start + one.compiled + epochs * scale * one.epoch


def _apart(group: Group, cells: list[Cell], place: Place) -> Measured | str:
    """Measured in another process; in words why not, where that ends."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=_settle, initargs=(place,)) as pool:
        try:
            return pool.submit(measure, dataclasses.asdict(group.setting), cells).result()
        except BrokenProcessPool:
            return "its process was killed: too large?"
        except (ValueError, MemoryError, jax.errors.JaxRuntimeError) as e:
            return str(e).partition("\n")[0]


def _settle(place: Place) -> None:
    """On the cores or GPUs of a worker; before JAX looks for any."""
    os.environ.update(place.environment)
    if place.cores:
        os.sched_setaffinity(0, place.cores)


def makespan(seconds: Sequence[float], workers: int) -> float:
    """Until the last of the tasks is done, where each begins as soon as a worker is free."""
    free = [0.0] * workers
    for one in seconds:
        heapq.heapreplace(free, free[0] + one)
    return max(free)
