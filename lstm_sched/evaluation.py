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


def evaluate(learner: Learner, params: Params, part: Part) -> Array:
    """The mean loss of weights on a part of the data. The arguments are those of `losses`."""
    loss_N = losses(learner, params, part)
    return weighted_mean(loss_N, jnp.ones_like(loss_N))


def losses(learner: Learner, params: Params, part: Part) -> Array:
    """The loss of every sample of a part of the data, without noise and dropout, in batches of the training size.

    A state that is carried from batch to batch begins at zero.

    Args:
        learner: what was trained.
        params: its weights, such as `progress.selected.params`.
        part: `data.train`, `data.val` or `data.test`.

    Returns:
        loss_N, times the samples' weights where they have any, in units of the learner's loss.

    Raises:
        ValueError: the part would leave a lane of a carried state empty.
    """
    carry = learner.carry(params, learner.batch) if learner.carry else ()
    return losses_and_carry(learner, params, part, carry)[0]


def losses_and_carry(learner: Learner, params: Params, part: Part, carry: Any) -> tuple[Array, Any]:
    """`losses` that begin with this carry; also returns the carry after the last batch."""
    batch_size = learner.batch if learner.carry else min(learner.batch, part.size)  # lanes as in training
    learner = learner._replace(batch=batch_size, drop_last=False)

    def of_batch(carry, batch):
        x_BTF, y_BO = part.take(batch.index_B)
        loss_B, carry = learner.loss(params, carry, x_BTF, y_BO, None)
        return carry, part.weigh(batch.index_B, loss_B)

    batches = cut(learner, jnp.arange(part.size), batches_per_pass(learner, part.size))
    carry, loss_SB = lax.scan(of_batch, carry, data_parallel.shard(learner, batches))
    return data_parallel.all_gather(loss_SB, batch_size).ravel()[: part.size], carry


def weighted_mean(loss_N: Array, weight_N: Array, all_weight_N: Array | None = None) -> Array:
    """The weighted mean, behind barriers: fused with other code, it may be rounded otherwise in each program.

    If the samples are those of one device, `all_weight_N` holds the weights of all devices' samples, and the
    result is this device's part of the mean.
    """
    loss_N, weight_N = lax.optimization_barrier((loss_N, weight_N))
    total = jnp.sum(weight_N if all_weight_N is None else all_weight_N)
    return lax.optimization_barrier(jnp.vdot(weight_N, loss_N) / total)
