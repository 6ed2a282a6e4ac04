"""Flax's own LSTM cell scanned by `nn.RNN`, told by lines what to train (peers_loop.py): `python peers_flax.py epoch`

Each step is a call of a compiled function (`step`), or each epoch, which scans its batches (`epoch`); optax's Adam, and
all data on the device beforehand. Letters: S steps, B batch, T time steps, F features.
"""

import functools
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax import Array, lax

GATES = "ifgo"

Trained = tuple[Any, Any]  # weights, moments


@functools.cache
def batches(path: str, batch: int) -> tuple[Array, Array, dict[str, np.ndarray]]:
    """x_SBTF and y_SB1, and all arrays."""
    told = dict(np.load(path))
    x, y = (jnp.asarray(told[name].reshape(-1, batch, *told[name].shape[1:])) for name in ("X", "y"))
    return x, y, told


def weights(told: dict[str, np.ndarray], member: int) -> dict[str, Any]:
    """Keras' arrays as those of nn.RNN(nn.OptimizedLSTMCell) and of a head."""
    kernel, recurrent, bias, *head = (told[f"weights_{n}"][member] for n in range(5))
    cell = {}
    parts = (np.split(a, 4, axis=-1) for a in (kernel, recurrent, bias))
    for gate, of_x, of_h, added in zip(GATES, *parts, strict=True):
        cell["i" + gate] = {"kernel": jnp.asarray(of_x)}
        cell["h" + gate] = {"kernel": jnp.asarray(of_h), "bias": jnp.asarray(added)}
    return {"cell": cell, "head": [jnp.asarray(a) for a in head]}


def loss_of(hidden: int, params: dict[str, Any], x: Array, y: Array) -> Array:
    lstm = nn.RNN(nn.OptimizedLSTMCell(hidden))
    h_BTH: Any = lstm.apply({"params": {"cell": params["cell"]}}, x)
    kernel, bias = params["head"]
    return jnp.mean((h_BTH[:, -1] @ kernel + bias[None] - y) ** 2)


def adam(rate: Any) -> optax.GradientTransformation:
    return optax.adam(rate, eps=1e-7)


def _step(hidden: int, trained: Trained, rate: Array, x: Array, y: Array) -> tuple[Trained, Array]:
    params, moments = trained
    loss, grads = jax.value_and_grad(functools.partial(loss_of, hidden))(params, x, y)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        updates, moments = adam(rate).update(grads, moments, params)
    return (optax.apply_updates(params, updates), moments), loss


step = jax.jit(_step, static_argnums=0, donate_argnums=1)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def epoch(hidden: int, trained: Trained, rate: Array, x_SBTF: Array, y_SB1: Array) -> tuple[Trained, Array]:
    trained, loss_S = lax.scan(lambda t, xy: _step(hidden, t, rate, *xy), trained, (x_SBTF, y_SB1))
    return trained, jnp.mean(loss_S)


def train(form: str, told: dict[str, Any]) -> dict[str, Any]:
    """Each member in turn."""
    seconds, losses = 0.0, []
    x_SBTF, y_SB1, arrays = batches(told["data"], told["batch"])
    each = list(zip(x_SBTF, y_SB1, strict=True)) if form == "step" else []
    for member, of_member in told["members"]:
        params, rate, loss = weights(arrays, member), jnp.asarray(of_member, float), jnp.zeros(())
        trained = jax.block_until_ready((params, adam(rate).init(params)))
        began = time.perf_counter()
        for _ in range(told["epochs"]):
            if form == "step":
                parts = []
                for x, y in each:
                    trained, loss = step(told["hidden"], trained, rate, x, y)
                    parts.append(loss)
                loss = jnp.mean(jnp.stack(parts))
            else:
                trained, loss = epoch(told["hidden"], trained, rate, x_SBTF, y_SB1)
        losses.append(float(loss))
        jax.block_until_ready(trained)
        seconds += time.perf_counter() - began
    return {"seconds": seconds, "loss": losses}


def main() -> None:
    from peers_loop import serve  # beside this file; keeps the process to its cores, before JAX is used  # pyright: ignore[reportMissingImports]

    serve({"version": f"jax {jax.__version__}"}, functools.partial(train, sys.argv[1]))


if __name__ == "__main__":
    main()
