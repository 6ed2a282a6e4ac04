"""Streams of permutations: the order in which an epoch takes the samples.

Letters: N samples, S sequences that are composed.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike


class Order(NamedTuple):
    """A stream of permutations: `begin(key) -> order`, `draw(order, size) -> (order, index_N)`."""

    begin: Callable[[Array], Any]
    draw: Callable[[Any, int], tuple[Any, Array]]


def _shuffle(order: Array, size: int) -> tuple[Array, Array]:
    order, key = jax.random.split(order)
    return order, jax.random.permutation(key, size)


SHUFFLED = Order(begin=lambda key: key, draw=_shuffle)  # anew for each pass
# Its first order, for ever.
FIXED = Order(begin=lambda key: key, draw=lambda key, size: (key, _shuffle(key, size)[1]))
SEQUENTIAL = Order(begin=lambda key: (), draw=lambda order, size: (order, jnp.arange(size)))


def _pick(order: Array, size: int) -> tuple[Array, Array]:
    order, key = jax.random.split(order)
    return order, jax.random.randint(key, (size,), 0, size)


# With replacement: a pass has some samples twice, some never.
REPLACED = Order(begin=lambda key: key, draw=_pick)


class Composed(NamedTuple):
    """The stream of a composed order: its key, and the permutation that the next one shuffles."""

    key: Array
    index_N: Array


@functools.cache  # the same size is the same order, and so the same learner and compiled program
def composed(size: int) -> Order:
    """scikit-learn's order of `size` samples: each pass shuffles the permutation before it; the first, the identity."""

    def draw(order: Composed, asked: int) -> tuple[Composed, Array]:
        if asked != size:
            raise ValueError(f"composed: an order of {size} samples; allowed: {asked}, as the data have")
        key, shuffle = _shuffle(order.key, size)
        index_N = order.index_N[shuffle]
        return Composed(key, index_N), index_N

    return Order(begin=lambda key: Composed(key, jnp.arange(size)), draw=draw)


def given(index_EN: ArrayLike) -> Order:
    """Row e is the order of the stream's epoch e; the rows are gone through again after the last."""

    def draw(order: Array, size: int) -> tuple[Array, Array]:
        rows_EN = jnp.asarray(index_EN)
        return order + 1, rows_EN[order % rows_EN.shape[0], :size]

    return Order(begin=lambda key: jnp.zeros((), jnp.int32), draw=draw)
