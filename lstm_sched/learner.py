"""What is static in a run: how weights are drawn, what is minimised, how updates are made, in what order data come.

Letters: B batch, T time, F features, O outputs, N samples, E epochs.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from lstm_sched import cell

Params = Any


class Order(NamedTuple):
    """A stream of permutations: `begin(key) -> order`, `draw(order, size) -> (order, index_N)`."""

    begin: Callable[[Array], Any]
    draw: Callable[[Any, int], tuple[Any, Array]]


def _shuffle(order: Array, size: int) -> tuple[Array, Array]:
    order, key = jax.random.split(order)
    return order, jax.random.permutation(key, size)


SHUFFLED = Order(begin=lambda key: key, draw=_shuffle)


def given(index_EN: Array) -> Order:
    """Row e is the order of the stream's epoch e; the rows are gone through again after the last."""

    def draw(order: Array, size: int) -> tuple[Array, Array]:
        return order + 1, index_EN[order % index_EN.shape[0], :size]

    return Order(begin=lambda key: jnp.zeros((), jnp.int32), draw=draw)


class Learner(NamedTuple):
    """Pure functions and sizes that a compiled run is made of.

    init       key -> params
    loss       (params, carry, x_BTF, y_BO, key or None) -> (loss_B, carry); no key, no noise
    optimizer  learning rate -> optax transformation; built inside each step, so that it holds no clock of its own
    order      the stream of permutations, one an epoch
    batch      samples a step; the last batch of an epoch is partial, unless drop_last
    noisy      whether loss wants a key in training (dropout)
    """

    init: Callable[[Array], Params]
    loss: Callable[[Params, Any, Array, Array, Array | None], tuple[Array, Any]]
    optimizer: Callable[[Any], optax.GradientTransformation]
    order: Order = SHUFFLED
    batch: int = 32
    drop_last: bool = False
    noisy: bool = False


def steps_per_epoch(learner: Learner, size: int) -> int:
    """Updates in an epoch over `size` samples."""
    if not 1 <= learner.batch <= size:
        raise ValueError(f"batch: {learner.batch}; allowed: 1 to {size}, the number of training windows")
    return size // learner.batch if learner.drop_last else -(-size // learner.batch)


@functools.cache  # the same arguments are the same learner, and so the same compiled program
def lstm(
    optimizer: Callable[[Any], optax.GradientTransformation],
    *,
    features: int = 1,
    hidden: int = 50,
    layers: int = 1,
    outputs: int = 1,
    dropout: float = 0.0,
    init: str = "keras",
    loss: str = "mse",
    batch: int = 32,
    drop_last: bool = False,
    order: Order = SHUFFLED,
) -> Learner:
    """An LSTM forecaster: `layers` × `hidden` units, then a dense head. Keywords as in `cell.init` and `cell.loss`."""
    cell.check(
        features=features,
        hidden=hidden,
        layers=layers,
        outputs=outputs,
        dropout=dropout,
        init=init,
        loss=loss,
    )
    return Learner(
        init=functools.partial(
            cell.init, features=features, hidden=hidden, layers=layers, outputs=outputs, scheme=init
        ),
        loss=functools.partial(cell.loss, kind=loss, dropout=dropout),
        optimizer=optimizer,
        order=order,
        batch=batch,
        drop_last=drop_last,
        noisy=dropout > 0,
    )
