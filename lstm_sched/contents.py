"""What a checkpoint's record says of the arrays beside it, and whether they, or a configuration, agree with it."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstm_sched.steps import Damaged

FORMAT = 1  # of the record

Leaves = Iterable[tuple[str, Any]]  # path as JAX writes it, array


def leaves(component: Any) -> list[tuple[str, Any]]:
    """The arrays of a component by their paths."""
    return [
        (jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(component)
    ]


def specification(component: Any) -> list[list[Any]]:
    """[path, dtype, shape] of every leaf."""
    return [[path, str(leaf.dtype), list(leaf.shape)] for path, leaf in leaves(component)]


def plain(leaf: Any) -> Any:
    """An array as it is stored: of a PRNG key, its data."""
    return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def plain_type(dtype: str, shape: list[int]) -> tuple[tuple[int, ...], Any]:
    """Shape and dtype as stored of an array that is specified so."""
    if not dtype.startswith("key<"):
        return tuple(shape), jnp.dtype(dtype)
    data = jax.random.key_data(jax.random.key(0))
    return (*shape, *data.shape), data.dtype


def typed(dtype: str, stored: Any) -> Any:
    """`plain` undone."""
    return jax.random.wrap_key_data(stored) if dtype.startswith("key<") else stored


def digest(component: Any) -> str:
    """SHA-256 over path and bytes of every leaf."""
    return _sha(leaves(component))


def _sha(named: Leaves) -> str:
    sha = hashlib.sha256()
    for path, leaf in named:
        sha.update(path.encode())
        sha.update(np.ascontiguousarray(plain(leaf)).tobytes())
    return sha.hexdigest()


def describe(components: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    """The record of components about to be saved."""
    return {
        "format": FORMAT,
        "jax": jax.__version__,
        "meta": meta,
        "specification": {name: specification(component) for name, component in components.items()},
        "digest": {name: digest(component) for name, component in components.items()},
    }


def check_format(record: dict[str, Any]) -> None:
    """ValueError where the record is of another version than is read here."""
    if record["format"] != FORMAT:
        raise ValueError(f"checkpoint: its format is {record['format']}; allowed: {FORMAT}")


def compare(record: dict[str, Any], components: dict[str, Any]) -> None:
    """ValueError naming the first leaf of another path, dtype or shape than was saved."""
    for name, component in components.items():
        saved, asked = record["specification"].get(name, []), specification(component)
        for old, new in zip(saved, asked, strict=False):
            if old != new:
                raise ValueError(f"checkpoint: {name} holds {old}; this configuration has {new}")
        if len(saved) != len(asked):
            raise ValueError(
                f"checkpoint: {name} holds {len(saved)} arrays; this configuration has {len(asked)}"
            )


def verify(record: dict[str, Any], components: Mapping[str, Leaves]) -> None:
    """Damaged naming the first component whose bytes are not those that were in memory when it was saved."""
    for name, named in components.items():
        if _sha(named) != record["digest"][name]:
            raise Damaged(f"{name} is not what was saved (its SHA-256 differs)")
