"""The state of a training: all that changes while training, and what a boundary between two fits does to it.

A restart policy is a `TrainState` too, with keep-fractions in place of arrays: 1 keeps a component, 0 takes
it from a fresh state, and for params, moments and average a value between them interpolates.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from lstm_sched import monitor, noise
from lstm_sched.learner import Learner, Params, transform


class TrainState(NamedTuple):
    """All that changes while training, as one pytree of arrays. A component that a learner does not use is `()`."""

    params: Any  # weights
    moments: Any  # optax state: first and second moments and the count that corrects their bias
    step: Any  # updates so far: the clock of per-step schedules
    epoch: Any  # epochs so far: the clock of per-epoch rules
    order: Any  # stream of permutations
    noise: Any  # streams of dropout and of noise on inputs and gradients
    carry: Any  # recurrent state carried from batch to batch
    average: Any  # running average of the weights
    rate: Any  # factor by which per-epoch rules have multiplied the tabulated learning rate
    position: Any  # place in the epoch's order, where an epoch is shorter than the data
    monitor: Any  # memory of stopping and plateau rules
    best: Any  # weights at the best validation loss, as the framework remembers them


class Moments(NamedTuple):
    """Keep-fractions for the parts of an optimizer's state, which are found by optax's field names (`moment_of`)."""

    mu: Any  # first moments: momentum
    nu: Any  # second moments
    count: Any  # the number of updates that bias correction reads
    other: Any  # all else


class Position(NamedTuple):
    """Where the next epoch continues its pass, if epochs are shorter than the data."""

    place: Any  # batches of the pass that have been taken
    order: Any  # state of the stream from which the pass was drawn


class Origin(NamedTuple):
    """The start of a run, to which a boundary returns what the policy drops.

    Attributes:
        key: the run's random key, from which weights, orders and noise are drawn.
        params: its first weights.
        redraw: whether each boundary draws new weights instead of returning to the first ones. `()` means
            never, and compiles no draw, which saves a quarter of the time. In one population all members have
            a boolean or all have `()`.
        reseed: whether fresh streams differ from boundary to boundary instead of returning to the same key.
    """

    key: Array
    params: Params
    redraw: Any = ()
    reseed: Any = np.bool_(False)


def init_params(learner: Learner, key: Array, number: Any = 0) -> Params:
    """Draw new weights.

    Args:
        learner: the learner that the weights are for.
        key: the key of the run.
        number: the boundary after which they are drawn; 0 is the beginning of the run.

    Returns:
        The weights; each number gives another draw.
    """
    weights_key, _, _ = jax.random.split(key, 3)
    return learner.init(jax.random.fold_in(weights_key, number))


def begin(learner: Learner, key: Array, params: Params, number: Any = 0) -> TrainState:
    """Build the state of a run that has made no step.

    Args:
        learner: what is trained.
        key: the key of the run.
        params: the weights around which the rest is built.
        number: the boundary after which streams of random numbers start; 0 is the beginning of the run.

    Returns:
        The fresh state: clocks at 0, empty moments, streams that depend on `key` and `number` alone.
    """
    _, order_key, noise_key = jax.random.split(key, 3)
    zero = jnp.zeros((), jnp.int32)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        moments = transform(learner, 0.0).init(params)
    order = learner.order.begin(jax.random.fold_in(order_key, number))
    return TrainState(
        params=params,
        moments=moments,
        step=zero,
        epoch=zero,
        order=order,
        noise=noise.begin(jax.random.fold_in(noise_key, number), learner.dropout, learner.noise),
        carry=learner.carry(params, learner.batch) if learner.carry else (),
        average=params if learner.averaged else (),
        rate=jnp.ones((), float) if learner.watched else (),
        position=Position(zero, order) if learner.steps else (),
        monitor=monitor.begin() if learner.watched else (),
        best=params if learner.watched else (),
    )


def restart(
    learner: Learner, policy: TrainState, origin: Origin, state: TrainState, number: Any
) -> TrainState:
    """Apply a boundary: keep the components that the policy keeps, and take the rest from a fresh state.

    The weights come first, fresh ones blended with the old. Then `begin` builds the rest around them, since some
    optimizers read the weights in their `init`, and what the policy keeps is put back bit for bit.

    Args:
        learner: what is trained.
        policy: one keep-fraction per leaf of the state, as `spread` makes it.
        origin: the start of the run.
        state: the state before the boundary.
        number: the number of the boundary, usually the run's clock. Each gives another draw where
            `origin.redraw` or `origin.reseed` is true.

    Returns:
        The state after the boundary.
    """
    fresh_params = origin.params
    if not isinstance(origin.redraw, tuple):
        drawn = partial(init_params, learner, origin.key, number)
        fresh_params = jax.lax.cond(origin.redraw, drawn, lambda: origin.params)
    params = mix(policy.params, state.params, fresh_params)
    fresh = begin(learner, origin.key, params, jnp.where(origin.reseed, number, 0))
    rest = mix(policy._replace(params=()), state._replace(params=()), fresh._replace(params=()))
    return rest._replace(params=params)


def mix(policy: Any, old: Any, fresh: Any) -> Any:
    """Blend two states leaf by leaf: the policy's fraction of `old`, and the rest from `fresh`."""
    return jax.tree.map(_blend, policy, old, fresh)


def _blend(fraction: Array, old: Array, fresh: Array) -> Array:
    """Blend two leaves. Whole leaves are selected, not multiplied by 1 or 0, so that every bit survives."""
    selected = jnp.where(fraction == 0, fresh, old)
    if not jnp.issubdtype(old.dtype, jnp.floating):
        return selected
    part = jnp.asarray(fraction, old.dtype)
    mixed = part * old + (1 - part) * fresh
    return jnp.where((fraction == 0) | (fraction == 1), selected, mixed)
