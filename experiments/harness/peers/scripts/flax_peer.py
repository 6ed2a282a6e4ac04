"""Flax's own LSTM cell scanned by `nn.RNN`, asked by lines what to train (loop_peer.py): `python flax_peer.py epoch`

It is trained as jax_peer.py does, in one of its forms.
"""

import functools
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array

from experiments.harness.peers.scripts import jax_peer

GATES = "ifgo"


def weights(arrays: dict[str, np.ndarray], member: int) -> dict[str, Any]:
    """Keras' arrays as those of nn.RNN(nn.OptimizedLSTMCell) and of a head."""
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


def main() -> None:
    from loop_peer import serve, train  # keeps the process to its cores, before JAX is used

    functions = jax_peer.functions(weights, loss_of, sys.argv[1])
    serve({"version": f"jax {jax.__version__}"}, functools.partial(train, *functions))


if __name__ == "__main__":
    main()
