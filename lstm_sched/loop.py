"""A whole run: epochs, with the boundaries before them and in them. Pure, as all that it is made of (epochs.py)."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax
from jax.tree_util import Partial

from lstm_sched import data_parallel, monitor, noise
from lstm_sched.batches import Batch, upcoming
from lstm_sched.data.windows import Data, Part
from lstm_sched.evaluation import losses_and_carry, weighted_mean
from lstm_sched.learner import Learner, Params, batches_per_pass, steps_per_epoch, transform
from lstm_sched.members import Hyper, Instant, Log, Member, Progress, Selected
from lstm_sched.state import TrainState, restart

# One update, and one epoch: its opening, its steps, its close. All are pure, so they compose with jit,
# vmap, grad and shard_map, and each is usable alone from a Python loop. Letters: B batch, S steps of an
# epoch (of the run, in rates_S), N samples.


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
    mine = data_parallel.shard(learner, batch)
    x_BTF, y_BO = data.train.take(mine.index_B)
    streams, key = state.noise, None
    if learner.dropout:
        dropout, key = jax.random.split(streams.dropout)
        streams, key = streams._replace(dropout=dropout), data_parallel.fold_in(learner, key)
    if learner.noise:
        streams = noise.advance(hp.noise, streams, "step")
        x_BTF = noise.on_inputs(hp.noise.inputs, streams.inputs, mine.index_B, x_BTF)

    def mean_loss(params):
        loss_B, carry = learner.loss(params, state.carry, x_BTF, y_BO, key)
        loss_B = data.train.weigh(mine.index_B, loss_B)
        return weighted_mean(loss_B, mine.weight_B, batch.weight_B if learner.divided else None), carry

    (loss, carry), grads = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
    loss, grads = data_parallel.psum(learner, (loss, grads))
    if learner.noise:
        grads = noise.on_grads(hp.noise.grads, streams.grads, grads)
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
    state, batches = open_epoch(learner, hp, data, state)
    state, loss_S = lax.scan(partial(_step_if_any, learner, hp, data), state, batches)
    return close_epoch(learner, hp, data, state, batches, loss_S)


def open_epoch(learner: Learner, hp: Hyper, data: Data, state: TrainState) -> tuple[TrainState, Batch]:
    """The state before the first step of an epoch, and its batches, stacked."""
    if learner.watched:
        state = state._replace(rate=hp.watch.rate(state.epoch, state.rate))
    if learner.carry:
        state = state._replace(carry=_rest_if(learner, hp.carry.reset, state))
    if learner.noise:
        state = state._replace(noise=noise.advance(hp.noise, state.noise, "epoch"))
    return upcoming(learner, data.train.size, state)


def close_epoch(
    learner: Learner, hp: Hyper, data: Data, state: TrainState, batches: Batch, loss_S: Array
) -> tuple[TrainState, Log]:
    """After the last step of an epoch: validation, the log, what per-epoch rules make of it."""
    val_N, state = _validate(learner, hp, data.val, state)
    log = Log(
        loss=weighted_mean(loss_S, jnp.sum(batches.weight_B, axis=1)),
        val=weighted_mean(val_N, jnp.ones_like(val_N)),
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
        return losses_and_carry(learner, state.params, part, ())[0], state
    rests = jnp.logical_not(hp.carry.through)
    if learner.watched:
        rests = rests | ~monitor.validated(hp.watch, state.epoch)
    val_N, carry = losses_and_carry(learner, state.params, part, _rest_if(learner, rests, state))
    return val_N, state._replace(carry=jax.tree.map(partial(jnp.where, rests), state.carry, carry))


def cut_short(learner: Learner, size: int) -> bool:
    """Whether some epoch ends with its pass before it has its `steps`."""
    return learner.steps is not None and batches_per_pass(learner, size) % learner.steps != 0


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


def _select(old: Selected, params: Params, log: Log, clock: Array) -> Selected:
    return jax.tree.map(partial(jnp.where, log.val < old.val), Selected(params, log.val, clock), old)


def _restart_if(falls: Array, learner: Learner, member: Member, state: TrainState, number: Any) -> TrainState:
    return lax.cond(
        falls, lambda: restart(learner, member.policy, member.origin, state, number), lambda: state
    )


def _boundary_then_epoch(learner: Learner, member: Member, data: Data, progress: Progress) -> Progress:
    falls = (member.when(progress) | progress.log.due) & (progress.clock > 0)
    state = _restart_if(falls, learner, member, progress.state, progress.clock)
    progress = progress._replace(state=state)
    one = partial(_epoch_of_run, learner, member, data)
    if learner.watched:
        progress = lax.cond(state.monitor.stopped, _skip, one, progress)
    else:
        progress = one(progress)
    log = progress.log
    return progress._replace(log=log._replace(boundary=log.boundary + falls.astype(jnp.int32)))


def _epoch_of_run(learner: Learner, member: Member, data: Data, progress: Progress) -> Progress:
    if member.within:
        state, log = _epoch_with_boundaries(learner, member, member.within, data, progress)
    else:
        state, log = epoch(learner, member.hp, data, progress.state)
    clock = progress.clock + 1
    after = Progress(state, clock, log, _select(progress.selected, state.params, log, clock))
    return after._replace(state=_end_fit(learner, member, after))


def _epoch_with_boundaries(
    learner: Learner, member: Member, within: Partial, data: Data, progress: Progress
) -> tuple[TrainState, Log]:
    """`epoch`, with a boundary before each step that the rule on steps asks for after the step before."""

    def turn(carried, batch):
        state, due, fallen, clock = carried
        state = _restart_if(due, learner, member, state, clock)
        state, loss, grads, updates = update(learner, member.hp, data, state, batch)
        asks = within(Instant(clock + 1, state, grads, updates))
        return (state, asks, fallen + due.astype(jnp.int32), clock + 1), loss

    clock = progress.clock * steps_per_epoch(learner, data.train.size)
    state, batches = open_epoch(learner, member.hp, data, progress.state)
    first = (state, jnp.zeros((), bool), jnp.zeros((), jnp.int32), clock)
    (state, due, fallen, _), loss_S = lax.scan(turn, first, batches)
    state, log = close_epoch(learner, member.hp, data, state, batches, loss_S)
    return state, log._replace(boundary=fallen, due=due)


def _skip(progress: Progress) -> Progress:
    """An epoch after the one in which the fit has stopped. It counts: the next fit is told its place in the loop."""
    state = progress.state._replace(epoch=progress.state.epoch + 1)
    no, none = jnp.zeros((), bool), jnp.zeros((), jnp.int32)
    log = progress.log._replace(boundary=none, due=no, trained=no)
    return progress._replace(state=state, clock=progress.clock + 1, log=log)


def _end_fit(learner: Learner, member: Member, progress: Progress) -> TrainState:
    """If a fit ends here, as planned or stopped: the average, then the best weights, become the weights."""
    state = progress.state
    ends = member.ends(progress) if member.ends else jnp.zeros((), bool)
    if learner.watched:
        ends = ends | state.monitor.stopped
    if learner.averaged:
        state = state._replace(params=jax.tree.map(partial(jnp.where, ends), state.average, state.params))
    if learner.watched:
        restores = ends & member.hp.watch.stopping.restore & state.monitor.stopping.seen
        state = state._replace(params=jax.tree.map(partial(jnp.where, restores), state.best, state.params))
    return state


def run(
    learner: Learner, member: Member, data: Data, progress: Progress, epochs: int, end: Any = None
) -> tuple[Progress, Log]:
    """`epochs` epochs (static), each after its boundary if one falls; none from clock `end` (traced) on.

    Returns the progress and a Log of [epochs]; an epoch beyond `end` repeats the log before it. The scan has at
    least two turns whatever `epochs` is: a loop of one is inlined by XLA and may round otherwise.
    """
    steps, table = steps_per_epoch(learner, data.train.size), member.hp.rates_S.shape[-1]
    if member.within and cut_short(learner, data.train.size):
        allowed = "with a rule on steps, a divisor of the batches of a pass"
        raise ValueError(f"steps: {learner.steps}; allowed: {allowed}")
    if end is None and table < epochs * steps:
        raise ValueError(f"rates_S: {table} steps; allowed: {epochs * steps} or more, {epochs} × {steps}")
    if end is None and learner.watched:
        monitor.check_rate("hp.watch.rate", member.hp.watch.rate, epochs)

    def turn(progress, i):
        live = i < epochs if end is None else (i < epochs) & (progress.clock < end)
        progress = lax.cond(live, partial(_boundary_then_epoch, learner, member, data), lambda p: p, progress)
        return progress, progress.log

    progress, log = lax.scan(turn, progress, jnp.arange(max(2, epochs)))
    return progress, jax.tree.map(lambda x: x[:epochs], log)
