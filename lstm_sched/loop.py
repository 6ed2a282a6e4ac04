"""Training: a step is one update, an epoch is a scan of steps, a run is a scan of boundaries and epochs.

All functions are pure, so they compose with jit, vmap, grad and shard_map, and each can be used on its own.
Letters: B batch, S steps of an epoch (of the run, in rates_S), N samples.
"""

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

# ---- one step


def step(
    learner: Learner, hp: Hyper, data: Data, state: TrainState, batch: Batch
) -> tuple[TrainState, Array]:
    """Make one update of the weights.

    Args:
        learner: what is trained (static under jit).
        hp: its hyper-parameters.
        data: its training part is read.
        state: the state before the step.
        batch: which samples the step takes, a row of what `batches.upcoming` returns.

    Returns:
        The state after the step, and the batch's mean loss before it.
    """
    state, loss, _, _ = update(learner, hp, data, state, batch)
    return state, loss


def update(
    learner: Learner, hp: Hyper, data: Data, state: TrainState, batch: Batch
) -> tuple[TrainState, Array, Params, Params]:
    """`step` that also returns the gradient and the change of the weights."""
    shard = data_parallel.shard(learner, batch)
    x_BTF, y_BO = data.train.take(shard.index_B)
    keys, dropout_key = state.noise, None
    if learner.dropout:
        next_key, dropout_key = jax.random.split(keys.dropout)
        keys, dropout_key = keys._replace(dropout=next_key), data_parallel.fold_in(learner, dropout_key)
    if learner.noise:
        keys = noise.advance(hp.noise, keys, "step")
        x_BTF = noise.on_inputs(hp.noise.inputs, keys.inputs, shard.index_B, x_BTF)

    def mean_loss(params):
        loss_B, carry = learner.loss(params, state.carry, x_BTF, y_BO, dropout_key)
        loss_B = data.train.weigh(shard.index_B, loss_B)
        return weighted_mean(loss_B, shard.weight_B, batch.weight_B if learner.divided else None), carry

    (loss, carry), grads = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
    loss, grads = data_parallel.psum(learner, (loss, grads))
    if learner.noise:
        grads = noise.on_grads(hp.noise.grads, keys.grads, grads)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        updates, moments = transform(learner, _rate(hp, state)).update(grads, state.moments, state.params)
        params = optax.apply_updates(state.params, updates)
    average = _average(learner, hp, state, params) if learner.averaged else ()
    after = state._replace(
        params=params, moments=moments, step=state.step + 1, noise=keys, carry=carry, average=average
    )
    return after, loss, grads, updates


def _rate(hp: Hyper, state: TrainState) -> Array:
    """The learning rate of the step that the state is about to make."""
    table = _tabulated(hp, state.step)
    return table if isinstance(state.rate, tuple) else table * state.rate


def _tabulated(hp: Hyper, step: Array) -> Array:
    """The tabulated rate of a step; NaN beyond the table, where JAX would silently repeat the last rate."""
    return hp.rates_S.at[step].get(mode="fill", fill_value=jnp.nan)


def _average(learner: Learner, hp: Hyper, state: TrainState, params: Params) -> Params:
    """Keras' running average: it starts from the weights after the first update of its optimizer."""
    first = state.step // learner.accumulate == 0

    def moved(average, weight):
        part = jnp.where(first, 0, jnp.asarray(hp.average, weight.dtype))
        return part * average + (1 - part) * weight

    return jax.tree.map(moved, state.average, params)


# ---- one epoch


def epoch(learner: Learner, hp: Hyper, data: Data, state: TrainState) -> tuple[TrainState, Log]:
    """Make the steps of one epoch, then validate.

    Args:
        learner: what is trained (static under jit).
        hp: its hyper-parameters.
        data: its training and validation parts are read.
        state: the state before the epoch.

    Returns:
        The state after `learner.steps` steps, or after one pass over the training part, and the epoch's log.
    """
    state, batches = _open_epoch(learner, hp, data, state)
    state, loss_S = lax.scan(partial(_step_unless_empty, learner, hp, data), state, batches)
    return _close_epoch(learner, hp, data, state, batches, loss_S)


def _open_epoch(learner: Learner, hp: Hyper, data: Data, state: TrainState) -> tuple[TrainState, Batch]:
    """The state before the first step of an epoch, and its batches, stacked."""
    if learner.watched:
        state = state._replace(rate=hp.watch.rate(state.epoch, state.rate))
    if learner.carry:
        state = state._replace(carry=_zeroed_if(hp.carry.reset, learner, state))
    if learner.noise:
        state = state._replace(noise=noise.advance(hp.noise, state.noise, "epoch"))
    return upcoming(learner, data.train.size, state)


def _step_unless_empty(
    learner: Learner, hp: Hyper, data: Data, state: TrainState, batch: Batch
) -> tuple[TrainState, Array]:
    """A step, unless the batch lies beyond the pass."""
    take = partial(step, learner, hp, data)
    if not _cut_short(learner, data.train.size):
        return take(state, batch)
    return lax.cond(batch.weight_B[0] > 0, take, lambda state, _: (state, jnp.zeros((), float)), state, batch)


def _cut_short(learner: Learner, size: int) -> bool:
    """Whether some epoch ends with its pass before it has made its `steps`."""
    return learner.steps is not None and batches_per_pass(learner, size) % learner.steps != 0


def _close_epoch(
    learner: Learner, hp: Hyper, data: Data, state: TrainState, batches: Batch, loss_S: Array
) -> tuple[TrainState, Log]:
    """End an epoch after its last step: validate, log, and apply the per-epoch rules."""
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
        table = _tabulated(hp, state.step - 1)
        memory, rate, better = monitor.observe(
            hp.watch, state.monitor, state.epoch, log.val, state.rate, table
        )
        best = _select(better, state.params, state.best)
        state = state._replace(monitor=memory, rate=rate, best=best)
    return state._replace(epoch=state.epoch + 1), log


def _validate(learner: Learner, hp: Hyper, part: Part, state: TrainState) -> tuple[Array, TrainState]:
    """The validation losses, and the state with the carry that validation leaves behind."""
    if not learner.carry:
        return losses_and_carry(learner, state.params, part, ())[0], state
    apart = jnp.logical_not(hp.carry.through)
    if learner.watched:
        apart = apart | ~monitor.validated(hp.watch, state.epoch)
    val_N, carry = losses_and_carry(learner, state.params, part, _zeroed_if(apart, learner, state))
    return val_N, state._replace(carry=_select(apart, state.carry, carry))


def _zeroed_if(condition: Any, learner: Learner, state: TrainState) -> Any:
    """Zeros in place of the carried state, if the condition holds."""
    assert learner.carry
    return _select(condition, learner.carry(state.params, learner.batch), state.carry)


def _select(condition: Any, if_true: Any, if_false: Any) -> Any:
    """One of two trees, bit for bit."""
    return jax.tree.map(partial(jnp.where, condition), if_true, if_false)


# ---- a run


def run(
    learner: Learner, member: Member, data: Data, progress: Progress, epochs: int, end: Any = None
) -> tuple[Progress, Log]:
    """Train for a number of epochs, each after its boundary if one falls before it.

    Wrap it once, `jax.jit(run, static_argnames=("learner", "epochs"))`; it is slow where it is not jitted. One
    compiled program serves all members of a learner.

    Args:
        learner: the static part: initial weights, loss and optimizer (`lstm`, `Learner`).
        member: the training as data, made by `member`: learning rates, policy, rules and origin.
        data: training, validation and test part (`prepare`, `samples`); the test part is not read.
        progress: where to continue: `start(learner, member.origin)`, or the progress from an earlier call.
        epochs: how many more epochs to run, whatever the progress; static.
        end: the clock at which to stop, if earlier; traced, so that one compiled program can stop anywhere.
            None: all epochs are run.

    Returns:
        The progress after the epochs, and a Log with one entry per epoch in each field, [epochs]. An epoch that is
        not run, because of `end`, repeats the entry before it.

    Raises:
        ValueError: a table of learning rates or a rate rule is shorter than `epochs`, or there is a rule on
            steps while some epoch is cut short by the end of its pass.
    """
    steps, table = steps_per_epoch(learner, data.train.size), member.hp.rates_S.shape[-1]
    if member.within and _cut_short(learner, data.train.size):
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

    # At least two turns: a loop of one is inlined by XLA and may round otherwise.
    progress, log = lax.scan(turn, progress, jnp.arange(max(2, epochs)))
    return progress, jax.tree.map(lambda x: x[:epochs], log)


def _boundary_then_epoch(learner: Learner, member: Member, data: Data, progress: Progress) -> Progress:
    falls = (member.when(progress) | progress.log.due) & (progress.clock > 0)
    state = _restart_if(falls, learner, member, progress.state, progress.clock)
    progress = progress._replace(state=state)
    train = partial(_epoch_of_run, learner, member, data)
    if learner.watched:
        progress = lax.cond(state.monitor.stopped, _skip, train, progress)
    else:
        progress = train(progress)
    log = progress.log
    return progress._replace(log=log._replace(boundary=log.boundary + falls.astype(jnp.int32)))


def _restart_if(falls: Array, learner: Learner, member: Member, state: TrainState, number: Any) -> TrainState:
    return lax.cond(
        falls, lambda: restart(learner, member.policy, member.origin, state, number), lambda: state
    )


def _skip(progress: Progress) -> Progress:
    """Skip an epoch after a fit has stopped. It counts, so that the next fit keeps its place in the loop."""
    state = progress.state._replace(epoch=progress.state.epoch + 1)
    no, none = jnp.zeros((), bool), jnp.zeros((), jnp.int32)
    log = progress.log._replace(boundary=none, due=no, trained=no)
    return progress._replace(state=state, clock=progress.clock + 1, log=log)


def _epoch_of_run(learner: Learner, member: Member, data: Data, progress: Progress) -> Progress:
    if member.within:
        state, log = _epoch_with_boundaries(learner, member, member.within, data, progress)
    else:
        state, log = epoch(learner, member.hp, data, progress.state)
    clock, lowest = progress.clock + 1, progress.selected
    selected = _select(log.val < lowest.val, Selected(state.params, log.val, clock), lowest)
    after = Progress(state, clock, log, selected)
    return after._replace(state=_end_fit(learner, member, after))


def _epoch_with_boundaries(
    learner: Learner, member: Member, within: Partial, data: Data, progress: Progress
) -> tuple[TrainState, Log]:
    """`epoch`, with a boundary before each step if the rule on steps asked for it after the previous one."""

    def turn(carried, batch):
        state, due, fallen, clock = carried
        state = _restart_if(due, learner, member, state, clock)
        state, loss, grads, updates = update(learner, member.hp, data, state, batch)
        asks = within(Instant(clock + 1, state, grads, updates))
        return (state, asks, fallen + due.astype(jnp.int32), clock + 1), loss

    clock = progress.clock * steps_per_epoch(learner, data.train.size)
    state, batches = _open_epoch(learner, member.hp, data, progress.state)
    first = (state, jnp.zeros((), bool), jnp.zeros((), jnp.int32), clock)
    (state, due, fallen, _), loss_S = lax.scan(turn, first, batches)
    state, log = _close_epoch(learner, member.hp, data, state, batches, loss_S)
    return state, log._replace(boundary=fallen, due=due)


def _end_fit(learner: Learner, member: Member, progress: Progress) -> TrainState:
    """If a fit ends here, as planned or stopped: the average, then the best weights, become the weights."""
    state = progress.state
    ends = member.ends(progress) if member.ends else jnp.zeros((), bool)
    if learner.watched:
        ends = ends | state.monitor.stopped
    if learner.averaged:
        state = state._replace(params=_select(ends, state.average, state.params))
    if learner.watched:
        restores = ends & member.hp.watch.stopping.restore & state.monitor.stopping.seen
        state = state._replace(params=_select(restores, state.best, state.params))
    return state
