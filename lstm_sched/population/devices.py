"""How members lie on the machine: on which devices, and what is on them and on the host.

Letters: M members.
"""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from lstm_sched.data_parallel import AXIS

# What a compiled population takes of a device's memory, and how much of it there is.


SPARE = 0.1  # of what is free, for what an allocator cannot use


class Memory(NamedTuple):
    """Bytes on each device, at the most."""

    fixed: int  # however many members: the data; where members are mapped, what one of them works with
    each: int  # for each member there


def bytes_of(tree: Any) -> int:
    """Of all arrays of the tree, or of their shapes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def analysed(program: Any, data: int, members: int, mapped: bool) -> Memory:
    """Of a program compiled for so many members a device, and so many bytes of data.

    Mapped members share what they work with, beside their outputs, which are stacked there; vmapped ones do not. One
    vmapped member alone is simplified, and takes less than each of several.
    """
    sizes = program.memory_analysis()
    inputs, outputs = sizes.argument_size_in_bytes - data, sizes.output_size_in_bytes
    stacked = outputs if mapped else sizes.temp_size_in_bytes
    own = inputs + outputs - sizes.alias_size_in_bytes + stacked
    return Memory(data + sizes.temp_size_in_bytes - stacked, -(-own // members))


def room() -> int:
    """Bytes free on a device; of CPU devices, which share the host's memory, an equal part of it."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // jax.local_device_count()


def fitting(needs: Memory, room: int) -> int:
    """Members a device that so many bytes hold; one where not even that is sure."""
    return max(1, int((1 - SPARE) * room - needs.fixed) // max(1, needs.each))


class Layout(NamedTuple):
    """How members lie on the machine: over how many devices, mapped or vmapped on each, and how many at a time; or
    all on every device, one after another, and each batch divided over the devices."""

    devices: int
    mapped: bool
    together: int | None = None  # the others wait on the host; None: as many as the memory holds
    divided: bool = False

    @property
    def shares(self) -> int:
        """Devices that have other members than the others."""
        return 1 if self.divided else self.devices


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


def layout(
    devices: int | None = None, mapped: bool | None = None, together: int | None = None, divided: bool = False
) -> Layout:
    """The layout for this platform: all its devices, mapped on CPU and vmapped elsewhere, as many members at a time as
    its memory holds, unless told otherwise; where batches are divided, mapped."""
    devices = jax.device_count() if devices is None else devices
    if not 1 <= devices <= jax.device_count():
        raise ValueError(f"devices: {devices}; allowed: 1 to {jax.device_count()}")
    if together is not None and together < 1:
        raise ValueError(f"together: {together}; allowed: 1 or more members")
    if divided and mapped is False:
        raise ValueError("mapped: False; allowed where batches are divided: True, one member after another")
    mapped = divided or jax.default_backend() == "cpu" if mapped is None else mapped
    return Layout(devices, mapped, together, divided)


def fetch(tree: Any, index: Any = np.s_[:]) -> Any:
    """A copy on the host, indexed there: donated buffers are reused; to index a sharded array is a collective."""

    def one(leaf):
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(jax.device_put(np.array(jax.random.key_data(leaf))[index]))
        return np.array(leaf)[index]

    return jax.tree.map(one, tree)


def join(*leaves: Any) -> Any:
    """Members one after another, on the host, where nothing is compiled for it."""
    if jnp.issubdtype(leaves[0].dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jax.device_put(join(*map(jax.random.key_data, leaves))))
    return np.concatenate(leaves)


def stack(trees: Sequence[Any]) -> Any:
    """Trees of one structure as one tree with a leading member axis.

    They are put together on the host, where nothing is compiled for it, unless they are traced.
    """
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(trees)):
        return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *trees)
    return jax.device_put(jax.tree.map(lambda *leaves: join(*fetch(leaves, np.s_[None])), *trees))


def row(tree_M: Any, i: Any) -> Any:
    """Member i of a stacked tree, or a slice of members. Fetch a tree from its devices before taking rows."""
    return jax.tree.map(lambda leaf: leaf[i], tree_M)


def mesh(layout: Layout) -> Mesh:
    """The devices of the layout, in a row."""
    return jax.make_mesh(
        (layout.devices,), (AXIS,), (AxisType.Auto,), devices=jax.devices()[: layout.devices]
    )


def by_member(layout: Layout) -> NamedSharding:
    """Each device has its share of the members, or all."""
    return NamedSharding(mesh(layout), spec(layout))


def spec(layout: Layout) -> PartitionSpec:
    """The axis of members."""
    return PartitionSpec() if layout.divided else PartitionSpec(AXIS)


def everywhere(layout: Layout) -> NamedSharding:
    """Each device has all of it."""
    return NamedSharding(mesh(layout), PartitionSpec())


def even(size: int, layout: Layout) -> int:
    """As many members, or the next number that the devices can share."""
    return size + -size % layout.shares


def pad(tree_M: Any, layout: Layout, least: int = 1) -> Any:
    """The last member repeated until there are `least`, and the devices share them evenly; placed on the devices."""
    size = jax.tree.leaves(tree_M)[0].shape[0]
    index = np.minimum(np.arange(even(max(size, least), layout)), size - 1)
    # indexed on the host, where nothing is compiled
    return jax.device_put(fetch(tree_M, index), by_member(layout))


def share(tree: Any, layout: Layout) -> Any:
    """The tree on every device."""
    return jax.device_put(tree, everywhere(layout))
