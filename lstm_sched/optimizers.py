"""Keras' forms of its optimizers and of clipping as optax transformations, and the optimizers offered by name.

Keras 3 adds epsilon to the uncorrected √v and has the rate inside the velocity, so no setting of optax's own
adam or sgd is the same. On TensorFlow its `cast` rounds a Python number to float32 whatever the dtype of the
weights. This affects the powers of β, SGD's momentum, Lion's β and the weight decay, but not RMSprop's
numbers, and only float64 shows it. The state is always optax's own, so that a policy finds its moments.
Source: keras/src/optimizers/adam.py, base_optimizer.py, lion.py, rmsprop.py and sgd.py, version 3.15.
"""

import functools
from collections import defaultdict
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

Factory = Callable[[Any], optax.GradientTransformation]  # of a learning rate, which may be traced

# ---- Keras' update rules


def keras_adam(
    learning_rate: Any, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-7
) -> optax.GradientTransformation:
    """Keras' Adam: p −= rate·√(1−β2^t)/(1−β1^t) · m/(√v + eps).

    Args:
        learning_rate: a number, or traced.
        b1, b2: decay of the first and the second moment.
        eps: added to √v, which is not corrected for its bias.

    Returns:
        An optax transformation whose state is an `optax.ScaleByAdamState`.
    """

    def init(params):
        zeros = optax.tree.zeros_like(params)
        return optax.ScaleByAdamState(count=jnp.zeros((), jnp.int32), mu=zeros, nu=zeros)

    def update(updates, state, params=None):
        del params
        count = optax.safe_increment(state.count)
        mu = jax.tree.map(lambda m, g: m + (g - m) * (1 - b1), state.mu, updates)
        nu = jax.tree.map(lambda v, g: v + (g * g - v) * (1 - b2), state.nu, updates)

        def of_leaf(m, v):
            power1, power2 = (
                jnp.asarray(_single(b), m.dtype) ** jnp.asarray(count, m.dtype) for b in (b1, b2)
            )
            alpha = jnp.asarray(learning_rate, m.dtype) * jnp.sqrt(1 - power2) / (1 - power1)
            return -m * alpha / (jnp.sqrt(v) + eps)

        return jax.tree.map(of_leaf, mu, nu), optax.ScaleByAdamState(count, mu, nu)

    return optax.GradientTransformation(init, update)


def keras_adamw(
    learning_rate: Any, weight_decay: float = 0.004, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-7
) -> optax.GradientTransformation:
    """Keras' AdamW: p −= rate·decay·p on every weight, biases included, then `keras_adam`."""
    decay = optax.add_decayed_weights(-_single(weight_decay) * learning_rate)
    return optax.chain(keras_adam(learning_rate, b1, b2, eps), decay)


def keras_sgd(
    learning_rate: Any, momentum: float = 0.0, nesterov: bool = False
) -> optax.GradientTransformation:
    """Keras' SGD: velocity = momentum·velocity − rate·g, then p += velocity.

    Under Nesterov p += momentum·velocity − rate·g. Without momentum it has no state.
    """
    scale = optax.scale_by_learning_rate(learning_rate)
    if momentum == 0:
        return scale
    return optax.chain(scale, optax.trace(decay=_single(momentum), nesterov=nesterov))


def keras_rmsprop(
    learning_rate: Any, rho: float = 0.9, momentum: float = 0.0, eps: float = 1e-7, centered: bool = False
) -> optax.GradientTransformation:
    """Keras' RMSprop: p −= rate·g/√(v + eps), where v has the square of the mean g subtracted if `centered`."""
    scale_by = optax.scale_by_stddev if centered else optax.scale_by_rms
    scale = optax.chain(scale_by(rho, eps, eps_in_sqrt=True), optax.scale_by_learning_rate(learning_rate))
    return scale if momentum == 0 else optax.chain(scale, optax.trace(momentum))


def keras_lion(learning_rate: Any, b1: float = 0.9, b2: float = 0.99) -> optax.GradientTransformation:
    """Keras' Lion: optax's without its weight decay."""
    return optax.lion(learning_rate, _single(b1), _single(b2), weight_decay=0.0)


def _single(number: float) -> float:
    return float(np.float32(number))


# ---- factories made of factories


def _leaf(path: tuple) -> Hashable:
    return path


@functools.cache  # one factory per set of arguments, so that the learner and its compiled program are reused
def clipped(
    factory: Factory,
    *,
    clipnorm: float | None = None,
    global_clipnorm: float | None = None,
    clipvalue: float | None = None,
    variable_of: Callable[[tuple], Hashable] = _leaf,
) -> Factory:
    """Clip the gradients that an optimizer sees, as Keras' argument of the same name does; weight decay is not clipped.

    Args:
        factory: makes the optimizer from a learning rate.
        clipnorm: the largest norm of each variable's gradient.
        global_clipnorm: the largest norm of all gradients together.
        clipvalue: the largest absolute value of each number.
        variable_of: the variable to which the leaf at a path belongs, for `clipnorm`. By default every leaf is one, but
            Keras has one kernel, recurrent kernel and bias per LSTM layer: use `lstm_sched.variable_of`.

    Returns:
        A factory of the optimizer with clipping.

    Raises:
        ValueError: not exactly one limit is given, or it is not more than 0 (Keras takes 0 for no clipping).
    """
    limits = {"clipnorm": clipnorm, "global_clipnorm": global_clipnorm, "clipvalue": clipvalue}
    given = {name: limit for name, limit in limits.items() if limit is not None}
    if len(given) != 1:
        raise ValueError(f"clipped: {given}; allowed: exactly one of {', '.join(limits)}")
    [(name, limit)] = given.items()
    if not limit > 0:
        raise ValueError(f"{name}: {limit}; allowed: more than 0")
    if name == "clipvalue":
        clip = optax.clip(limit)
    else:
        clip = _clip_norm(limit, variable_of if name == "clipnorm" else lambda path: None)
    return lambda learning_rate: optax.chain(clip, factory(learning_rate))


def _clip_norm(limit: float, group_of: Callable[[tuple], Hashable]) -> optax.GradientTransformation:
    """Scale the gradient of each group of leaves down to this norm; smaller ones keep every bit."""

    def update(updates, state, params=None):
        del params
        squares: dict[Hashable, Any] = defaultdict(float)
        for path, g in jax.tree_util.tree_leaves_with_path(updates):
            squares[group_of(path)] += jnp.sum(g * g)

        def scaled(path, g):  # the root of 1 or more: differentiable where the gradient is 0, too
            return g / jnp.sqrt(jnp.maximum(squares[group_of(path)] / limit**2, 1))

        return jax.tree_util.tree_map_with_path(scaled, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


class ReinitV(NamedTuple):
    """The optimizer's own state, and whether it is fresh: not updated since it was made."""

    inner: Any
    fresh: Any


@functools.cache  # as above
def reinit_v_from_gradient(factory: Factory) -> Factory:
    """Let v, after a boundary that drops it, begin with the square of the next gradient, not with 0.

    A policy asks for it by dropping `nu` and `other` but keeping `count` (`V_FROM_GRADIENT`), since `fresh`
    belongs to `Moments.other`. With count 0 nothing changes, as bias correction then has the same effect.

    Args:
        factory: makes an optimizer with one `count` and one `nu`, as every Adam has, from a learning rate.

    Returns:
        A factory of that optimizer.
    """

    def make(learning_rate: Any) -> optax.GradientTransformation:
        optimizer = factory(learning_rate)

        def init(params):
            return ReinitV(optimizer.init(params), jnp.ones((), bool))

        def update(updates, state, params=None):
            begins = state.fresh & (optax.tree.get(state.inner, "count") > 0)
            nu = jax.tree.map(
                lambda v, g: jnp.where(begins, g * g, v), optax.tree.get(state.inner, "nu"), updates
            )
            updates, inner = optimizer.update(updates, optax.tree.set(state.inner, nu=nu), params)
            return updates, ReinitV(inner, jnp.zeros((), bool))

        return optax.GradientTransformation(init, update)

    return make


# ---- by name: factories of a learning rate, with Keras' and optax's own defaults for everything else

OPTIMIZERS: dict[str, Factory] = {
    "keras_adam": keras_adam,
    "keras_adam_reinit_v": reinit_v_from_gradient(keras_adam),
    "keras_adamw": keras_adamw,
    "keras_lion": keras_lion,
    "keras_momentum": partial(keras_sgd, momentum=0.9),
    "keras_nesterov": partial(keras_sgd, momentum=0.9, nesterov=True),
    "keras_rmsprop": keras_rmsprop,
    "keras_sgd": keras_sgd,
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
DECAYING = ("keras_adamw", "adamw", "lamb", "lion")  # those whose weight decay can be chosen


@functools.cache  # as above
def by_name(name: str, weight_decay: float | None = None) -> Factory:
    """Look up an optimizer.

    Args:
        name: a name in OPTIMIZERS.
        weight_decay: replaces the optimizer's default; None keeps that.

    Returns:
        A factory of the optimizer from a learning rate.

    Raises:
        ValueError: the weight decay is negative or not finite, or the optimizer has none.
    """
    if weight_decay is None:
        return OPTIMIZERS[name]
    if name not in DECAYING:
        raise ValueError(f"weight_decay: {weight_decay}; {name} has none, allowed with {', '.join(DECAYING)}")
    if not 0 <= weight_decay < np.inf:
        raise ValueError(f"weight_decay: {weight_decay}; allowed: 0 or more, finite")
    decaying: Any = OPTIMIZERS[name]
    return partial(decaying, weight_decay=weight_decay)
