"""All that changes while training, and what a boundary between two fits does to it.

A restart policy has the type of the state and holds a keep-fraction for each component: 1 keeps it, 0 takes it
from a fresh state, and for params, moments and average a value between interpolates.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from lstm_sched import monitor as mo
from lstm_sched import noise as no
from lstm_sched.learner import Learner, Params, transform


class TrainState(NamedTuple):
    """One pytree of arrays. A component that a configuration does not use is `()`."""

    params: Any  # weights
    moments: Any  # optax state: first and second moments and the count that corrects their bias
    step: Any  # updates so far: the clock of per-step schedules
    epoch: Any  # epochs so far: the clock of per-epoch rules
    order: Any  # stream of permutations
    noise: Any  # streams of dropout and of noise on inputs and gradients
    carry: Any  # recurrent state carried from batch to batch
    average: Any  # running average of the weights
    rate: Any  # factor that rules on the current rate have built up
    position: Any  # place in the epoch's order, where an epoch is shorter than the data
    monitor: Any  # memory of stopping and plateau rules
    best: Any  # weights at the best validation loss, as the framework remembers them


class Moments(NamedTuple):
    """Keep-fractions for the parts of an optimizer's state, by optax field name (see `moment_of`)."""

    mu: Any
    nu: Any
    count: Any
    other: Any


class Position(NamedTuple):
    """Where epochs shorter than the data go on: batches seen of the pass, and the stream it was drawn from."""

    place: Any
    order: Any


class Origin(NamedTuple):
    """What a run started from, and so what a boundary returns to.

    redraw   fresh weights are a new draw from key and boundary number, not the run's first ones; `()`: never, and no
             draw is compiled, which takes a quarter of the time. In one population all have a boolean, or none has
    reseed   fresh streams differ from boundary to boundary, instead of returning to the same key
    """

    key: Array
    params: Params
    redraw: Any = ()
    reseed: Any = np.bool_(False)


def init_params(learner: Learner, key: Array, number: Any = 0) -> Params:
    """New weights for boundary `number` of the run that `key` belongs to; 0 is its beginning."""
    weights, _, _ = jax.random.split(key, 3)
    return learner.init(jax.random.fold_in(weights, number))


def begin(learner: Learner, key: Array, params: Params, number: Any = 0) -> TrainState:
    """The state of a run that has made no step, built around `params`; its streams start from key and number."""
    _, order, noise = jax.random.split(key, 3)
    zero = jnp.zeros((), jnp.int32)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        moments = transform(learner, 0.0).init(params)
    stream = learner.order.begin(jax.random.fold_in(order, number))
    return TrainState(
        params=params,
        moments=moments,
        step=zero,
        epoch=zero,
        order=stream,
        noise=no.begin(jax.random.fold_in(noise, number), learner.dropout, learner.noise),
        carry=learner.carry(params, learner.batch) if learner.carry else (),
        average=params if learner.averaged else (),
        rate=jnp.ones((), float) if learner.watched else (),
        position=Position(zero, stream) if learner.steps else (),
        monitor=mo.begin() if learner.watched else (),
        best=params if learner.watched else (),
    )


def mix(policy: Any, old: Any, fresh: Any) -> Any:
    """Leaf by leaf, what a spread policy (or a component of it) keeps of `old`, and `fresh` for the rest."""
    return jax.tree.map(_blend, policy, old, fresh)


def _blend(fraction: Array, old: Array, fresh: Array) -> Array:
    """Kept and dropped leaves are selected, not multiplied, so that every bit survives."""
    chosen = jnp.where(fraction == 0, fresh, old)
    if not jnp.issubdtype(old.dtype, jnp.floating):
        return chosen
    part = jnp.asarray(fraction, old.dtype)
    mixed = part * old + (1 - part) * fresh
    return jnp.where((fraction == 0) | (fraction == 1), chosen, mixed)


def restart(
    learner: Learner, policy: TrainState, origin: Origin, state: TrainState, number: Any
) -> TrainState:
    """The state after boundary `number` under a spread policy.

    First the weights: fresh ones blended with the old. Then `begin` builds the rest around them, since some
    optimizers read the weights in their `init`; what the policy keeps is put back bit for bit.
    """
    fresh_params = origin.params
    if not isinstance(origin.redraw, tuple):
        anew = partial(init_params, learner, origin.key, number)
        fresh_params = jax.lax.cond(origin.redraw, anew, lambda: origin.params)
    params = mix(policy.params, state.params, fresh_params)
    fresh = begin(learner, origin.key, params, jnp.where(origin.reseed, number, 0))
    rest = mix(policy._replace(params=()), state._replace(params=()), fresh._replace(params=()))
    return rest._replace(params=params)
