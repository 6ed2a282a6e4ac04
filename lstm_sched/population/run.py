"""Many trainings in one compiled program, spread over cores or GPUs.

On CPU members are mapped one after another on each core, since XLA's batched matrix products are several times slower
there than one product a member; on a GPU they are vmapped. Letters: M members.
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
from lstm_sched.population.devices import (
    Layout,
    Memory,
    analysed,
    by_member,
    bytes_of,
    even,
    everywhere,
    fetch,
    fitting,
    join,
    mesh,
    pad,
    room,
    row,
    share,
    spec,
)
from lstm_sched.population.devices import layout as layout
from lstm_sched.population.devices import stack as stack
from lstm_sched.population.devices import use_cores as use_cores
from lstm_sched.state import Origin

SCAN = 10  # epochs in the compiled scan; chunks are cut from it by skipping, so their length changes no bit


@partial(jax.jit, static_argnames="learner")
def begin_all(learner: Learner, origin_M: Origin) -> Progress:
    """Every member before its first epoch."""
    return jax.vmap(partial(start, learner))(origin_M)


def _spread(layout: Layout, one: Any, members: Any, shared: Any) -> Any:
    """`one(member, shared)` for every member: each device maps, or vmaps, over its share of them."""

    def block(members, shared):
        each = partial(_swap, one, shared)
        return lax.map(each, members) if layout.mapped else jax.vmap(each)(members)

    over = spec(layout)
    return jax.shard_map(
        block, mesh=mesh(layout), in_specs=(over, PartitionSpec()), out_specs=over, check_vma=False
    )(members, shared)


def _swap(one, shared, member):
    return one(member, shared)


@partial(jax.jit, static_argnames=("learner", "layout"), donate_argnames="progress_M")
def advance(
    learner: Learner, layout: Layout, member_M: Member, data: Data, progress_M: Progress, end_M: Array
) -> tuple[Progress, Log]:
    """At most SCAN epochs of every member, none of a member from its clock `end` on. Log of [M, SCAN].

    The number of members is a multiple of the devices (see `pad`). `progress_M` is donated.
    """
    learner = divide(learner, layout.devices) if layout.divided else learner

    def one(args, data):
        member, progress, end = args
        return run(learner, member, data, progress, SCAN, end)

    return _spread(layout, one, (member_M, progress_M, end_M), data)


@partial(jax.jit, static_argnames=("learner", "layout"))
def _losses(learner: Learner, layout: Layout, params_M: Params, part: Part) -> Array:
    return _spread(layout, partial(evaluation.losses, learner), params_M, part)


def losses(learner: Learner, layout: Layout, params_M: Params, part: Part) -> np.ndarray:
    """loss_MN, on the host: of each member's weights on every sample of a part of the data.

    Members that the devices do not hold at once take turns, as in `train`; mapped ones always fit.
    """
    at_once = size = jax.tree.leaves(params_M)[0].shape[0]
    params_M, shared = fetch(params_M), share(part, layout)
    if layout.together is not None:
        at_once = min(size, layout.together)
    elif not layout.mapped:
        padded = pad(params_M, layout)
        program = _losses.lower(learner, layout, padded, shared).compile()
        needs = analysed(program, bytes_of(part), even(size, layout) // layout.shares, layout.mapped)
        at_once = min(size, layout.shares * fitting(needs, room()))
    layout, done = layout._replace(together=None), []
    for i in range(0, size, at_once):
        some = row(params_M, np.s_[i : i + at_once])
        done.append(fetch(_losses(learner, layout, pad(some, layout, at_once), shared)))
    return np.concatenate(done)[:size]


def memory(learner: Learner, layout: Layout, member_M: Member, data: Data) -> Memory:
    """What members like these take, so many at a time, from the compiled program that would train them; none is run."""
    on_devices = jax.eval_shape(partial(jax.tree.map, jnp.asarray), (member_M, data))
    shapes, structure = jax.tree.flatten(on_devices)
    return _memory(learner, layout._replace(together=None), structure, tuple(shapes))


@cache
def _memory(learner: Learner, layout: Layout, structure: Any, shapes: Sequence[Any]) -> Memory:
    member_M, data = jax.tree.unflatten(structure, shapes)
    progress_M = jax.eval_shape(partial(begin_all, learner), member_M.origin)
    size = even(member_M.hp.rates_S.shape[0], layout)

    def placed(tree, sharding, *size):
        return jax.tree.map(lambda x: x.update(shape=(*size, *x.shape[len(size) :]), sharding=sharding), tree)

    members, progress = (placed(tree, by_member(layout), size) for tree in (member_M, progress_M))
    end_M = jax.ShapeDtypeStruct((size,), np.int32)
    lowered = advance.lower(learner, layout, members, placed(data, everywhere(layout)), progress, end_M)
    return analysed(lowered.compile(), bytes_of(data), size // layout.shares, layout.mapped)


def together(learner: Learner, layout: Layout, member_M: Member, data: Data) -> int:
    """How many of the members are trained at a time: as the layout says, or as many as the devices' memory holds."""
    size = member_M.hp.rates_S.shape[0]
    if layout.together is not None:
        return min(size, layout.together)
    return min(size, layout.shares * fitting(memory(learner, layout, member_M, data), room()))


def train(
    learner: Learner,
    layout: Layout,
    member_M: Member,
    data: Data,
    epochs: int,
    progress_M: Progress | None = None,
    chunk: int = SCAN,
) -> Iterator[tuple[Progress, Log]]:
    """Run all members to `epochs` epochs, from `progress_M` or the beginning.

    Yields (progress_M, log_M of [M, n]) on the host after each chunk of n ≤ `chunk` epochs, for the caller to
    report, save or stop; neither the chunk's length nor where a run was cut changes a bit. Members that the devices
    do not hold at once (`together`) take turns in each chunk, which changes no bit where they are mapped. Raises
    ValueError where a table is shorter than the run.
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
    progress_M = begin_all(learner, member_M.origin) if progress_M is None else progress_M
    clock_M = np.asarray(progress_M.clock)
    clock = int(clock_M[0])
    if (clock_M != clock).any():
        raise ValueError(
            f"progress_M: clocks {sorted(set(clock_M.tolist()))}; allowed: one clock for all members"
        )
    clocks = [*range(clock, epochs, min(chunk, SCAN)), epochs]
    if clock >= epochs:
        return
    at_once = together(learner, layout, member_M, data)
    layout = layout._replace(together=None)
    some = partial(_train, learner, layout, share(data, layout), at_once)
    if at_once == size:
        yield from some(member_M, progress_M, clocks)
        return
    now_M, parts = fetch(progress_M), [np.s_[i : i + at_once] for i in range(0, size, at_once)]
    for turn in pairwise(clocks):
        done = [next(some(row(member_M, part), row(now_M, part), turn)) for part in parts]
        now_M, log_M = jax.tree.map(join, *done)
        yield now_M, log_M


def _train(
    learner: Learner,
    layout: Layout,
    data: Data,
    size: int,
    member_M: Member,
    progress_M: Progress,
    clocks: Sequence[int],
) -> Iterator[tuple[Progress, Log]]:
    """Members that are on the devices from the first of the clocks to the last, filled up to `size`."""
    count = progress_M.clock.shape[0]
    members, progress = pad(member_M, layout, size), pad(progress_M, layout, size)
    live_M = np.arange(progress.clock.shape[0]) < count  # what fills up costs no epochs
    for clock, end in pairwise(clocks):
        end_M = np.where(live_M, end, 0).astype(np.int32)
        progress, log = advance(learner, layout, members, data, progress, end_M)
        yield fetch(progress, np.s_[:count]), fetch(log, np.s_[:count, : end - clock])
