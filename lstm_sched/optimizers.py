"""Keras' forms of its optimizers as optax transformations, and the optimizers offered by name.

Keras 3 puts epsilon beside the uncorrected √v and the rate inside the velocity, so that no setting of optax's own adam
or sgd is the same. Its powers of β and its momentum are rounded to float32 whatever the dtype of the weights.
Source: keras/src/optimizers/adam.py and sgd.py, version 3.15.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax


def keras_adam(
    learning_rate: Any, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-7
) -> optax.GradientTransformation:
    """p −= rate·√(1−β2^t)/(1−β1^t) · m/(√v + eps). State: `optax.ScaleByAdamState`."""

    def init(params):
        zeros = optax.tree.zeros_like(params)
        return optax.ScaleByAdamState(count=jnp.zeros((), jnp.int32), mu=zeros, nu=zeros)

    def update(updates, state, params=None):
        del params
        count = optax.safe_increment(state.count)
        mu = jax.tree.map(lambda m, g: m + (g - m) * (1 - b1), state.mu, updates)
        nu = jax.tree.map(lambda v, g: v + (g * g - v) * (1 - b2), state.nu, updates)

        def one(m, v):
            power1, power2 = (
                jnp.asarray(np.float32(b), m.dtype) ** jnp.asarray(count, m.dtype) for b in (b1, b2)
            )
            alpha = jnp.asarray(learning_rate, m.dtype) * jnp.sqrt(1 - power2) / (1 - power1)
            return -m * alpha / (jnp.sqrt(v) + eps)

        return jax.tree.map(one, mu, nu), optax.ScaleByAdamState(count, mu, nu)

    return optax.GradientTransformation(init, update)


def keras_sgd(learning_rate: Any, momentum: float = 0.0) -> optax.GradientTransformation:
    """velocity = momentum·velocity − rate·g; p += velocity. Without momentum it has no state."""
    scale = optax.scale_by_learning_rate(learning_rate)
    if momentum == 0:
        return scale
    return optax.chain(scale, optax.trace(decay=float(np.float32(momentum))))


# Each is a factory of a learning rate; Keras' and optax's own defaults for everything else.
OPTIMIZERS: dict[str, Callable[[Any], optax.GradientTransformation]] = {
    "keras_adam": keras_adam,
    "keras_sgd": keras_sgd,
    "keras_momentum": partial(keras_sgd, momentum=0.9),
    "adam": optax.adam,
    "adamw": optax.adamw,
    "adamax": optax.adamax,
    "adabelief": optax.adabelief,
    "amsgrad": optax.amsgrad,
    "lamb": optax.lamb,
    "lion": optax.lion,
    "nadam": optax.nadam,
    "radam": optax.radam,
    "rmsprop": optax.rmsprop,
    "sgd": optax.sgd,
    "momentum": partial(optax.sgd, momentum=0.9),
    "yogi": optax.yogi,
}
