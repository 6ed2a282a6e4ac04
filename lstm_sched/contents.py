"""What a checkpoint's record says of the arrays beside it, and whether they, or a configuration, agree with it."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstm_sched.paths import words
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


def digest(component: Any) -> str:
    """SHA-256 over path and bytes of every leaf."""
    return _sha(leaves(component))


def _sha(named: Leaves) -> str:
    sha = hashlib.sha256()
    for path, leaf in named:
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        sha.update(path.encode())
        sha.update(np.ascontiguousarray(jax.random.key_data(leaf) if is_key else leaf).tobytes())
    return sha.hexdigest()


def describe(components: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    """The record of components about to be saved. ValueError for an array whose name cannot be that of a file."""
    described = {name: specification(component) for name, component in components.items()}
    seen: set[str] = set()
    for component, rows in described.items():
        for path, _, _ in rows:
            name = ".".join((component, *words(path)))
            if name in seen or "/" in name or not name.isprintable():
                raise ValueError(
                    f"checkpoint: {component}{path}; allowed: a printable name without /, and no other's"
                )
            seen.add(name)
    return {
        "format": FORMAT,
        "jax": jax.__version__,
        "meta": meta,
        "specification": described,
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
