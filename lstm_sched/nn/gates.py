"""The weights of an LSTM layer in two forms: one kernel per gate, as in Flax and here, or joint arrays, as in Keras.

Letters: F features, H hidden units, G = 4H columns: gates i, f, g, o.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

GATES = "ifgo"

Params = dict[str, Any]  # parameters of one layer's cell, or of a network


def unpack(
    kernel_FG: Array | np.ndarray, recurrent_HG: Array | np.ndarray, bias_G: Array | np.ndarray
) -> Params:
    """Split Keras' three arrays of a layer into the parameters of a Flax cell.

    Args:
        kernel_FG, recurrent_HG, bias_G: arrays of JAX or NumPy; NumPy arrays stay on the host.

    Returns:
        {"ii": {"kernel": (F, H)}, "hi": {"kernel": (H, H), "bias": (H,)}, …} for the gates i, f, g and o.
    """
    hidden, cell = bias_G.shape[-1] // len(GATES), {}
    for n, gate in enumerate(GATES):
        kernel, recurrent, bias = (
            a[..., n * hidden : (n + 1) * hidden] for a in (kernel_FG, recurrent_HG, bias_G)
        )
        cell["i" + gate] = {"kernel": kernel}
        cell["h" + gate] = {"kernel": recurrent, "bias": bias}
    return cell


def pack(cell_params: Params) -> tuple[Any, Any, Any]:
    """Join a Flax cell's parameters into Keras' kernel_FG, recurrent_HG and bias_G: the inverse of `unpack`."""
    on_host = isinstance(cell_params["ii"]["kernel"], np.ndarray)

    def join(side: str, name: str) -> Any:
        parts = [cell_params[side + gate][name] for gate in GATES]
        return np.concatenate(parts, axis=-1) if on_host else jnp.concatenate(parts, axis=-1)

    return join("i", "kernel"), join("h", "kernel"), join("h", "bias")


def variable_of(path: tuple) -> tuple[str, str]:
    """Name the Keras variable that holds a leaf of a network's parameters, since Keras clips gradients per variable.

    Args:
        path: the path of the leaf, as `jax.tree_util.tree_leaves_with_path` gives it.

    Returns:
        Layer and name, for example ("lstm_0", "recurrent_kernel").
    """
    layer, *gate, name = (key.key for key in path)
    recurrent = bool(gate) and gate[0].startswith("h") and name == "kernel"
    return layer, "recurrent_kernel" if recurrent else name
