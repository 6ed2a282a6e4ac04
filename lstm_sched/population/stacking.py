"""Trees of many members: every leaf has a leading axis of members. Leaves that are not traced are handled on
the host, so that nothing is compiled."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _wrap_key(data: np.ndarray) -> jax.Array:
    return jax.random.wrap_key_data(jax.device_put(data))


def to_host(tree: Any, index: Any = np.s_[:]) -> Any:
    """Copy a tree to the host.

    Args:
        tree: arrays, random keys among them; on one device or sharded.
        index: applied to every leaf on the host, as on devices this is a collective; `...` for scalars.

    Returns:
        NumPy arrays (keys stay keys of JAX). They do not change when the tree's buffers are donated and reused.
    """

    def copy(leaf):
        if _is_key(leaf):
            return _wrap_key(np.array(jax.random.key_data(leaf))[index])
        return np.array(leaf)[index]

    return jax.tree.map(copy, tree)


def concatenate(*leaves: Any) -> Any:
    """Join the same leaf of several stacked trees along the axis of members, on the host."""
    if _is_key(leaves[0]):
        return _wrap_key(concatenate(*map(jax.random.key_data, leaves)))
    return np.concatenate(leaves)


def stack(trees: Sequence[Any]) -> Any:
    """Stack trees of one structure into one tree whose leaves have a leading axis of members.

    Args:
        trees: for example `Member`s that differ in policy, rates, rule and seed; one or more.
    """
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(trees)):
        return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *trees)
    return jax.device_put(jax.tree.map(lambda *leaves: concatenate(*to_host(leaves, np.s_[None])), *trees))


def take(tree_M: Any, index: Any) -> Any:
    """One member of a stacked tree, or a slice of its members. Copy a sharded tree `to_host` first."""
    return jax.tree.map(lambda leaf: leaf[index], tree_M)
