"""The peers that JAX compiles: a compiled function per step (`step`), or per epoch, whose batches it scans (`epoch`);
optax's Adam, and all data on the device beforehand.

Letters: S steps, B batch, T time steps, F features.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

Arrays = dict[str, np.ndarray]
Loss = Callable[[Any, Array, Array], Array]  # (weights, x_BTF, y_B1) -> mean squared error
Trained = tuple[Any, Any]  # weights, moments


@functools.cache
def batches(path: str, batch: int) -> tuple[Array, Array, Arrays]:
    """x_SBTF and y_SB1, and all arrays."""
    arrays = dict(np.load(path))
    x, y = (jnp.asarray(arrays[name].reshape(-1, batch, *arrays[name].shape[1:])) for name in ("X", "y"))
    return x, y, arrays


@functools.cache
def pairs(path: str, batch: int) -> list[tuple[Array, Array]]:
    """The same, one pair per step."""
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


def functions(weights: Callable[[Arrays, int], Any], loss_of: Loss, form: str) -> tuple[Any, Any, Any, Any]:
    """network, optimizer, fit and begin of loop_peer.train, where an optimizer is moments and a learning rate."""

    def network(task: dict[str, Any], member: int) -> Any:
        return weights(batches(task["data"], task["batch"])[2], member)

    def optimizer(params: Any, rate: float) -> tuple[Any, Array]:
        return adam(rate).init(params), jnp.asarray(rate, float)

    def fit(
        task: dict[str, Any], params: Any, rule: tuple[Any, Array], epochs: int
    ) -> tuple[Any, Any, float]:
        (moments, rate), loss = rule, jnp.zeros(())
        trained = params, moments
        x_SBTF, y_SB1, _ = batches(task["data"], task["batch"])
        for _ in range(epochs):
            if form == "step":
                losses = []
                for x, y in pairs(task["data"], task["batch"]):
                    trained, batch_loss = step(loss_of, trained, rate, x, y)
                    losses.append(batch_loss)
                loss = jnp.mean(jnp.stack(losses))
            else:
                trained, loss = epoch(loss_of, trained, rate, x_SBTF, y_SB1)
        params, moments = jax.block_until_ready(trained)
        return params, (moments, rate), float(loss)

    def begin(task: dict[str, Any], member: int, rate: float) -> tuple[Any, Any]:
        params = network(task, member)
        return jax.block_until_ready((params, optimizer(params, rate)))

    return network, optimizer, fit, begin
