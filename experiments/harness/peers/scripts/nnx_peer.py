"""Flax NNX as it is used, told by lines what to train (loop_peer.py): `python nnx_peer.py`

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


def weights(told: dict[str, np.ndarray], member: int) -> dict[str, Any]:
    """Keras' arrays as those of the cell, whose gates are in the same order, and of a head."""
    kernel, recurrent, bias, *head = (jnp.asarray(told[f"weights_{n}"][member]) for n in range(5))
    return {
        "cell": {"dense_i": {"kernel": kernel}, "dense_h": {"kernel": recurrent, "bias": bias}},
        "head": head,
    }


def loss_of(params: dict[str, Any], x: Array, y: Array) -> Array:
    kernel, bias = params["head"]
    lstm = nnx.RNN(nnx.OptimizedLSTMCell(x.shape[-1], kernel.shape[0], rngs=nnx.Rngs(0)))
    nnx.update(lstm, {"cell": params["cell"]})  # what it was made with is never computed
    h_BTH: Any = lstm(x)
    return jnp.mean((h_BTH[:, -1] @ kernel + bias[None] - y) ** 2)


def main() -> None:
    from loop_peer import serve  # beside this file; keeps the process to its cores, before JAX is used  # pyright: ignore[reportMissingImports]

    serve({"version": f"jax {jax.__version__}"}, functools.partial(jax_peer.train, weights, loss_of, "step"))


if __name__ == "__main__":
    main()
