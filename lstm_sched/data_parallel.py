"""One training on several devices: each computes the gradient of its shard of a batch, and their sum makes the update.

Everything else is the same on all devices, to the last bit. The result differs from that of one device by
rounding, since sums are taken in another order, and by the draws of dropout masks. The functions do what
JAX's of the same names do if the learner is divided, and nothing otherwise.
Letters: B batch, S batches.
"""

from typing import Any

import jax
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from lstm_sched.batches import Batch
from lstm_sched.learner import Learner

AXIS = "device"  # the axis of the mesh; only functions mapped over it may use a divided learner


def divide(learner: Learner, devices: int) -> Learner:
    """Mark a learner as divided. Raises ValueError if the devices cannot share its batches evenly."""
    if learner.carry:
        raise ValueError("divided: True; allowed: False, since a state is carried from batch to batch")
    if learner.batch % devices:
        raise ValueError(
            f"batch: {learner.batch}; allowed: a multiple of {devices}, the devices that divide it"
        )
    return learner._replace(divided=True)


def shard(learner: Learner, batch: Batch) -> Batch:
    """This device's part of a batch, or of [S, B] batches; all of it if it cannot be shared evenly."""
    size = batch.index_B.shape[-1]
    if not learner.divided or size % lax.axis_size(AXIS):
        return batch
    part = size // lax.axis_size(AXIS)
    return jax.tree.map(
        lambda a: lax.dynamic_slice_in_dim(a, lax.axis_index(AXIS) * part, part, axis=-1), batch
    )


def all_gather(loss_SB: Array, size: int) -> Array:
    """The losses of whole batches of this size, from those of this device's shards."""
    if loss_SB.shape[-1] == size:
        return loss_SB
    return lax.all_gather(loss_SB, AXIS, axis=1, tiled=True)


def fold_in(learner: Learner, key: Array) -> Array:
    """A key for the dropout of this device's samples."""
    return jax.random.fold_in(key, lax.axis_index(AXIS)) if learner.divided else key


def psum(learner: Learner, tree: Any) -> Any:
    """The sum over devices, taken as one array: on a CPU each sum takes about 80 µs, however small it is."""
    if not learner.divided:
        return tree
    with jax.numpy_dtype_promotion("standard"):
        flat, unravel = ravel_pytree(tree)
    return unravel(lax.psum(flat, AXIS))
