"""Any training state as a list of named arrays on the host: trees, .npz files, checkpoint folders.

Nothing in a file is executed: pickles are refused.
"""

import ast
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import keystr, tree_leaves_with_path

from lstm_sched.checkpoint.progress import read as read_checkpoint
from lstm_sched.members import Progress


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """One array of a state."""

    name: str  # its path as JAX writes it, or its key in a file
    path: tuple[str, ...]  # the names on the path, from the outermost
    value: np.ndarray
    key: bool  # a JAX PRNG key (`value` is its data)


def leaves(source: Any) -> list[Leaf]:
    """List the arrays of a state, in its order.

    Args:
        source: a tree of arrays and numbers (JAX, NumPy, PyTorch on any device; keys, text and booleans too), a
            `Progress`, the path of an .npz file, or that of a folder written by `checkpoint.save`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file of another kind, or one that holds pickled objects.
        TypeError: a leaf that is no array; names it.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        arrays = _from_folder(path) if path.is_dir() else _from_npz(path)
    elif isinstance(source, Progress):  # its state's components are named as in a checkpoint
        named = source.state._asdict() | source._replace(state=())._asdict()
        arrays = [(f".{p[0].key}{keystr(p[1:])}", leaf) for p, leaf in tree_leaves_with_path(named)]
    else:
        arrays = [(keystr(p), leaf) for p, leaf in tree_leaves_with_path(source)]
    return [_leaf(name, value) for name, value in arrays]


def path_names(text: str) -> tuple[str, ...]:
    """Read the names on a path that `jax.tree_util.keystr` has written: `[0].mu['bias']` is 0, mu, bias.

    Nothing in the text is evaluated.

    Raises:
        ValueError: any other text.
    """
    refused = ValueError(f"path: {text!r}; allowed: as jax.tree_util.keystr writes it")
    try:
        node: ast.expr = ast.parse(f"_{text}", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise refused from None
    names: list[str] = []
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Attribute):
            names.append(node.attr)
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            names.append(str(node.slice.value))
        else:
            raise refused
        node = node.value
    return tuple(reversed(names))


def _leaf(name: str, value: Any) -> Leaf:
    names = path_names(name) if name.startswith((".", "[")) else (name,)
    parts = re.sub(r"[/.:]", " ", " ".join(names))  # of `adam/iteration` and `lstm.weight_ih_l0`
    array, key = as_array(name, value)
    return Leaf(name=name, path=tuple(parts.split()), value=array, key=key)


def as_array(name: str, value: Any) -> tuple[np.ndarray, bool]:
    """Copy a leaf to the host, and say whether it is a PRNG key. Raises TypeError if it is not an array."""
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


def _from_folder(folder: Path) -> list[tuple[str, Any]]:
    components = read_checkpoint(folder).items()
    return [
        (f".{component}{path}", leaf) for component, arrays in components for path, leaf in arrays.items()
    ]


def _from_npz(path: Path) -> list[tuple[str, Any]]:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    if not zipfile.is_zipfile(path):  # np.load would take it for a pickle
        raise ValueError(f"{path}: not an .npz file; allowed: an .npz file or a checkpoint folder")
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = [(name, file[name]) for name in file.files]
    except (ValueError, OSError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path}: cannot be read as .npz: {line}") from None
    for name, array in arrays:
        if not isinstance(array, np.ndarray):
            raise ValueError(f"{path}: {name!r} is no array; allowed: arrays only")
    return arrays
