"""Equinox in the loop of jax_peer.py, told by lines what to train (loop_peer.py): `python equinox_peer.py`

`eqx.nn.LSTMCell` scanned over a window and mapped over the batch, as its documentation does; an epoch is one call.
"""

from typing import Any

import numpy as np
from loop_peer import introduce, serve  # beside this file: the Python that runs it need not have the package


def weights(told: dict[str, np.ndarray], member: int) -> tuple[Any, Any]:
    """Keras' arrays as a cell, which has them transposed, with its gates in the same order; and a head."""
    import equinox as eqx  # pyright: ignore[reportMissingImports]
    import jax
    import jax.numpy as jnp

    kernel, recurrent, bias, *head = (jnp.asarray(told[f"weights_{n}"][member]) for n in range(5))
    cell = eqx.nn.LSTMCell(kernel.shape[0], recurrent.shape[0], key=jax.random.key(0))
    return eqx.tree_at(
        lambda c: (c.weight_ih, c.weight_hh, c.bias), cell, (kernel.T, recurrent.T, bias)
    ), head


def loss_of(params: tuple[Any, Any], x: Any, y: Any) -> Any:
    import jax
    import jax.numpy as jnp

    cell, (kernel, bias) = params

    def last(x_TF):
        zero = jnp.zeros(cell.hidden_size)
        (h, _), _ = jax.lax.scan(lambda carry, x_F: (cell(x_F, carry), None), (zero, zero), x_TF)
        return h

    return jnp.mean((jax.vmap(last)(x) @ kernel + bias[None] - y) ** 2)


def train(told: dict[str, Any]) -> dict[str, Any]:
    import jax_peer

    return jax_peer.train(weights, loss_of, "epoch", told)


if __name__ == "__main__":
    serve(introduce("equinox", "jax", "optax"), train)
