"""The static part of a run: how weights are drawn, the loss, the optimizer, the order of the data, and sizes.

Letters: B batch, T time, F features, O outputs.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import optax
from jax import Array

from lstm_sched.orders import SHUFFLED, Order

Params = Any


class Learner(NamedTuple):
    """Pure functions and sizes that a compiled run is made of.

    Attributes:
        init: key -> params.
        loss: (params, carry, x_BTF, y_BO, key or None) -> (loss_B, carry). Without a key there is no dropout.
        optimizer: learning rate -> optax transformation. Each step builds it, so it has no clock of its own.
        order: the stream of permutations, one for each pass over the data.
        batch: samples per step; the last batch of a pass may be smaller.
        drop_last: whether a smaller last batch is left out.
        dropout: whether `loss` gets a key in training.
        noise: whether noise is added to inputs and gradients (`Hyper.noise`).
        steps: Keras' `steps_per_epoch`; the next epoch continues the pass. None for a whole pass.
        accumulate: batches whose mean gradient makes one update.
        averaged: whether an exponential average of the weights is kept (`Hyper.average`).
        watched: whether there are per-epoch rules (`Hyper.watch`).
        carry: (params, batch) -> recurrent state before the first batch; None if batches carry no state.
        divided: whether each batch is divided over devices (`data_parallel`); set by a population's layout.
    """

    init: Callable[[Array], Params]
    loss: Callable[[Params, Any, Array, Array, Array | None], tuple[Array, Any]]
    optimizer: Callable[[Any], optax.GradientTransformation]
    order: Order = SHUFFLED
    batch: int = 32
    drop_last: bool = False
    dropout: bool = False
    noise: bool = False
    steps: int | None = None
    accumulate: int = 1
    averaged: bool = False
    watched: bool = False
    carry: Callable[[Params, int], Any] | None = None
    divided: bool = False


def batches_per_pass(learner: Learner, size: int) -> int:
    """Batches in one pass over `size` samples. Raises as `steps_per_epoch` does."""
    if learner.carry and learner.batch > 0 and size % learner.batch:
        raise ValueError(
            f"batch: {learner.batch}; allowed where a state is carried: a divisor of {size}, the number of samples"
        )
    if not 1 <= learner.batch <= size:
        raise ValueError(f"batch: {learner.batch}; allowed: 1 to {size}, the number of training windows")
    return size // learner.batch if learner.drop_last else -(-size // learner.batch)


def steps_per_epoch(learner: Learner, size: int) -> int:
    """The largest number of steps in an epoch. An epoch ends with its pass, as in Keras, and may have fewer.

    Args:
        learner: its `batch`, `drop_last` and `steps` are read.
        size: the number of training samples.

    Returns:
        The number of steps; a table of learning rates has that many per epoch.

    Raises:
        ValueError: the samples do not make up one batch, or would leave a lane of a carried state empty.
    """
    whole = batches_per_pass(learner, size)
    return whole if learner.steps is None else min(learner.steps, whole)


def transform(learner: Learner, rate: Any) -> optax.GradientTransformation:
    """The optimizer of a step with this learning rate, over the mean of `accumulate` gradients.

    Gradients are summed and then scaled, as in Keras, since optax's running mean may be rounded
    differently in each program.
    """
    if learner.accumulate == 1:
        return learner.optimizer(rate)
    inner = optax.chain(optax.scale(1 / learner.accumulate), learner.optimizer(rate))
    steps = optax.MultiSteps(inner, learner.accumulate, use_grad_mean=False, accumulator_dtype=float)
    return steps.gradient_transformation()
