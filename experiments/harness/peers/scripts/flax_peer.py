"""Flax's own LSTM cells, asked by lines what to train (loop_peer.py): `python flax_peer.py step`, `epoch` or `nnx`

`nn.RNN(nn.OptimizedLSTMCell)` with a compiled step or a scanned epoch (jax_peer.py), or that of NNX with a compiled
step. NNX is used in its functional form, with weights outside the modules, so that `jax.jit` need not walk through them
at each call as `nnx.jit` does.
"""

import functools
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import nnx
from jax import Array

from experiments.harness.peers.scripts import jax_peer

GATES = "ifgo"


def weights(arrays: dict[str, np.ndarray], member: int) -> dict[str, Any]:
    """Keras' arrays as those of linen's cell, one kernel per gate, and of a head."""
    kernel, recurrent, bias, *head = (arrays[f"weights_{n}"][member] for n in range(5))
    cell = {}
    parts = (np.split(a, 4, axis=-1) for a in (kernel, recurrent, bias))
    for gate, input_kernel, recurrent_kernel, gate_bias in zip(GATES, *parts, strict=True):
        cell["i" + gate] = {"kernel": jnp.asarray(input_kernel)}
        cell["h" + gate] = {"kernel": jnp.asarray(recurrent_kernel), "bias": jnp.asarray(gate_bias)}
    return {"cell": cell, "head": [jnp.asarray(a) for a in head]}


def loss_of(params: dict[str, Any], x: Array, y: Array) -> Array:
    """Mean squared error of the prediction from the last step."""
    kernel, bias = params["head"]
    lstm = nn.RNN(nn.OptimizedLSTMCell(kernel.shape[0]))
    h_BTH: Any = lstm.apply({"params": {"cell": params["cell"]}}, x)
    return jnp.mean((h_BTH[:, -1] @ kernel + bias[None] - y) ** 2)


def nnx_weights(arrays: dict[str, np.ndarray], member: int) -> dict[str, Any]:
    """Keras' arrays as those of NNX's cell, whose gates are in the same order, and of a head."""
    kernel, recurrent, bias, *head = (jnp.asarray(arrays[f"weights_{n}"][member]) for n in range(5))
    cell = {"dense_i": {"kernel": kernel}, "dense_h": {"kernel": recurrent, "bias": bias}}
    return {"cell": cell, "head": head}


def nnx_loss_of(params: dict[str, Any], x: Array, y: Array) -> Array:
    """The same by NNX."""
    kernel, bias = params["head"]
    lstm = nnx.RNN(nnx.OptimizedLSTMCell(x.shape[-1], kernel.shape[0], rngs=nnx.Rngs(0)))
    nnx.update(lstm, {"cell": params["cell"]})  # the weights that it was made with are never computed
    h_BTH: Any = lstm(x)
    return jnp.mean((h_BTH[:, -1] @ kernel + bias[None] - y) ** 2)


FORMS = {
    "step": jax_peer.functions(weights, loss_of, "step"),
    "epoch": jax_peer.functions(weights, loss_of, "epoch"),
    "nnx": jax_peer.functions(nnx_weights, nnx_loss_of, "step"),
}


def main() -> None:
    from loop_peer import serve, train  # keeps the process to its cores, before JAX is used

    serve({"version": f"jax {jax.__version__}"}, functools.partial(train, *FORMS[sys.argv[1]]))


if __name__ == "__main__":
    main()
