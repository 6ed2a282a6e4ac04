"""Streams of permutations: the order in which an epoch takes the samples.

Letters: N samples, E epochs.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike


class Order(NamedTuple):
    """A stream of permutations.

    Attributes:
        begin: key -> the stream's state, which is the component `order` of a `TrainState`.
        draw: (state, size) -> (next state, index_N), the samples of the next pass in order.
    """

    begin: Callable[[Array], Any]
    draw: Callable[[Any, int], tuple[Any, Array]]


def _shuffle(key: Array, size: int) -> tuple[Array, Array]:
    next_key, key = jax.random.split(key)
    return next_key, jax.random.permutation(key, size)


def _pick(key: Array, size: int) -> tuple[Array, Array]:
    next_key, key = jax.random.split(key)
    return next_key, jax.random.randint(key, (size,), 0, size)


SHUFFLED = Order(begin=lambda key: key, draw=_shuffle)  # a new permutation for each pass
# the same permutation for every pass
FIXED = Order(begin=lambda key: key, draw=lambda key, size: (key, _shuffle(key, size)[1]))
SEQUENTIAL = Order(begin=lambda key: (), draw=lambda empty, size: (empty, jnp.arange(size)))
# drawn with replacement, so that a pass has some samples twice and lacks others
REPLACED = Order(begin=lambda key: key, draw=_pick)


class Composed(NamedTuple):
    """The state of a composed order: its key, and the permutation that the next one shuffles."""

    key: Array
    index_N: Array


@functools.cache  # one order per size, so that the learner and its compiled program are reused
def composed(size: int) -> Order:
    """Make scikit-learn's order: each pass shuffles the one before it (at first the identity).

    Args:
        size: the number of training samples.

    Returns:
        The order. It raises ValueError if the data have another number of samples.
    """

    def draw(order: Composed, data_size: int) -> tuple[Composed, Array]:
        if data_size != size:
            raise ValueError(f"composed: an order of {size} samples; allowed: {data_size}, as the data have")
        key, shuffle = _shuffle(order.key, size)
        index_N = order.index_N[shuffle]
        return Composed(key, index_N), index_N

    return Order(begin=lambda key: Composed(key, jnp.arange(size)), draw=draw)


def given(index_EN: ArrayLike) -> Order:
    """Make an order from a table.

    Args:
        index_EN: row e lists the samples of pass e in order; after the last row the first one follows again.

    Returns:
        The order.
    """

    def draw(row: Array, size: int) -> tuple[Array, Array]:
        rows_EN = jnp.asarray(index_EN)
        return row + 1, rows_EN[row % rows_EN.shape[0], :size]

    return Order(begin=lambda key: jnp.zeros((), jnp.int32), draw=draw)
