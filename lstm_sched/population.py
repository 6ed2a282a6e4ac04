"""Many trainings in one compiled program, spread over cores or GPUs.

On CPU members are mapped one after another on each core, since XLA's batched matrix products are several times slower
there than one product a member; on a GPU they are vmapped. Letters: M members.
"""

import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from lstm_sched import evaluation
from lstm_sched.data import Data, Part
from lstm_sched.learner import Learner, Params, steps_per_epoch
from lstm_sched.member import Log, Member, Progress, start
from lstm_sched.state import Origin
from lstm_sched.train import run

SCAN = 10  # epochs in the compiled scan; chunks are cut from it by skipping, so their length changes no bit


class Layout(NamedTuple):
    """How members lie on the machine: over how many devices, and mapped or vmapped on each."""

    devices: int
    mapped: bool


def use_cores(cores: int | None = None) -> None:
    """Make `cores` CPU devices of this host, by default one for each core that this process may use.

    Only the first use of JAX can decide that; later they stay as they are. ValueError for more than there are.
    """
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = mine if cores is None else cores
    if not 1 <= wanted <= mine:
        raise ValueError(f"devices: {cores}; allowed: 1 to {mine}, the cores that this process may use")
    try:
        jax.config.update("jax_num_cpu_devices", wanted)
    except RuntimeError as e:
        if cores is not None and jax.device_count() < cores:
            allowed = f"1 to {jax.device_count()}, since JAX was used before with that many"
            raise ValueError(f"devices: {cores}; allowed: {allowed}") from e


def layout(devices: int | None = None, mapped: bool | None = None) -> Layout:
    """The layout for this platform: all its devices, mapped on CPU and vmapped elsewhere, unless told otherwise."""
    devices = jax.device_count() if devices is None else devices
    if not 1 <= devices <= jax.device_count():
        raise ValueError(f"devices: {devices}; allowed: 1 to {jax.device_count()}")
    return Layout(devices, jax.default_backend() == "cpu" if mapped is None else mapped)


def stack(trees: Sequence[Any]) -> Any:
    """Trees of one structure as one tree with a leading member axis."""

    def one(*leaves):
        if all(
            isinstance(leaf, np.ndarray | np.generic) for leaf in leaves
        ):  # in one step, where that is enough
            return jnp.asarray(np.stack(leaves))
        return jnp.stack([jnp.asarray(leaf) for leaf in leaves])

    return jax.tree.map(one, *trees)


def row(tree_M: Any, i: int) -> Any:
    """Member i of a stacked tree. Fetch a tree from its devices (`jax.device_get`) before taking rows."""
    return jax.tree.map(lambda leaf: leaf[i], tree_M)


def fetch(tree: Any, index: Any = np.s_[:]) -> Any:
    """A copy on the host, indexed there: donated buffers are reused; to index a sharded array is a collective."""

    def one(leaf):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(jnp.asarray(np.array(jax.random.key_data(leaf))[index]))
        return np.array(leaf)[index]

    return jax.tree.map(one, tree)


@partial(jax.jit, static_argnames="learner")
def begin_all(learner: Learner, origin_M: Origin) -> Progress:
    """Every member before its first epoch."""
    return jax.vmap(partial(start, learner))(origin_M)


def _mesh(layout: Layout) -> Mesh:
    return jax.make_mesh(
        (layout.devices,), ("member",), (AxisType.Auto,), devices=jax.devices()[: layout.devices]
    )


def _spread(layout: Layout, one: Any, members: Any, shared: Any) -> Any:
    """`one(member, shared)` for every member: each device maps, or vmaps, over its share of them."""

    def block(members, shared):
        each = partial(_swap, one, shared)
        return lax.map(each, members) if layout.mapped else jax.vmap(each)(members)

    over, everywhere = PartitionSpec("member"), PartitionSpec()
    return jax.shard_map(
        block, mesh=_mesh(layout), in_specs=(over, everywhere), out_specs=over, check_vma=False
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

    def one(args, data):
        member, progress, end = args
        return run(learner, member, data, progress, SCAN, end)

    return _spread(layout, one, (member_M, progress_M, end_M), data)


@partial(jax.jit, static_argnames=("learner", "layout"))
def losses(learner: Learner, layout: Layout, params_M: Params, part: Part) -> Array:
    """loss_MN: of each member's weights on every sample of a part of the data."""
    return _spread(layout, partial(evaluation.losses, learner), params_M, part)


def pad(tree_M: Any, layout: Layout) -> Any:
    """The last member repeated until the devices share them evenly, placed on the devices."""
    size = jax.tree.leaves(tree_M)[0].shape[0]
    fill = -size % layout.devices
    index = np.minimum(np.arange(size + fill), size - 1)
    sharding = NamedSharding(_mesh(layout), PartitionSpec("member"))
    return jax.tree.map(lambda leaf: jax.device_put(jnp.asarray(leaf)[index], sharding), tree_M)


def share(tree: Any, layout: Layout) -> Any:
    """The tree on every device."""
    return jax.device_put(tree, NamedSharding(_mesh(layout), PartitionSpec()))


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
    report, save or stop; neither the chunk's length nor where a run was cut changes a bit. Raises ValueError
    where a table is shorter than the run.
    """
    if chunk < 1:
        raise ValueError(f"chunk: {chunk}; allowed: 1 or more epochs")
    size = member_M.hp.rates_S.shape[0]
    steps = epochs * steps_per_epoch(learner, data.train.size)
    if member_M.hp.rates_S.shape[-1] < steps:
        raise ValueError(f"rates_S: {member_M.hp.rates_S.shape[-1]} steps; allowed: {steps} or more")
    progress_M = begin_all(learner, member_M.origin) if progress_M is None else progress_M
    clock_M = np.asarray(progress_M.clock)
    clock = int(clock_M[0])
    if (clock_M != clock).any():
        raise ValueError(
            f"progress_M: clocks {sorted(set(clock_M.tolist()))}; allowed: one clock for all members"
        )
    members, progress = pad(member_M, layout), pad(progress_M, layout)
    data = share(data, layout)
    live_M = np.arange(jax.tree.leaves(progress)[0].shape[0]) < size  # what fills up costs no epochs
    while clock < epochs:
        n = min(chunk, SCAN, epochs - clock)
        end_M = np.where(live_M, clock + n, 0).astype(np.int32)
        progress, log = advance(learner, layout, members, data, progress, end_M)
        clock += n
        yield fetch(progress, np.s_[:size]), fetch(log, np.s_[:size, :n])
