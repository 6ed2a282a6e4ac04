"""Weights to and from the stacked LSTM + dense head of Keras, PyTorch and Flax, without importing any of them.

In all three the default cell is the same: gates i, f, g (Keras' c), o; sigmoid gates, tanh for g and the output; a zero
state to begin with; the head reads the last step's output. Arrays do not tell other activations, a reversed direction
or what lies between layers: that is taken on trust. What comes is a JAX array of the dtype that was given, what goes to
Keras and PyTorch a NumPy array, both copies. There and back again is the same bits. An optimizer's moments stay behind.
Letters: F features (of an upper layer the lower one's H), H hidden units, G = 4H, O outputs.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import Array

from lstm_sched.nn.gates import GATES, Params, pack, unpack

Joint = tuple[np.ndarray, np.ndarray, np.ndarray]  # kernel_FG, recurrent_HG, bias_G


def _array(name: str, value: Any, *allowed: int | None) -> np.ndarray:
    """A copy of the value. ValueError unless it has this shape, None being any size, and JAX keeps its dtype."""
    array = np.array(value)  # a copy: PyTorch trains in place
    fits = len(allowed) == array.ndim and all(
        a in (None, n) for a, n in zip(allowed, array.shape, strict=True)
    )
    if not fits:
        sizes = ", ".join("any" if size is None else str(size) for size in allowed)
        raise ValueError(f"{name}: shape {array.shape}; allowed: ({sizes})")
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(f"{name}: dtype {array.dtype}; allowed: floating")
    if jax.dtypes.canonicalize_dtype(array.dtype) != array.dtype:
        raise ValueError(f"{name}: dtype {array.dtype}; allowed: float32, or float64 under jax_enable_x64")
    return array


def _network(layers: Sequence[Joint], kernel_HO: np.ndarray, bias_O: np.ndarray) -> Params:
    # taken apart on the host: nothing is compiled for it
    cells = {f"lstm_{n}": unpack(*joint) for n, joint in enumerate(layers)}
    return jax.tree.map(jnp.array, cells | {"head": {"kernel": kernel_HO, "bias": bias_O}})


def _cells(params: Params) -> list[Params]:
    return [params[f"lstm_{n}"] for n in range(len(params) - 1)]


def from_keras(arrays: Sequence[Any]) -> Params:
    """Of `model.get_weights()` for LSTM layers and a Dense: kernel (F, G), recurrent kernel (H, G), bias (G,) of each
    layer, then kernel (H, O) and bias (O,).

    A bias that is not there (`use_bias=False`) is zeros: the same predictions, but training would move it, and
    `to_keras` returns it. ValueError for what no such network has.
    """
    ranks = [np.ndim(a) for a in arrays]
    if not re.fullmatch("(221?)+21?", "".join(map(str, ranks))):
        raise ValueError(
            f"arrays: {len(ranks)} of ranks {ranks}; allowed: kernel, recurrent kernel and bias of each LSTM layer, "
            "then kernel and bias of Dense: 2, 2, 1, …, 2, 1"
        )
    matrices = [n for n, rank in enumerate(ranks) if rank == 2]

    def bias_after(n: int, kernel: np.ndarray, size: int) -> np.ndarray:
        if n + 1 < len(ranks) and ranks[n + 1] == 1:
            return _array(f"arrays[{n + 1}] (bias)", arrays[n + 1], size)
        return np.zeros_like(kernel, shape=size)

    layers, features = [], None
    for k, r in zip(matrices[:-1:2], matrices[1::2], strict=True):
        hidden = np.shape(arrays[r])[0]
        kernel_FG = _array(f"arrays[{k}] (kernel)", arrays[k], features, 4 * hidden)
        recurrent_HG = _array(f"arrays[{r}] (recurrent kernel)", arrays[r], hidden, 4 * hidden)
        layers.append((kernel_FG, recurrent_HG, bias_after(r, recurrent_HG, 4 * hidden)))
        features = hidden
    last = matrices[-1]
    kernel_HO = _array(f"arrays[{last}] (kernel of Dense)", arrays[last], features, None)
    return _network(layers, kernel_HO, bias_after(last, kernel_HO, kernel_HO.shape[1]))


def to_keras(params: Params) -> list[np.ndarray]:
    """For `model.set_weights` of LSTM layers and a Dense, all with biases: the inverse of `from_keras`."""
    joints = [array for cell in _cells(params) for array in pack(cell)]
    return [np.array(a) for a in (*joints, params["head"]["kernel"], params["head"]["bias"])]


def _dotted(prefix: str) -> str:
    return f"{prefix}." if prefix else ""


def from_torch(state_dict: Mapping[str, Any], lstm: str = "lstm", head: str = "head") -> Params:
    """Of a module's `state_dict()`: `nn.LSTM(num_layers=…)` under the name `lstm`, `nn.Linear` under `head`.

    weight_ih (G, F), weight_hh (G, H), bias_ih (G,) and bias_hh (G,) of each layer; weight (O, H), bias (O,). The two
    biases are summed. Those that are not there (`bias=False`) are zeros, as in `from_keras`. ValueError for a name that
    is missing or does not belong to such a network (a projection, a second direction, another module), or a shape.
    """
    for name in state_dict:
        if "weight_hr_l" in name or name.endswith("_reverse"):
            raise ValueError(f"state_dict: {name!r}; allowed: an LSTM of one direction without a projection")
    lstm, head, used = _dotted(lstm), _dotted(head), set()

    def take(name: str, *allowed: int | None) -> np.ndarray:
        if name not in state_dict:
            raise ValueError(f"state_dict: {name!r} is missing; it has {', '.join(state_dict) or 'nothing'}")
        used.add(name)
        return _array(name, state_dict[name], *allowed)

    layers, features = [], None
    biased = any(name.startswith(f"{lstm}bias_") for name in state_dict)
    while not layers or f"{lstm}weight_ih_l{len(layers)}" in state_dict:
        n = len(layers)
        hidden = take(f"{lstm}weight_hh_l{n}", None, None).shape[1]
        kernel_GF = take(f"{lstm}weight_ih_l{n}", 4 * hidden, features)
        recurrent_GH = take(f"{lstm}weight_hh_l{n}", 4 * hidden, hidden)
        bias_G = np.zeros_like(recurrent_GH, shape=4 * hidden)
        if biased:
            one, other = (take(f"{lstm}{b}_l{n}", 4 * hidden) for b in ("bias_ih", "bias_hh"))
            bias_G = np.where(other == 0, one, one + other)  # −0 + 0 would lose its sign
        layers.append((kernel_GF.T, recurrent_GH.T, bias_G))
        features = hidden
    kernel_OH = take(f"{head}weight", None, features)
    outputs = kernel_OH.shape[0]
    bias_O = np.zeros_like(kernel_OH, shape=outputs)
    if f"{head}bias" in state_dict:
        bias_O = take(f"{head}bias", outputs)
    if left := [name for name in state_dict if name not in used]:
        raise ValueError(f"state_dict: {left[0]!r}; allowed: {', '.join(sorted(used))}")
    return _network(layers, kernel_OH.T, bias_O)


def to_torch(params: Params, lstm: str = "lstm", head: str = "head") -> dict[str, np.ndarray]:
    """For `load_state_dict`, each array by way of `torch.from_numpy`: the inverse of `from_torch`.

    All of a bias is in bias_ih, and bias_hh is zeros. ValueError where layers differ in hidden units: one nn.LSTM has
    one number of them.
    """
    lstm, head = _dotted(lstm), _dotted(head)
    arrays: dict[str, Array] = {}
    for n, cell in enumerate(_cells(params)):
        kernel_FG, recurrent_HG, bias_G = pack(cell)
        arrays[f"{lstm}weight_ih_l{n}"] = kernel_FG.T
        arrays[f"{lstm}weight_hh_l{n}"] = recurrent_HG.T
        arrays[f"{lstm}bias_ih_l{n}"] = bias_G
        arrays[f"{lstm}bias_hh_l{n}"] = jnp.zeros_like(bias_G)
    hidden = [recurrent.shape[1] for name, recurrent in arrays.items() if "weight_hh" in name]
    if len(set(hidden)) > 1:
        raise ValueError(f"params: layers of {hidden} hidden units; allowed: the same number in each")
    arrays[f"{head}weight"] = params["head"]["kernel"].T
    arrays[f"{head}bias"] = params["head"]["bias"]
    return {name: np.array(array, order="C") for name, array in arrays.items()}


def from_flax(cells: Sequence[Mapping[str, Any]], head: Mapping[str, Any]) -> Params:
    """Of the parameters of each OptimizedLSTMCell or LSTMCell, from the lowest up, and of the Dense.

    `nn.RNN` has none of its own: they are under its cell's name, or under `cell` where it stands alone. A Dense without
    a bias gets zeros, as in `from_keras`. ValueError for other names or shapes.
    """
    names = {("i" + g, "kernel") for g in GATES} | {
        ("h" + g, leaf) for g in GATES for leaf in ("kernel", "bias")
    }
    if not cells or not {"kernel"} <= set(head) <= {"kernel", "bias"}:
        raise ValueError(f"{len(cells)} cells, head of {[*head]}; allowed: 1 or more, kernel and bias")
    network, features = {}, None
    for n, cell in enumerate(cells):
        leaves: Any = flatten_dict(cell)
        if set(leaves) != names:
            found = sorted(".".join(path) for path in leaves)
            raise ValueError(
                f"cells[{n}]: {', '.join(found)}; allowed: {', '.join(sorted(map('.'.join, names)))}"
            )
        hidden = np.size(leaves["hi", "bias"])
        shapes = {"ikernel": (features, hidden), "hkernel": (hidden, hidden), "hbias": (hidden,)}
        checked = {
            (gate, leaf): _array(f"cells[{n}] {gate}.{leaf}", array, *shapes[gate[0] + leaf])
            for (gate, leaf), array in leaves.items()
        }
        network[f"lstm_{n}"] = unflatten_dict(checked)
        features = hidden
    kernel_HO = _array("head kernel", head["kernel"], features, None)
    outputs = kernel_HO.shape[1]
    bias_O = _array("head bias", head.get("bias", np.zeros_like(kernel_HO, shape=outputs)), outputs)
    return jax.tree.map(jnp.array, network | {"head": {"kernel": kernel_HO, "bias": bias_O}})


def to_flax(params: Params) -> tuple[list[Params], Params]:
    """The inverse of `from_flax`: the cells' parameters, from the lowest up, and the Dense's."""
    return _cells(params), params["head"]
