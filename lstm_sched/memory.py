"""What a compiled population takes of a device's memory, and how much of it there is."""

import os
from typing import Any, NamedTuple

import jax

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
