"""step → epoch → run: one update, one pass over the data, a whole run with its boundaries.

All are pure, so they compose with jit, vmap, grad and shard_map, and each is usable alone from a Python loop.
Letters: B batch, S steps of an epoch (of the run, in rates_S), N samples.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax
from jax.tree_util import Partial

from lstm_sched.data import Data, Part
from lstm_sched.learner import Learner, Params, steps_per_epoch
from lstm_sched.state import Origin, TrainState, begin, draw, restart, spread


class Hyper(NamedTuple):
    """Traced hyper-parameters: what members of a population may differ in without recompiling."""

    rates_S: Array  # learning rate of every step of the run, read at state.step


class Member(NamedTuple):
    """One training of a population, all of it data."""

    hp: Hyper
    policy: TrainState  # spread: one keep-fraction a leaf
    when: Partial  # before which epochs the policy is applied (rules.py)
    origin: Origin


class Batch(NamedTuple):
    """Which samples, and their weights: 0 for what fills up the last batch of an epoch."""

    index_B: Array
    weight_B: Array


class Log(NamedTuple):
    """One epoch, in the units of the loss."""

    loss: Any  # mean over samples, each taken before its update
    val: Any  # after the epoch
    rate: Any  # learning rate of its last step
    boundary: Any  # whether a boundary fell before it


class Selected(NamedTuple):
    """Weights at the lowest validation loss so far; `epoch` counts from 1, 0 is the beginning."""

    params: Params
    val: Any
    epoch: Any


class Progress(NamedTuple):
    """What a run carries. No policy touches the clock (epochs run), the log of the last epoch, or `selected`."""

    state: TrainState
    clock: Any
    log: Log
    selected: Selected


@partial(jax.jit, static_argnames="learner")
def originate(learner: Learner, seed: Any) -> Origin:
    """The origin of the run with this seed: weights drawn, no choice to draw or seed anew at a boundary."""
    key = jax.random.key(seed)
    return Origin(key, draw(learner, key), redraw=jnp.zeros((), bool), reseed=jnp.zeros((), bool))


def member(learner: Learner, hp: Hyper, policy: TrainState, when: Partial, origin: Origin) -> Member:
    """A member whose policy, given a fraction a component, is spread over the leaves of the learner's state."""
    shapes = jax.eval_shape(partial(begin, learner), origin.key, origin.params)
    return Member(hp, spread(policy, shapes), when, origin)


def start(learner: Learner, origin: Origin) -> Progress:
    """Before the first epoch."""
    nan = jnp.asarray(jnp.nan, float)
    log = Log(loss=nan, val=nan, rate=nan, boundary=jnp.zeros((), bool))
    first = Selected(origin.params, val=jnp.asarray(jnp.inf, float), epoch=jnp.zeros((), jnp.int32))
    return Progress(begin(learner, origin.key, origin.params), jnp.zeros((), jnp.int32), log, first)


def step(
    learner: Learner, hp: Hyper, data: Data, state: TrainState, batch: Batch
) -> tuple[TrainState, Array]:
    """One update; also the batch's mean loss before it."""
    x_BTF, y_BO = data.train.take(batch.index_B)
    noise, key = jax.random.split(state.noise) if learner.noisy else ((), None)

    def mean_loss(params):
        loss_B, carry = learner.loss(params, state.carry, x_BTF, y_BO, key)
        return _mean(loss_B, batch.weight_B), carry

    (loss, carry), grads = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        optimizer = learner.optimizer(_rate(hp, state))
        updates, moments = optimizer.update(grads, state.moments, state.params)
        params = optax.apply_updates(state.params, updates)
    state = state._replace(params=params, moments=moments, step=state.step + 1, noise=noise, carry=carry)
    return state, loss


def _mean(loss_N: Array, weight_N: Array) -> Array:
    """The weighted mean, kept apart: fused with its surroundings, XLA may round it otherwise in another program."""
    loss_N, weight_N = lax.optimization_barrier((loss_N, weight_N))
    return lax.optimization_barrier(jnp.vdot(weight_N, loss_N) / jnp.sum(weight_N))


def _rate(hp: Hyper, state: TrainState) -> Array:
    """NaN beyond the table, where JAX would silently repeat its last rate."""
    return hp.rates_S.at[state.step].get(mode="fill", fill_value=jnp.nan)


def _batches(learner: Learner, index_N: Array, steps: int) -> Batch:
    """Batch of [S, B]: index_N cut into steps; a last, partial batch is filled up with weight 0."""
    size = min(index_N.shape[0], steps * learner.batch)
    fill = steps * learner.batch - size
    weight = np.pad(np.ones(size), (0, fill)).reshape(steps, learner.batch)
    index = jnp.pad(index_N[:size], (0, fill)).reshape(steps, learner.batch)
    return Batch(index, jnp.asarray(weight, float))


def losses(learner: Learner, params: Params, part: Part) -> Array:
    """loss_N of every sample of a part of the data, in batches of the training size, without noise."""
    learner = learner._replace(batch=min(learner.batch, part.size), drop_last=False)

    def one(_, batch):
        x_BTF, y_BO = part.take(batch.index_B)
        return (), learner.loss(params, (), x_BTF, y_BO, None)[0]

    batches = _batches(learner, jnp.arange(part.size), steps_per_epoch(learner, part.size))
    _, loss_SB = lax.scan(one, (), batches)
    return loss_SB.ravel()[: part.size]


def evaluate(learner: Learner, params: Params, part: Part) -> Array:
    """Mean of `losses`."""
    loss_N = losses(learner, params, part)
    return _mean(loss_N, jnp.ones_like(loss_N))


def epoch(learner: Learner, hp: Hyper, data: Data, state: TrainState) -> tuple[TrainState, Log]:
    """One pass over the training part in the stream's next order, then validation."""
    order, index_N = learner.order.draw(state.order, data.train.size)
    batches = _batches(learner, index_N, steps_per_epoch(learner, data.train.size))
    state, loss_S = lax.scan(partial(step, learner, hp, data), state._replace(order=order), batches)
    log = Log(
        loss=_mean(loss_S, jnp.sum(batches.weight_B, axis=1)),
        val=evaluate(learner, state.params, data.val),
        rate=_rate(hp, state._replace(step=state.step - 1)),
        boundary=jnp.zeros((), bool),
    )
    return state._replace(epoch=state.epoch + 1), log


def _select(old: Selected, params: Params, log: Log, clock: Array) -> Selected:
    return jax.tree.map(partial(jnp.where, log.val < old.val), Selected(params, log.val, clock), old)


def _boundary_then_epoch(learner: Learner, member: Member, data: Data, progress: Progress) -> Progress:
    falls = member.when(progress) & (progress.clock > 0)
    state = lax.cond(
        falls,
        lambda: restart(learner, member.policy, member.origin, progress.state, progress.clock),
        lambda: progress.state,
    )
    state, log = epoch(learner, member.hp, data, state)
    clock = progress.clock + 1
    selected = _select(progress.selected, state.params, log, clock)
    return Progress(state, clock, log._replace(boundary=falls), selected)


def run(
    learner: Learner, member: Member, data: Data, progress: Progress, epochs: int, end: Any = None
) -> tuple[Progress, Log]:
    """`epochs` epochs (static), each after its boundary if one falls; none from clock `end` (traced) on.

    Returns the progress and a Log of [epochs]; an epoch that was skipped repeats the log before it. The scan has at
    least two turns whatever `epochs` is: a loop of one is inlined by XLA and may round otherwise.
    """
    steps, table = steps_per_epoch(learner, data.train.size), member.hp.rates_S.shape[-1]
    if end is None and table < epochs * steps:
        raise ValueError(f"rates_S: {table} steps; allowed: {epochs * steps} or more, {epochs} × {steps}")

    def turn(progress, i):
        live = i < epochs if end is None else (i < epochs) & (progress.clock < end)
        progress = lax.cond(live, partial(_boundary_then_epoch, learner, member, data), lambda p: p, progress)
        return progress, progress.log

    progress, log = lax.scan(turn, progress, jnp.arange(max(2, epochs)))
    return progress, jax.tree.map(lambda x: x[:epochs], log)
