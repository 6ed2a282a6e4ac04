"""Noise on inputs and gradients. Its scale and how often it is drawn are data, in which members may differ.

Letters: B batch, T time, F features.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from lstm_sched._names import check_name

DRAWN = {"once": 0, "epoch": 1, "step": 2}  # how often, as a number that can be traced


class Gaussian(NamedTuple):
    """Gaussian noise of standard deviation `scale`, drawn once per run, epoch or step (a value of DRAWN)."""

    scale: Any
    drawn: Any


class Noise(NamedTuple):
    """The noise of one member.

    Attributes:
        inputs: each draw has one value per entry of each sample. Drawn once, it amounts to another data set.
        grads: each draw has one value per weight. Drawn once, it amounts to a constant force.
    """

    inputs: Gaussian
    grads: Gaussian


class NoiseKeys(NamedTuple):
    """Random keys of a step, one stream for each source of noise. Those not in use are `()`."""

    dropout: Any
    inputs: Any
    grads: Any


def gaussian_noise(scale: float = 0.0, drawn: str = "step") -> Gaussian:
    """Make a noise.

    Args:
        scale: its standard deviation, in units of the standardised inputs or of the gradient; 0 is no noise.
        drawn: how often it is drawn: "once" per run, per "epoch" or per "step".

    Returns:
        The noise, for the inputs or the gradients of a `Noise`.

    Raises:
        ValueError: `scale` is negative or not finite, or `drawn` is another word.
    """
    check_name("drawn", drawn, DRAWN)
    if not (math.isfinite(scale) and scale >= 0):
        raise ValueError(f"scale: {scale}; allowed: finite and 0 or more")
    return Gaussian(jnp.asarray(scale, float), jnp.asarray(DRAWN[drawn], jnp.int32))


def begin(key: Array, dropout: bool, noise: bool) -> Any:
    """The NoiseKeys at the beginning of a run; `()` if none is in use."""
    if not dropout and not noise:
        return ()
    keys = jax.random.split(key, 3)
    return NoiseKeys(keys[0] if dropout else (), *((keys[1], keys[2]) if noise else ((), ())))


def advance(noise: Noise, keys: NoiseKeys, drawn: str) -> NoiseKeys:
    """Move on the keys of noise that is drawn so often, as an epoch or a step (`drawn`) begins."""

    def moved(noise: Gaussian, key: Array) -> Array:
        return jnp.where(noise.drawn == DRAWN[drawn], jax.random.split(key)[0], key)

    return keys._replace(inputs=moved(noise.inputs, keys.inputs), grads=moved(noise.grads, keys.grads))


def on_inputs(noise: Gaussian, key: Array, index_B: ArrayLike, x_BTF: Array) -> Array:
    """Add to each sample its part of the draw, which is the same whatever batch the sample is in."""
    return jax.vmap(lambda i, x_TF: _add(noise, x_TF, jax.random.fold_in(key, i)))(
        jnp.asarray(index_B), x_BTF
    )


def on_grads(noise: Gaussian, key: Array, grads: Any) -> Any:
    """Add the draw to the gradient."""
    leaves, tree = jax.tree.flatten(grads)
    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(tree, [_add(noise, *pair) for pair in zip(leaves, keys, strict=True)])


def _add(noise: Gaussian, value: Array, key: Array) -> Array:
    """Add a draw to a value; with scale 0 the value keeps every bit."""
    drawn = jax.random.normal(key, value.shape, value.dtype)
    return jnp.where(noise.scale > 0, value + jnp.asarray(noise.scale, value.dtype) * drawn, value)
