"""Flax NNX as it is used, asked by lines what to train (loop_peer.py): `python nnx_peer.py`

`nnx.RNN(nnx.OptimizedLSTMCell)` and a jitted step (jax_peer.py), in the functional form: weights outside the modules,
so that `jax.jit` need not walk through them at each call as `nnx.jit` does.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from experiments.harness.peers.scripts import jax_peer


def weights(arrays: dict[str, np.ndarray], member: int) -> dict[str, Any]:
    """Keras' arrays as those of the cell, whose gates are in the same order, and of a head."""
    kernel, recurrent, bias, *head = (jnp.asarray(arrays[f"weights_{n}"][member]) for n in range(5))
    return {
        "cell": {"dense_i": {"kernel": kernel}, "dense_h": {"kernel": recurrent, "bias": bias}},
        "head": head,
    }


def loss_of(params: dict[str, Any], x: Array, y: Array) -> Array:
    """Mean squared error of the prediction from the last step."""
    kernel, bias = params["head"]
    lstm = nnx.RNN(nnx.OptimizedLSTMCell(x.shape[-1], kernel.shape[0], rngs=nnx.Rngs(0)))
    nnx.update(lstm, {"cell": params["cell"]})  # the weights that it was made with are never computed
    h_BTH: Any = lstm(x)
    return jnp.mean((h_BTH[:, -1] @ kernel + bias[None] - y) ** 2)


def main() -> None:
    from loop_peer import serve, train  # keeps the process to its cores, before JAX is used

    functions = jax_peer.functions(weights, loss_of, "step")
    serve({"version": f"jax {jax.__version__}"}, functools.partial(train, *functions))


if __name__ == "__main__":
    main()
