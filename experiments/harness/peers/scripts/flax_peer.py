"""Flax's own LSTM cell scanned by `nn.RNN`, told by lines what to train (loop_peer.py): `python flax_peer.py epoch`

The loop is that of jax_peer.py, in one of its forms.
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


def weights(told: dict[str, np.ndarray], member: int) -> dict[str, Any]:
    """Keras' arrays as those of nn.RNN(nn.OptimizedLSTMCell) and of a head."""
    kernel, recurrent, bias, *head = (told[f"weights_{n}"][member] for n in range(5))
    cell = {}
    parts = (np.split(a, 4, axis=-1) for a in (kernel, recurrent, bias))
    for gate, of_x, of_h, added in zip(GATES, *parts, strict=True):
        cell["i" + gate] = {"kernel": jnp.asarray(of_x)}
        cell["h" + gate] = {"kernel": jnp.asarray(of_h), "bias": jnp.asarray(added)}
    return {"cell": cell, "head": [jnp.asarray(a) for a in head]}


def loss_of(params: dict[str, Any], x: Array, y: Array) -> Array:
    kernel, bias = params["head"]
    lstm = nn.RNN(nn.OptimizedLSTMCell(kernel.shape[0]))
    h_BTH: Any = lstm.apply({"params": {"cell": params["cell"]}}, x)
    return jnp.mean((h_BTH[:, -1] @ kernel + bias[None] - y) ** 2)


def main() -> None:
    from loop_peer import serve  # beside this file; keeps the process to its cores, before JAX is used  # pyright: ignore[reportMissingImports]

    train = functools.partial(jax_peer.train, weights, loss_of, sys.argv[1])
    serve({"version": f"jax {jax.__version__}"}, train)


if __name__ == "__main__":
    main()
