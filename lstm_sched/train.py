"""A whole run: epochs, with the boundaries before them and in them. Pure, as all that it is made of (epochs.py)."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.tree_util import Partial

from lstm_sched import monitor
from lstm_sched.data import Data
from lstm_sched.epochs import closed, cut_short, epoch, opened, update
from lstm_sched.learner import Learner, Params, steps_per_epoch
from lstm_sched.member import Instant, Log, Member, Progress, Selected
from lstm_sched.state import TrainState, restart


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
    state, batches = opened(learner, member.hp, data, progress.state)
    first = (state, jnp.zeros((), bool), jnp.zeros((), jnp.int32), clock)
    (state, due, fallen, _), loss_S = lax.scan(turn, first, batches)
    state, log = closed(learner, member.hp, data, state, batches, loss_S)
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
