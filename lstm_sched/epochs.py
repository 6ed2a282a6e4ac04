"""One update, and one epoch: its opening, its steps, its close.

All are pure, so they compose with jit, vmap, grad and shard_map, and each is usable alone from a Python loop.
Letters: B batch, S steps of an epoch (of the run, in rates_S), N samples.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

from lstm_sched import divided, jitter, monitor
from lstm_sched.batches import Batch, upcoming
from lstm_sched.data import Data, Part
from lstm_sched.evaluation import losses_from, mean
from lstm_sched.learner import Learner, Params, passes, transform
from lstm_sched.member import Hyper, Log
from lstm_sched.state import TrainState


def step(
    learner: Learner, hp: Hyper, data: Data, state: TrainState, batch: Batch
) -> tuple[TrainState, Array]:
    """One update; also the batch's mean loss before it."""
    state, loss, _, _ = update(learner, hp, data, state, batch)
    return state, loss


def update(
    learner: Learner, hp: Hyper, data: Data, state: TrainState, batch: Batch
) -> tuple[TrainState, Array, Params, Params]:
    """`step`; also the gradient, and what was added to the weights."""
    mine = divided.share_of(learner, batch)
    x_BTF, y_BO = data.train.take(mine.index_B)
    streams, key = state.noise, None
    if learner.noisy:
        dropout, key = jax.random.split(streams.dropout)
        streams, key = streams._replace(dropout=dropout), divided.own(learner, key)
    if learner.jitter:
        streams = jitter.turn(hp.jitter, streams, "step")
        x_BTF = jitter.on_inputs(hp.jitter.inputs, streams.inputs, mine.index_B, x_BTF)

    def mean_loss(params):
        loss_B, carry = learner.loss(params, state.carry, x_BTF, y_BO, key)
        loss_B = data.train.weigh(mine.index_B, loss_B)
        return mean(loss_B, mine.weight_B, batch.weight_B if learner.divided else None), carry

    (loss, carry), grads = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
    loss, grads = divided.total(learner, (loss, grads))
    if learner.jitter:
        grads = jitter.on_grads(hp.jitter.grads, streams.grads, grads)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        updates, moments = transform(learner, _rate(hp, state)).update(grads, state.moments, state.params)
        params = optax.apply_updates(state.params, updates)
    average = _average(learner, hp, state, params) if learner.averaged else ()
    after = state._replace(
        params=params, moments=moments, step=state.step + 1, noise=streams, carry=carry, average=average
    )
    return after, loss, grads, updates


def _average(learner: Learner, hp: Hyper, state: TrainState, params: Params) -> Params:
    """Keras' running average: it starts from the weights after the first update of its optimizer."""
    first = state.step // learner.accumulate == 0

    def one(average, weight):
        part = jnp.where(first, 0, jnp.asarray(hp.average, weight.dtype))
        return part * average + (1 - part) * weight

    return jax.tree.map(one, state.average, params)


def _table(hp: Hyper, step: Array) -> Array:
    """NaN beyond the table, where JAX would silently repeat its last rate."""
    return hp.rates_S.at[step].get(mode="fill", fill_value=jnp.nan)


def _rate(hp: Hyper, state: TrainState) -> Array:
    table = _table(hp, state.step)
    return table if isinstance(state.rate, tuple) else table * state.rate


def epoch(learner: Learner, hp: Hyper, data: Data, state: TrainState) -> tuple[TrainState, Log]:
    """`learner.steps` steps, or one pass over the training part, then validation."""
    state, batches = opened(learner, hp, data, state)
    state, loss_S = lax.scan(partial(_step_if_any, learner, hp, data), state, batches)
    return closed(learner, hp, data, state, batches, loss_S)


def opened(learner: Learner, hp: Hyper, data: Data, state: TrainState) -> tuple[TrainState, Batch]:
    """The state before the first step of an epoch, and its batches, stacked."""
    if learner.watched:
        state = state._replace(rate=hp.watch.rate(state.epoch, state.rate))
    if learner.carry:
        state = state._replace(carry=_rest_if(learner, hp.carry.reset, state))
    if learner.jitter:
        state = state._replace(noise=jitter.turn(hp.jitter, state.noise, "epoch"))
    return upcoming(learner, data.train.size, state)


def closed(
    learner: Learner, hp: Hyper, data: Data, state: TrainState, batches: Batch, loss_S: Array
) -> tuple[TrainState, Log]:
    """After the last step of an epoch: validation, the log, what per-epoch rules make of it."""
    val_N, state = _validate(learner, hp, data.val, state)
    log = Log(
        loss=mean(loss_S, jnp.sum(batches.weight_B, axis=1)),
        val=mean(val_N, jnp.ones_like(val_N)),
        rate=_rate(hp, state._replace(step=state.step - 1)),
        boundary=jnp.zeros((), jnp.int32),
        due=jnp.zeros((), bool),
        trained=jnp.ones((), bool),
    )
    if learner.watched:
        state = _observe(hp, state, log)
    return state._replace(epoch=state.epoch + 1), log


def _rest_if(learner: Learner, rests: Any, state: TrainState) -> Any:
    """The carried state, or zeros."""
    assert learner.carry
    return jax.tree.map(partial(jnp.where, rests), learner.carry(state.params, learner.batch), state.carry)


def _validate(learner: Learner, hp: Hyper, part: Part, state: TrainState) -> tuple[Array, TrainState]:
    if not learner.carry:
        return losses_from(learner, state.params, part, ())[0], state
    rests = jnp.logical_not(hp.carry.through)
    if learner.watched:
        rests = rests | ~monitor.validated(hp.watch, state.epoch)
    val_N, carry = losses_from(learner, state.params, part, _rest_if(learner, rests, state))
    return val_N, state._replace(carry=jax.tree.map(partial(jnp.where, rests), state.carry, carry))


def cut_short(learner: Learner, size: int) -> bool:
    """Whether some epoch ends with its pass before it has its `steps`."""
    return learner.steps is not None and passes(learner, size) % learner.steps != 0


def _step_if_any(
    learner: Learner, hp: Hyper, data: Data, state: TrainState, batch: Batch
) -> tuple[TrainState, Array]:
    """A step, unless the batch lies beyond the pass."""
    take = partial(step, learner, hp, data)
    if not cut_short(learner, data.train.size):
        return take(state, batch)
    return lax.cond(batch.weight_B[0] > 0, take, lambda state, _: (state, jnp.zeros((), float)), state, batch)


def _observe(hp: Hyper, state: TrainState, log: Log) -> TrainState:
    table = _table(hp, state.step - 1)
    memory, rate, best = monitor.observe(hp.watch, state.monitor, state.epoch, log.val, state.rate, table)
    kept = jax.tree.map(partial(jnp.where, best), state.params, state.best)
    return state._replace(monitor=memory, rate=rate, best=kept)
