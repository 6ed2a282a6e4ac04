"""The loss of given weights on a part of the data.

Letters: B batch, S batches, N samples.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from lstm_sched import data_parallel
from lstm_sched.batches import cut
from lstm_sched.data.windows import Part
from lstm_sched.learner import Learner, Params, batches_per_pass


def weighted_mean(loss_N: Array, weight_N: Array, all_N: Array | None = None) -> Array:
    """The weighted mean, kept apart: fused with its surroundings, XLA may round it otherwise in another program.

    Of a part of the samples its share of the mean, where all weights are given too.
    """
    loss_N, weight_N = lax.optimization_barrier((loss_N, weight_N))
    whole = jnp.sum(weight_N if all_N is None else all_N)
    return lax.optimization_barrier(jnp.vdot(weight_N, loss_N) / whole)


def losses(learner: Learner, params: Params, part: Part) -> Array:
    """loss_N of every sample of a part of the data, in batches of the training size, without noise.

    A state that is carried from batch to batch begins at rest. ValueError where the part then leaves a lane empty.
    """
    return losses_and_carry(
        learner, params, part, learner.carry(params, learner.batch) if learner.carry else ()
    )[0]


def losses_and_carry(learner: Learner, params: Params, part: Part, carry: Any) -> tuple[Array, Any]:
    """`losses` of which the first batch begins with `carry`; also the carry after the last."""
    batch = learner.batch if learner.carry else min(learner.batch, part.size)  # as many lanes as in training
    learner = learner._replace(batch=batch, drop_last=False)

    def one(carry, batch):
        x_BTF, y_BO = part.take(batch.index_B)
        loss_B, carry = learner.loss(params, carry, x_BTF, y_BO, None)
        return carry, part.weigh(batch.index_B, loss_B)

    batches = cut(learner, jnp.arange(part.size), batches_per_pass(learner, part.size))
    carry, loss_SB = lax.scan(one, carry, data_parallel.shard(learner, batches))
    return data_parallel.all_gather(loss_SB, batch).ravel()[: part.size], carry


def evaluate(learner: Learner, params: Params, part: Part) -> Array:
    """Mean of `losses`."""
    loss_N = losses(learner, params, part)
    return weighted_mean(loss_N, jnp.ones_like(loss_N))
