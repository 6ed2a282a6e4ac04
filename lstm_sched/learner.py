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
from jax.typing import ArrayLike

from lstm_sched import cell, layer
from lstm_sched.names import check_name

Params = Any


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


class Learner(NamedTuple):
    """Pure functions and sizes that a compiled run is made of.

    init       key -> params
    loss       (params, carry, x_BTF, y_BO, key or None) -> (loss_B, carry); no key, no noise
    optimizer  learning rate -> optax transformation; built inside each step, so that it holds no clock of its own
    order      the stream of permutations, one a pass over the data
    batch      samples a step; the last batch of a pass is partial, unless drop_last
    noisy      whether loss wants a key in training (dropout)
    jitter     whether noise is added to inputs and gradients (Hyper.jitter)
    steps      steps in an epoch, Keras' `steps_per_epoch`: the next epoch goes on where it ended; None for a whole pass
    accumulate batches whose mean gradient makes one update
    averaged   whether an exponential average of the weights is kept (Hyper.average)
    watched    whether there are per-epoch rules (Hyper.watch)
    carry      (params, batch) -> recurrent state before the first batch, when it is carried from batch to batch
    divided    whether each batch is divided over devices (divided.py); set by a population's layout
    """

    init: Callable[[Array], Params]
    loss: Callable[[Params, Any, Array, Array, Array | None], tuple[Array, Any]]
    optimizer: Callable[[Any], optax.GradientTransformation]
    order: Order = SHUFFLED
    batch: int = 32
    drop_last: bool = False
    noisy: bool = False
    jitter: bool = False
    steps: int | None = None
    accumulate: int = 1
    averaged: bool = False
    watched: bool = False
    carry: Callable[[Params, int], Any] | None = None
    divided: bool = False


def passes(learner: Learner, size: int) -> int:
    """Batches in one pass over `size` samples. ValueError where they do not make up one, or leave a lane empty."""
    if learner.carry and learner.batch > 0 and size % learner.batch:
        raise ValueError(
            f"batch: {learner.batch}; allowed where a state is carried: a divisor of {size} samples"
        )
    if not 1 <= learner.batch <= size:
        raise ValueError(f"batch: {learner.batch}; allowed: 1 to {size}, the number of training windows")
    return size // learner.batch if learner.drop_last else -(-size // learner.batch)


def transform(learner: Learner, rate: Any) -> optax.GradientTransformation:
    """The optimizer of a step with this rate, over the mean of `accumulate` gradients.

    Gradients are summed, then scaled, as in Keras: optax's running mean is rounded otherwise in another program.
    """
    if learner.accumulate == 1:
        return learner.optimizer(rate)
    inner = optax.chain(optax.scale(1 / learner.accumulate), learner.optimizer(rate))
    steps = optax.MultiSteps(inner, learner.accumulate, use_grad_mean=False, accumulator_dtype=float)
    return steps.gradient_transformation()


def steps_per_epoch(learner: Learner, size: int) -> int:
    """Steps in an epoch over `size` samples, at most: an epoch ends with its pass, as in Keras."""
    whole = passes(learner, size)
    return whole if learner.steps is None else min(learner.steps, whole)


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
    jitter: bool = False,
    steps: int | None = None,
    accumulate: int = 1,
    averaged: bool = False,
    watched: bool = False,
    stateful: bool = False,
    form: str = "fused",
) -> Learner:
    """An LSTM forecaster: `layers` × `hidden` units, then a dense head. Keywords as in `cell.init`, `cell.loss` and
    `Learner`; `stateful` carries each lane's state from batch to batch, for which the order must be SEQUENTIAL;
    `form` is one of `layer.LAYERS`: `recomputed` keeps less memory, `scan` has forward mode, `cudnn` is for a GPU."""
    for name, count in (("steps", steps), ("accumulate", accumulate)):
        if count is not None and count < 1:
            raise ValueError(f"{name}: {count}; allowed: 1 and more")
    if stateful and order is not SEQUENTIAL:
        raise ValueError("stateful: a state is carried from batch to batch only in the order SEQUENTIAL")
    cell.check(
        features=features,
        hidden=hidden,
        layers=layers,
        outputs=outputs,
        dropout=dropout,
        init=init,
        loss=loss,
    )
    check_name("form", form, layer.LAYERS)
    return Learner(
        init=functools.partial(
            cell.init, features=features, hidden=hidden, layers=layers, outputs=outputs, scheme=init
        ),
        loss=functools.partial(cell.loss, kind=loss, dropout=dropout, layer=layer.LAYERS[form]),
        optimizer=optimizer,
        order=order,
        batch=batch,
        drop_last=drop_last,
        noisy=dropout > 0,
        jitter=jitter,
        steps=steps,
        accumulate=accumulate,
        averaged=averaged,
        watched=watched,
        carry=cell.rest if stateful else None,
    )
