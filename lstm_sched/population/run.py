"""Many trainings in one compiled program, spread over cores or GPUs.

Letters: M members, N samples.
"""

from collections.abc import Iterator, Sequence
from functools import cache, partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import PartitionSpec

from lstm_sched import evaluation
from lstm_sched.data.windows import Data, Part
from lstm_sched.data_parallel import divide
from lstm_sched.learner import Learner, Params, steps_per_epoch
from lstm_sched.loop import run
from lstm_sched.members import Log, Member, Progress, start
from lstm_sched.monitor import check_rate
from lstm_sched.population import memory
from lstm_sched.population.layout import (
    Layout,
    member_spec,
    mesh,
    padded_size,
    replicate,
    replicated,
    shard,
    sharded,
)
from lstm_sched.population.memory import Memory
from lstm_sched.population.stacking import concatenate, take, to_host
from lstm_sched.state import Origin

MAX_CHUNK = (
    10  # epochs of the compiled scan: shorter chunks skip the rest of it, so that no bit depends on them
)


# Programs


@partial(jax.jit, static_argnames="learner")
def start_all(learner: Learner, origin_M: Origin) -> Progress:
    """The progress of every member before its first epoch."""
    return jax.vmap(partial(start, learner))(origin_M)


def _for_each(layout: Layout, function: Any, member_M: Any, shared: Any) -> Any:
    """Call `function(member, shared)` for every member: each device maps, or vmaps, over its own members."""

    def on_device(member_M, shared):
        of_member = partial(_swapped, function, shared)
        return lax.map(of_member, member_M) if layout.mapped else jax.vmap(of_member)(member_M)

    spec = member_spec(layout)
    return jax.shard_map(
        on_device, mesh=mesh(layout), in_specs=(spec, PartitionSpec()), out_specs=spec, check_vma=False
    )(member_M, shared)


def _swapped(function, shared, member):
    return function(member, shared)


@partial(jax.jit, static_argnames=("learner", "layout"), donate_argnames="progress_M")
def run_all(
    learner: Learner, layout: Layout, member_M: Member, data: Data, progress_M: Progress, end_M: Array
) -> tuple[Progress, Log]:
    """`loop.run` of every member for at most MAX_CHUNK epochs.

    Args:
        learner, layout: static.
        member_M, progress_M: placed by `shard`, so that the devices divide them evenly; `progress_M` is donated.
        data: placed by `replicate`.
        end_M: the clock at which each member stops.

    Returns:
        The progress of every member, and a Log of [M, MAX_CHUNK].
    """
    learner = divide(learner, layout.devices) if layout.divided else learner

    def run_one(args, data):
        member, progress, end = args
        return run(learner, member, data, progress, MAX_CHUNK, end)

    return _for_each(layout, run_one, (member_M, progress_M, end_M), data)


@partial(jax.jit, static_argnames=("learner", "layout"))
def _losses(learner: Learner, layout: Layout, params_M: Params, part: Part) -> Array:
    return _for_each(layout, partial(evaluation.losses, learner), params_M, part)


# The number of members at a time


def memory_needed(learner: Learner, layout: Layout, member_M: Member, data: Data) -> Memory:
    """The memory that training these members would take, from the compiled program; nothing is run.

    Args:
        learner, layout: as in `train`.
        member_M: stacked members; only their number and shapes matter.
        data: only its shapes matter.
    """
    on_devices = jax.eval_shape(partial(jax.tree.map, jnp.asarray), (member_M, data))
    shapes, structure = jax.tree.flatten(on_devices)
    return _memory_needed(learner, layout._replace(at_once=None), structure, tuple(shapes))


@cache
def _memory_needed(learner: Learner, layout: Layout, structure: Any, shapes: Sequence[Any]) -> Memory:
    member_M, data = jax.tree.unflatten(structure, shapes)
    progress_M = jax.eval_shape(partial(start_all, learner), member_M.origin)
    size = padded_size(member_M.hp.rates_S.shape[0], layout)

    def placed(tree, sharding, *size):
        return jax.tree.map(lambda x: x.update(shape=(*size, *x.shape[len(size) :]), sharding=sharding), tree)

    members, progress = (placed(tree, sharded(layout), size) for tree in (member_M, progress_M))
    end_M = jax.ShapeDtypeStruct((size,), np.int32)
    lowered = run_all.lower(learner, layout, members, placed(data, replicated(layout)), progress, end_M)
    return memory.memory_of(lowered.compile(), memory.bytes_of(data), size // layout.shards, layout.mapped)


def members_at_once(learner: Learner, layout: Layout, member_M: Member, data: Data) -> int:
    """The number of these members that `train` has on the devices at a time.

    The layout gives it, or else the memory of the devices does, for which the program is compiled.
    """
    size = member_M.hp.rates_S.shape[0]
    if layout.at_once is not None:
        return min(size, layout.at_once)
    needs = memory_needed(learner, layout, member_M, data)
    return min(size, layout.shards * memory.members_that_fit(needs, memory.free_bytes()))


# Runs


def train(
    learner: Learner,
    layout: Layout,
    member_M: Member,
    data: Data,
    epochs: int,
    progress_M: Progress | None = None,
    chunk: int = MAX_CHUNK,
) -> Iterator[tuple[Progress, Log]]:
    """Train all members up to `epochs` epochs, and yield after each chunk, for the caller to report, save or stop.

    Neither the length of chunks nor an interruption changes a bit of the result. If the devices cannot hold
    all members at once, they take turns within each chunk; if members are mapped, this changes no bit either.

    Args:
        learner: what is trained; it is compiled once for all members.
        layout: from `choose_layout`.
        member_M: from `stack`.
        data: what all members are trained on.
        epochs: the clock at which the run ends, counted from its very beginning.
        progress_M: where to continue from; by default the beginning.
        chunk: epochs between two yields, 1 or more; above MAX_CHUNK it is MAX_CHUNK.

    Yields:
        The progress of every member and a Log of the n epochs of the chunk, [M, n], both on the host.

    Raises:
        ValueError: for a chunk below 1, tables of rates that are shorter than the run, members of unequal clocks, or
            batches that a divided layout cannot divide evenly.
    """
    if chunk < 1:
        raise ValueError(f"chunk: {chunk}; allowed: 1 or more epochs")
    hp, size = member_M.hp, member_M.hp.rates_S.shape[0]
    steps = epochs * steps_per_epoch(learner, data.train.size)
    if hp.rates_S.shape[-1] < steps:
        raise ValueError(f"rates_S: {hp.rates_S.shape[-1]} steps; allowed: {steps} or more")
    if learner.watched:
        check_rate("hp.watch.rate", hp.watch.rate, epochs)
    if layout.divided:
        divide(learner, layout.devices)
    progress_M = start_all(learner, member_M.origin) if progress_M is None else progress_M
    clock_M = np.asarray(progress_M.clock)
    clock = int(clock_M[0])
    if (clock_M != clock).any():
        raise ValueError(
            f"progress_M: clocks {sorted(set(clock_M.tolist()))}; allowed: one clock for all members"
        )
    clocks = [*range(clock, epochs, min(chunk, MAX_CHUNK)), epochs]
    if clock >= epochs:
        return
    at_once = members_at_once(learner, layout, member_M, data)
    layout = layout._replace(at_once=None)
    train_some = partial(_train, learner, layout, replicate(data, layout), at_once)
    if at_once == size:
        yield from train_some(member_M, progress_M, clocks)
        return
    now_M, turns = to_host(progress_M), [np.s_[i : i + at_once] for i in range(0, size, at_once)]
    for chunk_clocks in pairwise(clocks):
        parts = [next(train_some(take(member_M, m), take(now_M, m), chunk_clocks)) for m in turns]
        now_M, log_M = jax.tree.map(concatenate, *parts)
        yield now_M, log_M


def _train(
    learner: Learner,
    layout: Layout,
    data: Data,
    at_least: int,
    member_M: Member,
    progress_M: Progress,
    clocks: Sequence[int],
) -> Iterator[tuple[Progress, Log]]:
    """Train members that stay on the devices from the first clock to the last, padded to `at_least`."""
    count = progress_M.clock.shape[0]
    members, progress = shard(member_M, layout, at_least), shard(progress_M, layout, at_least)
    live_M = np.arange(progress.clock.shape[0]) < count  # no epochs are spent on the padding
    for clock, end in pairwise(clocks):
        end_M = np.where(live_M, end, 0).astype(np.int32)
        progress, log = run_all(learner, layout, members, data, progress, end_M)
        yield to_host(progress, np.s_[:count]), to_host(log, np.s_[:count, : end - clock])


def losses(learner: Learner, layout: Layout, params_M: Params, part: Part) -> np.ndarray:
    """Evaluate the weights of every member on a part of the data.

    Vmapped members take turns, as in `train`, if the devices cannot hold all at once; mapped ones fit.

    Args:
        learner, layout: as in `train`.
        params_M: stacked weights.
        part: train, val or test.

    Returns:
        loss_MN, on the host, in the units of the loss.
    """
    at_once = size = jax.tree.leaves(params_M)[0].shape[0]
    params_M, part_on_devices = to_host(params_M), replicate(part, layout)
    if layout.at_once is not None:
        at_once = min(size, layout.at_once)
    elif not layout.mapped:
        program = _losses.lower(learner, layout, shard(params_M, layout), part_on_devices).compile()
        of_device = padded_size(size, layout) // layout.shards
        needs = memory.memory_of(program, memory.bytes_of(part), of_device, layout.mapped)
        at_once = min(size, layout.shards * memory.members_that_fit(needs, memory.free_bytes()))
    layout, parts = layout._replace(at_once=None), []
    for i in range(0, size, at_once):
        some_M = shard(take(params_M, np.s_[i : i + at_once]), layout, at_once)
        parts.append(to_host(_losses(learner, layout, some_M, part_on_devices)))
    return np.concatenate(parts)[:size]
