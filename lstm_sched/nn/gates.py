"""An LSTM layer's parameters as Keras holds them: one joint kernel, one joint recurrent kernel, one joint bias.

Ours are Flax's, one kernel a gate (cell.py). Letters: F features, H hidden units, G = 4H columns: gates i, f, g, o.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

GATES = "ifgo"

Params = dict[str, Any]  # of a cell or of a network


def unpack(
    kernel_FG: Array | np.ndarray, recurrent_HG: Array | np.ndarray, bias_G: Array | np.ndarray
) -> Params:
    """Keras' three arrays of a layer as a cell's parameters: slices, so that NumPy's stay on the host."""
    hidden, cell = bias_G.shape[-1] // len(GATES), {}
    for n, gate in enumerate(GATES):
        kernel, recurrent, bias = (
            a[..., n * hidden : (n + 1) * hidden] for a in (kernel_FG, recurrent_HG, bias_G)
        )
        cell["i" + gate] = {"kernel": kernel}
        cell["h" + gate] = {"kernel": recurrent, "bias": bias}
    return cell


def pack(cell_params: Params) -> tuple[Array, Array, Array]:
    """The inverse of `unpack`: kernel_FG, recurrent_HG, bias_G."""

    def join(side: str, name: str) -> Array:
        return jnp.concatenate([cell_params[side + gate][name] for gate in GATES], axis=-1)

    return join("i", "kernel"), join("h", "kernel"), join("h", "bias")


def variable_of(path: tuple) -> tuple[str, str]:
    """The Keras variable that holds the leaf of a network's parameters at this path: layer and name."""
    layer, *gate, name = (key.key for key in path)
    recurrent = bool(gate) and gate[0].startswith("h") and name == "kernel"
    return layer, "recurrent_kernel" if recurrent else name
