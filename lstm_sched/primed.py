"""v re-initialised: taken from the square of the first gradient after a boundary that dropped it."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class Primed(NamedTuple):
    """The inner state, and whether it was made anew since its last update."""

    inner: Any
    fresh: Any


@functools.cache  # the same argument is the same factory, and so the same learner and compiled program
def primed(
    factory: Callable[[Any], optax.GradientTransformation],
) -> Callable[[Any], optax.GradientTransformation]:
    """A factory whose optimizer, when v is dropped and its count kept, begins v with g² in place of 0.

    A fresh state has `fresh` True, which belongs to `Moments.other`: a policy that drops nu and other, but not count,
    asks for it (`V_FROM_GRADIENT`). With count 0 bias correction does as much, and nothing is changed. The factory's
    optimizer must have one `count` and one `nu`, as every Adam has.
    """

    def make(learning_rate: Any) -> optax.GradientTransformation:
        optimizer = factory(learning_rate)

        def init(params):
            return Primed(optimizer.init(params), jnp.ones((), bool))

        def update(updates, state, params=None):
            begins = state.fresh & (optax.tree.get(state.inner, "count") > 0)
            nu = jax.tree.map(
                lambda v, g: jnp.where(begins, g * g, v), optax.tree.get(state.inner, "nu"), updates
            )
            updates, inner = optimizer.update(updates, optax.tree.set(state.inner, nu=nu), params)
            return updates, Primed(inner, jnp.zeros((), bool))

        return optax.GradientTransformation(init, update)

    return make
