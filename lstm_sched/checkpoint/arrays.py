"""The record of the arrays of a saved step, and the checks of loaded arrays against it.

Orbax neither verifies contents nor refuses another dtype. So the record holds, per component, the path, dtype
and shape of its leaves, and a SHA-256 of their bytes as they were in memory.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstm_sched.checkpoint.steps import Damaged

FORMAT = 1  # version of the record

Leaves = Iterable[tuple[str, Any]]  # (path as JAX writes it, array)


def leaves(component: Any) -> list[tuple[str, Any]]:
    """The arrays of a component with their paths."""
    return [
        (jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(component)
    ]


def specification(component: Any) -> list[list[Any]]:
    """[path, dtype, shape] of every leaf."""
    return [[path, str(leaf.dtype), list(leaf.shape)] for path, leaf in leaves(component)]


def plain(leaf: Any) -> Any:
    """An array in the form in which it is stored: a random key becomes its data."""
    return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def plain_type(dtype: str, shape: list[int]) -> tuple[tuple[int, ...], Any]:
    """Shape and dtype under which an array of this specification is stored."""
    if not dtype.startswith("key<"):
        return tuple(shape), jnp.dtype(dtype)
    data = jax.random.key_data(jax.random.key(0))
    return (*shape, *data.shape), data.dtype


def typed(dtype: str, stored: Any) -> Any:
    """The inverse of `plain`."""
    return jax.random.wrap_key_data(stored) if dtype.startswith("key<") else stored


def digest(component: Any) -> str:
    """SHA-256 of the paths and bytes of all leaves."""
    return _sha(leaves(component))


def _sha(named: Leaves) -> str:
    sha = hashlib.sha256()
    for path, leaf in named:
        sha.update(path.encode())
        sha.update(np.ascontiguousarray(plain(leaf)).tobytes())
    return sha.hexdigest()


def describe(components: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    """Make the record of components that are about to be saved."""
    return {
        "format": FORMAT,
        "jax": jax.__version__,
        "meta": meta,
        "specification": {name: specification(component) for name, component in components.items()},
        "digest": {name: digest(component) for name, component in components.items()},
    }


def check_format(record: dict[str, Any]) -> None:
    """Raise ValueError for a record of another version."""
    if record["format"] != FORMAT:
        raise ValueError(f"checkpoint: its format is {record['format']}; allowed: {FORMAT}")


def compare(record: dict[str, Any], components: dict[str, Any]) -> None:
    """Raise ValueError, naming the first leaf whose path, dtype or shape is not that of the saved one."""
    for name, component in components.items():
        saved, expected = record["specification"].get(name, []), specification(component)
        for old, new in zip(saved, expected, strict=False):
            if old != new:
                raise ValueError(f"checkpoint: {name} holds {old}; this configuration has {new}")
        if len(saved) != len(expected):
            raise ValueError(
                f"checkpoint: {name} holds {len(saved)} arrays; this configuration has {len(expected)}"
            )


def verify(record: dict[str, Any], components: Mapping[str, Leaves]) -> None:
    """Raise Damaged, naming the first component whose bytes are not those that were in memory when it was saved."""
    for name, named in components.items():
        if _sha(named) != record["digest"][name]:
            raise Damaged(f"{name} is not what was saved (its SHA-256 differs)")
