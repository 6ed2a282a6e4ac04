"""The loop of the peers that JAX compiles: each step is a call of a compiled function (`step`), or each epoch, which
scans its batches (`epoch`); optax's Adam, and all data on the device beforehand.

Letters: S steps, B batch, T time steps, F features.
"""

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

Weights = Callable[[dict[str, np.ndarray], int], Any]  # of a member, from all arrays
Loss = Callable[[Any, Array, Array], Array]  # (weights, x_BTF, y_B1) -> mean squared error
Trained = tuple[Any, Any]  # weights, moments


@functools.cache
def batches(path: str, batch: int) -> tuple[Array, Array, dict[str, np.ndarray]]:
    """x_SBTF and y_SB1, and all arrays."""
    told = dict(np.load(path))
    x, y = (jnp.asarray(told[name].reshape(-1, batch, *told[name].shape[1:])) for name in ("X", "y"))
    return x, y, told


@functools.cache
def in_turn(path: str, batch: int) -> list[tuple[Array, Array]]:
    """The same, a pair a step."""
    return list(zip(*batches(path, batch)[:2], strict=True))


def adam(rate: Any) -> optax.GradientTransformation:
    return optax.adam(rate, eps=1e-7)


def _step(loss_of: Loss, trained: Trained, rate: Array, x: Array, y: Array) -> tuple[Trained, Array]:
    params, moments = trained
    loss, grads = jax.value_and_grad(loss_of)(params, x, y)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        updates, moments = adam(rate).update(grads, moments, params)
    return (optax.apply_updates(params, updates), moments), loss


step = jax.jit(_step, static_argnums=0, donate_argnums=1)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def epoch(loss_of: Loss, trained: Trained, rate: Array, x_SBTF: Array, y_SB1: Array) -> tuple[Trained, Array]:
    trained, loss_S = lax.scan(lambda t, xy: _step(loss_of, t, rate, *xy), trained, (x_SBTF, y_SB1))
    return trained, jnp.mean(loss_S)


def fit(
    loss_of: Loss, form: str, trained: Trained, rate: Array, told: dict[str, Any], epochs: int
) -> tuple[Trained, float]:
    """Also the last epoch's loss."""
    x_SBTF, y_SB1, _ = batches(told["data"], told["batch"])
    loss = jnp.zeros(())
    for _ in range(epochs):
        if form == "step":
            parts = []
            for x, y in in_turn(told["data"], told["batch"]):
                trained, one = step(loss_of, trained, rate, x, y)
                parts.append(one)
            loss = jnp.mean(jnp.stack(parts))
        else:
            trained, loss = epoch(loss_of, trained, rate, x_SBTF, y_SB1)
    return jax.block_until_ready(trained), float(loss)


def train(weights: Weights, loss_of: Loss, form: str, told: dict[str, Any]) -> dict[str, Any]:
    """Each member in turn (loop_peer.py)."""
    seconds, losses = 0.0, []
    arrays, whole = batches(told["data"], told["batch"])[2], told["arm"] == "one_call"
    for member, of_member in told["members"]:
        rate = jnp.asarray(of_member, float)
        params = weights(arrays, member)
        moments, loss = jax.block_until_ready(adam(rate).init(params)), float("nan")
        began = time.perf_counter()
        for call in range(1 if whole else told["epochs"]):
            if told["arm"] == "scratch" and call:
                params = weights(arrays, member)
            if told["arm"] in ("recompile", "scratch"):
                moments = adam(rate).init(params)
            epochs = told["epochs"] if whole else 1
            (params, moments), loss = fit(loss_of, form, (params, moments), rate, told, epochs)
        seconds += time.perf_counter() - began
        losses.append(loss)
    return {"seconds": seconds, "loss": losses}
