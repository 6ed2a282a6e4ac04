"""The memory that members of a compiled population take on a device, and the number of members that fit."""

import os
from typing import Any, NamedTuple

import jax

SPARE = 0.1  # fraction of the free memory that is left unused, since an allocator loses some


class Memory(NamedTuple):
    """Bytes on each device, at the most."""

    fixed: int  # independent of the number of members: the data and, if they are mapped, one work space
    per_member: int


def bytes_of(tree: Any) -> int:
    """Size of all arrays (or shapes of arrays) of a tree."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def memory_of(program: Any, data: int, members: int, mapped: bool) -> Memory:
    """The memory that a compiled program takes.

    Mapped members share one work space, in which their outputs are stacked. Each vmapped member has its own;
    XLA simplifies the program of a single one, which takes less than each of several.

    Args:
        program: compiled for `members` members per device.
        data: bytes of its inputs that all members share.
        members: the number of members per device.
        mapped: whether they are mapped (or else vmapped).
    """
    sizes = program.memory_analysis()
    inputs, outputs = sizes.argument_size_in_bytes - data, sizes.output_size_in_bytes
    stacked = outputs if mapped else sizes.temp_size_in_bytes
    of_members = inputs + outputs - sizes.alias_size_in_bytes + stacked
    return Memory(data + sizes.temp_size_in_bytes - stacked, -(-of_members // members))


def free_bytes() -> int:
    """Bytes free on a device. CPU devices share the memory of the host equally."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // jax.local_device_count()


def members_that_fit(needs: Memory, free: int) -> int:
    """The number of members per device that fit into `free` bytes, but at least 1."""
    return max(1, int((1 - SPARE) * free - needs.fixed) // max(1, needs.per_member))
