"""Any training state as a list of named arrays on the host: trees, .npz files, checkpoint folders.

Nothing in a file is executed: pickles are refused.
"""

import ast
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lstm_sched import checkpoint
from lstm_sched.members import Progress

# Paths to the leaves of a tree, written as text and read again.


def words(path: str) -> tuple[str, ...]:
    """The names on a path that `jax.tree_util.keystr` has written: `[0].mu['bias']` is 0, mu, bias.

    ValueError for any other text. Nothing in it is evaluated.
    """
    refused = ValueError(f"path: {path!r}; allowed: as jax.tree_util.keystr writes it")
    try:
        node: ast.expr = ast.parse(f"_{path}", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise refused from None
    found: list[str] = []
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Attribute):
            found.append(node.attr)
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            found.append(str(node.slice.value))
        else:
            raise refused
        node = node.value
    return tuple(reversed(found))


class Leaf(NamedTuple):
    """One array of a state."""

    name: str  # its path as JAX writes it, or its key in a file
    words: tuple[str, ...]  # the names on the path, from the outermost
    value: np.ndarray
    key: bool  # a JAX PRNG key (`value` is its data)


def leaves(source: Any) -> list[Leaf]:
    """The arrays of a state, in its order.

    source: a tree of arrays and numbers (JAX, NumPy, PyTorch on any device; keys, text and booleans too), a
    `Progress`, the path of an .npz file, or of a folder that `checkpoint.save` wrote. FileNotFoundError; ValueError
    for a file that is neither or holds pickled objects; TypeError naming a leaf that is no array.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        return _from_folder(path) if path.is_dir() else _from_npz(path)
    if isinstance(source, Progress):  # its state's components are named as in a checkpoint
        source = source.state._asdict() | source._replace(state=())._asdict()
        return [
            _leaf(f".{p[0].key}{_written(p[1:])}", v) for p, v in jax.tree_util.tree_leaves_with_path(source)
        ]
    return [_leaf(_written(path), value) for path, value in jax.tree_util.tree_leaves_with_path(source)]


def _written(path: tuple) -> str:
    return jax.tree_util.keystr(path)


def _leaf(name: str, value: Any) -> Leaf:
    return Leaf(name, _words(name), *as_array(name, value))


def _words(name: str) -> tuple[str, ...]:
    """Names on a path; those that hold several, as `adam/iteration` and `lstm.weight_ih_l0`, are taken apart."""
    found = words(name) if name.startswith((".", "[")) else (name,) if name else ()
    return tuple(
        w for word in found for w in word.replace("/", " ").replace(".", " ").replace(":", " ").split()
    )


def as_array(name: str, value: Any) -> tuple[np.ndarray, bool]:
    """A leaf on the host, and whether it is a PRNG key. TypeError names a leaf that is no array."""
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return np.asarray(jax.random.key_data(value)), True
    detach = getattr(value, "detach", None)
    if detach is not None:  # a PyTorch tensor, which may need gradients or lie on a device
        value = detach().cpu()
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        value = str(value)  # the words of NumPy's bit generators have 128 bits
    array = np.asarray(value)
    if array.dtype == object:
        raise TypeError(
            f"{name or 'state'}: {type(value).__name__}; allowed: arrays, numbers, text, PRNG keys"
        )
    return array, False


def _from_folder(folder: Path) -> list[Leaf]:
    return [
        _leaf(f".{component}{path}", value)
        for component, arrays in checkpoint.read(folder).items()
        for path, value in arrays.items()
    ]


def _from_npz(path: Path) -> list[Leaf]:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    if not zipfile.is_zipfile(path):  # np.load would take it for a pickle
        raise ValueError(f"{path}: not an .npz file; allowed: an .npz file or a checkpoint folder")
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path}: cannot be read as .npz: {line}") from None
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise ValueError(f"{path}: {name!r} is no array; allowed: arrays only")
    return [_leaf(name, array) for name, array in arrays.items()]
