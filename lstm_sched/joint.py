"""An LSTM layer's parameters as Keras holds them: one joint kernel, one joint recurrent kernel, one joint bias.

Ours are Flax's, one kernel a gate (cell.py). Letters: F features, H hidden units, G = 4H columns: gates i, f, g, o.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array

GATES = "ifgo"

Params = dict[str, Any]  # of a cell or of a network


def from_joint(kernel_FG: Array, recurrent_HG: Array, bias_G: Array) -> Params:
    """Keras' three arrays of a layer as a cell's parameters."""
    cell = {}
    arrays = (jnp.split(a, 4, axis=-1) for a in (kernel_FG, recurrent_HG, bias_G))
    for gate, kernel, recurrent, bias in zip(GATES, *arrays, strict=True):
        cell["i" + gate] = {"kernel": kernel}
        cell["h" + gate] = {"kernel": recurrent, "bias": bias}
    return cell


def to_joint(cell_params: Params) -> tuple[Array, Array, Array]:
    """The inverse of `from_joint`: kernel_FG, recurrent_HG, bias_G."""

    def join(side: str, name: str) -> Array:
        return jnp.concatenate([cell_params[side + gate][name] for gate in GATES], axis=-1)

    return join("i", "kernel"), join("h", "kernel"), join("h", "bias")


def variable_of(path: tuple) -> tuple[str, str]:
    """The Keras variable that holds the leaf of a network's parameters at this path: layer and name."""
    layer, *gate, name = (key.key for key in path)
    recurrent = bool(gate) and gate[0].startswith("h") and name == "kernel"
    return layer, "recurrent_kernel" if recurrent else name
