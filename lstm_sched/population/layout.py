"""The layout of members on the machine: their devices, mapped or vmapped, and the placing of arrays there.

Letters: M members.
"""

import os
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from lstm_sched.data_parallel import AXIS
from lstm_sched.population.stacking import to_host


class Layout(NamedTuple):
    """How members are spread over devices.

    Members are divided over the devices. With `divided` every device holds all members and trains them one after
    another, and each batch is divided over the devices instead.
    """

    devices: int
    mapped: bool  # one member after another on each device (lax.map), instead of all at once (vmap)
    at_once: int | None = (
        None  # members on the devices; the others wait on the host. None: as many as memory holds
    )
    divided: bool = False

    @property
    def shards(self) -> int:
        """The number of parts into which the members are divided."""
        return 1 if self.divided else self.devices


def use_cores(cores: int | None = None) -> None:
    """Make each core of this host a CPU device of JAX. The number is fixed by the first use of JAX.

    Args:
        cores: how many devices; by default one for each core that this process may use.

    Raises:
        ValueError: `cores` is below 1 or more than there are, or JAX was used before with fewer devices.
    """
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = available if cores is None else cores
    if not 1 <= wanted <= available:
        raise ValueError(f"devices: {cores}; allowed: 1 to {available}, the cores that this process may use")
    try:
        jax.config.update("jax_num_cpu_devices", wanted)
    except RuntimeError as e:
        if cores is not None and jax.device_count() < cores:
            allowed = f"1 to {jax.device_count()}, since JAX was used before with that many"
            raise ValueError(f"devices: {cores}; allowed: {allowed}") from e


def choose_layout(
    devices: int | None = None,
    mapped: bool | None = None,
    at_once: int | None = None,
    divided: bool = False,
) -> Layout:
    """Choose the layout that suits this platform, with the arguments that are given.

    Args:
        devices: the number of devices; by default all.
        mapped: whether members are trained one after another on a device. By default they are on CPUs, where XLA's
            batched matrix products are several times slower than one product per member, and vmapped elsewhere.
        at_once: members on the devices at a time; by default as many as their memory holds.
        divided: whether each batch is divided over the devices, instead of the members; implies `mapped`.

    Raises:
        ValueError: for more devices than there are, fewer than 1 of anything, or `divided` without `mapped`.
    """
    devices = jax.device_count() if devices is None else devices
    if not 1 <= devices <= jax.device_count():
        raise ValueError(f"devices: {devices}; allowed: 1 to {jax.device_count()}")
    if at_once is not None and at_once < 1:
        raise ValueError(f"at_once: {at_once}; allowed: 1 or more members")
    if divided and mapped is False:
        raise ValueError("mapped: False; allowed where batches are divided: True, one member after another")
    mapped = divided or jax.default_backend() == "cpu" if mapped is None else mapped
    return Layout(devices, mapped, at_once, divided)


def mesh(layout: Layout) -> Mesh:
    """The devices of the layout, in a row."""
    devices = jax.devices()[: layout.devices]
    return jax.make_mesh((layout.devices,), (AXIS,), (AxisType.Auto,), devices=devices)


def member_spec(layout: Layout) -> PartitionSpec:
    """How the leading axis of members is divided over the mesh."""
    return PartitionSpec() if layout.divided else PartitionSpec(AXIS)


def sharded(layout: Layout) -> NamedSharding:
    """The sharding of arrays that have a leading axis of members."""
    return NamedSharding(mesh(layout), member_spec(layout))


def replicated(layout: Layout) -> NamedSharding:
    """The sharding of arrays of which every device has a full copy."""
    return NamedSharding(mesh(layout), PartitionSpec())


def padded_size(members: int, layout: Layout) -> int:
    """The number of members, rounded up to one that the devices can divide evenly."""
    return members + -members % layout.shards


def shard(tree_M: Any, layout: Layout, at_least: int = 1) -> Any:
    """Place members on the devices; the last is repeated up to `at_least`, and until they divide evenly."""
    size = jax.tree.leaves(tree_M)[0].shape[0]
    index = np.minimum(np.arange(padded_size(max(size, at_least), layout)), size - 1)
    # indexed on the host, where nothing is compiled
    return jax.device_put(to_host(tree_M, index), sharded(layout))


def replicate(tree: Any, layout: Layout) -> Any:
    """Place a full copy of the tree on every device."""
    return jax.device_put(tree, replicated(layout))
