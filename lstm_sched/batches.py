"""Batches: the samples that each step of an epoch takes.

Letters: B batch, S steps, N samples.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from lstm_sched.learner import Learner, batches_per_pass, steps_per_epoch
from lstm_sched.state import Position, TrainState


class Batch(NamedTuple):
    """The samples of a batch and their weights, which are 0 where the last batch of a pass is filled up."""

    index_B: Array
    weight_B: Array


def cut(learner: Learner, index_N: Array, steps: int) -> Batch:
    """Cut index_N into a Batch of [S, B]; a last, partial batch is filled up with weight 0."""
    size = min(index_N.shape[0], steps * learner.batch)
    fill = steps * learner.batch - size
    index = jnp.pad(index_N[:size], (0, fill)).reshape(steps, learner.batch)
    weight = jnp.asarray(jnp.arange(size + fill) < size, float).reshape(steps, learner.batch)
    return Batch(index, weight)


def upcoming(learner: Learner, size: int, state: TrainState) -> tuple[TrainState, Batch]:
    """Draw the batches of the next epoch: a new pass, or `learner.steps` more steps of the pass that is under way.

    Args:
        learner: gives the order and the sizes.
        size: the number of training samples.
        state: gives the stream, and the place in its pass where epochs are shorter than the data.

    Returns:
        The state with its stream moved on, and a Batch of [S, B]. Batches beyond the pass have weight 0,
        since an epoch ends with its pass.
    """
    whole = batches_per_pass(learner, size)
    if learner.steps is None:
        order, index_N = learner.order.draw(state.order, size)
        return state._replace(order=order), cut(learner, index_N, whole)
    place, order_of_pass = state.position
    if_new_pass = partial(jnp.where, place == 0)
    stream = jax.tree.map(if_new_pass, state.order, order_of_pass)
    order, index_N = learner.order.draw(stream, size)
    row_S = place + jnp.arange(steps_per_epoch(learner, size), dtype=jnp.int32)
    batches = jax.tree.map(lambda a: a[jnp.minimum(row_S, whole - 1)], cut(learner, index_N, whole))
    live_S1 = jnp.asarray(row_S < whole, float)[:, None]
    end = row_S[-1] + 1
    state = state._replace(
        order=jax.tree.map(if_new_pass, order, state.order),
        position=Position(jnp.where(end < whole, end, 0), stream),
    )
    return state, batches._replace(weight_B=batches.weight_B * live_S1)
