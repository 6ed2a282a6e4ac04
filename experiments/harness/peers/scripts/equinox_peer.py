"""Equinox in the form of jax_peer.py, asked by lines what to train (loop_peer.py): `python equinox_peer.py`

`eqx.nn.LSTMCell` scanned over a window and mapped over the batch, as its documentation does; an epoch is one call.
"""

from typing import Any

import numpy as np
from loop_peer import introduce, serve, train  # next to this file: its Python need not have this project


def weights(arrays: dict[str, np.ndarray], member: int) -> tuple[Any, Any]:
    """Keras' arrays as a cell, which has them transposed, with its gates in the same order; and a head."""
    import equinox as eqx  # pyright: ignore[reportMissingImports]
    import jax
    import jax.numpy as jnp

    kernel, recurrent, bias, *head = (jnp.asarray(arrays[f"weights_{n}"][member]) for n in range(5))
    cell = eqx.nn.LSTMCell(kernel.shape[0], recurrent.shape[0], key=jax.random.key(0))
    return eqx.tree_at(
        lambda c: (c.weight_ih, c.weight_hh, c.bias), cell, (kernel.T, recurrent.T, bias)
    ), head


def loss_of(params: tuple[Any, Any], x: Any, y: Any) -> Any:
    """Mean squared error of the prediction from the last step."""
    import jax
    import jax.numpy as jnp

    cell, (kernel, bias) = params

    def last(x_TF):
        zero = jnp.zeros(cell.hidden_size)
        (h, _), _ = jax.lax.scan(lambda carry, x_F: (cell(x_F, carry), None), (zero, zero), x_TF)
        return h

    return jnp.mean((jax.vmap(last)(x) @ kernel + bias[None] - y) ** 2)


def answer(task: dict[str, Any]) -> dict[str, Any]:
    import jax_peer

    return train(*jax_peer.functions(weights, loss_of, "epoch"), task)


if __name__ == "__main__":
    serve(introduce("equinox", "jax", "optax"), answer)
