"""How much of a device's memory the members of a compiled population take, and how many of them fit."""

import os
from typing import Any, NamedTuple

import jax

SPARE = 0.1  # part of the free memory that is left alone, for what an allocator cannot use


class Memory(NamedTuple):
    """Bytes on each device, at the most."""

    fixed: int  # whatever the number of members: the data; where members are mapped, the work space of one of them
    per_member: int


def bytes_of(tree: Any) -> int:
    """Size of all arrays (or shapes of arrays) of a tree."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def memory_of(program: Any, data: int, members: int, mapped: bool) -> Memory:
    """What a compiled program takes.

    Mapped members share one work space, except for their outputs, which are stacked there. Each vmapped member has
    its own; a single one is simplified by XLA, and takes less than each of several.

    Args:
        program: compiled for `members` members per device.
        data: bytes of its inputs that all members share.
        members: per device.
        mapped: whether they are mapped, or vmapped.
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
    """Members per device for which `free` bytes suffice; 1 where they suffice for none."""
    return max(1, int((1 - SPARE) * free - needs.fixed) // max(1, needs.per_member))
