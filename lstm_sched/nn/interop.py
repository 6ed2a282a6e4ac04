"""Conversion of weights from and to Keras and PyTorch (LSTM layers and a dense head), which are not imported.

A Flax network needs no conversion: `{"lstm_0": …, "head": …}` holds the parameters of its cells and of its Dense.

All three have the same default cell: gates i, f, g (Keras' c) and o; sigmoid for the gates, tanh for g and
the output; an initial state of zeros; the head reads the output of the last step. Arrays do not show other
activations, a reversed direction or layers in between, so these are not checked. An optimizer's moments are
not converted. All arrays are copied in their dtype, and converting there and back gives the same bits.
Letters: F features (in upper layers: H of the layer below), H hidden units, G = 4H, O outputs.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstm_sched.nn.gates import Params, pack, unpack

Joint = tuple[np.ndarray, np.ndarray, np.ndarray]  # kernel_FG, recurrent_HG, bias_G


def _array(name: str, value: Any, *allowed: int | None) -> np.ndarray:
    """Copy an array. Raises ValueError for another shape (None: any size) or a dtype that JAX changes."""
    array = np.array(value)  # PyTorch trains in place
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
    # split on the host, where nothing is compiled for it
    cells = {f"lstm_{n}": unpack(*joint) for n, joint in enumerate(layers)}
    return jax.tree.map(jnp.array, cells | {"head": {"kernel": kernel_HO, "bias": bias_O}})


def _joints(params: Params) -> list[Joint]:
    """The arrays of each layer, on the host."""
    return [pack(jax.device_get(params[f"lstm_{n}"])) for n in range(len(params) - 1)]


def from_keras(arrays: Sequence[Any]) -> Params:
    """Convert the weights of a Keras model of LSTM layers and a Dense.

    Args:
        arrays: `model.get_weights()`: kernel (F, G), recurrent kernel (H, G) and bias (G,) of each layer, then kernel
            (H, O) and bias (O,). Where biases are missing (`use_bias=False`) zeros are put in; predictions are the
            same, but training would change them.

    Returns:
        The parameters of a network.

    Raises:
        ValueError: for arrays of another number, shape or dtype.
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
    """Convert parameters for `model.set_weights` of a Keras model whose layers all have biases.

    Args:
        params: of the network.

    Returns:
        NumPy arrays in the order of `from_keras`.
    """
    arrays = [array for joint in _joints(params) for array in joint]
    return [np.array(a) for a in (*arrays, params["head"]["kernel"], params["head"]["bias"])]


def _dotted(prefix: str) -> str:
    return f"{prefix}." if prefix else ""


def from_torch(state_dict: Mapping[str, Any], lstm: str = "lstm", head: str = "head") -> Params:
    """Convert the weights of a PyTorch module that has an `nn.LSTM` and an `nn.Linear`.

    Args:
        state_dict: `module.state_dict()`: weight_ih (G, F), weight_hh (G, H), bias_ih (G,) and bias_hh (G,) of each
            layer, which are summed; weight (O, H) and bias (O,). Missing biases (`bias=False`) become zeros.
        lstm, head: the names of the two in the module.

    Returns:
        The parameters of a network.

    Raises:
        ValueError: for a missing or unexpected name (a projection, a second direction, another module), or an array of
            another shape or dtype.
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
            ih_G, hh_G = (take(f"{lstm}{bias}_l{n}", 4 * hidden) for bias in ("bias_ih", "bias_hh"))
            bias_G = np.where(hh_G == 0, ih_G, ih_G + hh_G)  # −0 + 0 would lose its sign
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
    """Convert parameters for `module.load_state_dict` of a PyTorch module, after `torch.from_numpy` of each array.

    Args:
        params: of the network.
        lstm, head: the names of the `nn.LSTM` and the `nn.Linear` in the module.

    Returns:
        NumPy arrays by name, as in `from_torch`; bias_ih has the whole bias, and bias_hh is zeros.

    Raises:
        ValueError: layers differ in hidden units, which an `nn.LSTM` does not allow.
    """
    lstm, head = _dotted(lstm), _dotted(head)
    arrays: dict[str, Any] = {}
    for n, (kernel_FG, recurrent_HG, bias_G) in enumerate(_joints(params)):
        arrays[f"{lstm}weight_ih_l{n}"] = kernel_FG.T
        arrays[f"{lstm}weight_hh_l{n}"] = recurrent_HG.T
        arrays[f"{lstm}bias_ih_l{n}"] = bias_G
        arrays[f"{lstm}bias_hh_l{n}"] = np.zeros_like(bias_G)
    hidden = [recurrent.shape[1] for name, recurrent in arrays.items() if "weight_hh" in name]
    if len(set(hidden)) > 1:
        raise ValueError(f"params: layers of {hidden} hidden units; allowed: the same number in each")
    arrays[f"{head}weight"] = params["head"]["kernel"].T
    arrays[f"{head}bias"] = params["head"]["bias"]
    return {name: np.array(array, order="C") for name, array in arrays.items()}
