"""Training as a user would write it, step by step in Python over optax: what the compiled run must be."""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
from helpers import small

from lstm_sched.noise import DRAWN


def agree(learner, member, data, epochs, boundary=lambda e, now: None, ends=(), after=lambda *step: None):
    """Assert that the compiled run is the loop by hand; return the run's progress and log."""
    progress, log = small.finish(learner, member, data, epochs)
    now, losses, vals = by_hand(learner, member, data, epochs, boundary, ends, after)
    trained = [val is not None for val in vals]
    assert log.trained.tolist() == trained
    for got_E, want_E in ((log.loss, losses), (log.val, vals)):
        want_E = [loss for loss in want_E if loss is not None]
        np.testing.assert_allclose(got_E[np.array(trained)], want_E, rtol=1e-9)
    state, average = progress.state, now.average if learner.averaged else ()
    want = small.flat((now.params, now.carry, average))
    np.testing.assert_allclose(small.flat((state.params, state.carry, state.average)), want, 1e-9, 1e-12)
    return progress, log


@jax.numpy_dtype_promotion("standard")  # optax mixes dtypes
def by_hand(learner, member, data, epochs, boundary=lambda e, now: None, ends=(), after=lambda *step: None):
    """What it ends with, the loss of each epoch, the validation loss of each; None for one after a stop.

    `boundary(e, now)` may change anything before epoch e, and `after(t, now, gradient, updates)` after t steps; after
    the epochs of `ends` the average becomes the weights. Of the rules there is stopping, by its patience.
    """
    hp, rates_S = member.hp, np.asarray(member.hp.rates_S)
    batch_loss, gradient, update = programs(learner)
    now = first(learner, member, member.origin.params)
    zero, summed, losses, vals, t = now.carry, [], [], [], 0

    def redraw(drawn):
        for name, key in now.draws.items():
            if learner.noise and getattr(hp.noise, name).drawn == DRAWN[drawn]:
                now.draws[name] = jax.random.split(key)[0]

    for e in range(epochs):
        boundary(e, now)
        if now.stopping.stopped:
            losses.append(None)
            vals.append(None)
            continue
        if learner.carry and hp.carry.reset:
            now.carry = zero
        redraw("epoch")
        if not now.left:
            now.order, index_N = learner.order.draw(now.order, data.train.size)
            now.left = batches_of(learner, index_N)
        todo, now.left = now.left[: learner.steps], now.left[learner.steps or len(now.left) :]
        total = 0.0
        for index_B in todo:
            key, draw, scale = None, None, 0.0
            if learner.dropout:
                now.dropout, key = jax.random.split(now.dropout)
            redraw("step")
            if learner.noise:
                draw, scale = now.draws["inputs"], hp.noise.inputs.scale
            (loss, now.carry), grad = gradient(now.params, now.carry, data.train, index_B, key, draw, scale)
            if learner.noise:
                leaves, tree = jax.tree.flatten(grad)
                keys = jax.random.split(now.draws["grads"], len(leaves))
                push = [jax.random.normal(k, g.shape) for k, g in zip(keys, leaves, strict=True)]
                pushed = [g + hp.noise.grads.scale * p for g, p in zip(leaves, push, strict=True)]
                grad = jax.tree.unflatten(tree, pushed)
            total += float(loss) * len(index_B)
            summed.append(grad)
            updates = None
            if len(summed) == learner.accumulate:
                mean_grad = jax.tree.map(lambda *g: sum(g) / len(g), *summed)
                updates, now.moments = update(rates_S[now.t], mean_grad, now.moments, now.params)
                now.params = optax.apply_updates(now.params, updates)
                summed = []
            if learner.averaged:  # Keras counts updates, and averages after each batch
                momentum = float(hp.average) if now.t // learner.accumulate else 0.0
                now.average = optax.incremental_update(now.params, now.average, 1 - momentum)
            now.t, t = now.t + 1, t + 1
            after(t, now, grad, updates)
        losses.append(total / sum(map(len, todo)))
        through = learner.carry and hp.carry.through
        carry, total = now.carry if through else zero, 0.0
        for index_B in batches_of(learner._replace(drop_last=False), np.arange(data.val.size)):
            loss, carry = batch_loss(now.params, carry, data.val, index_B)
            total += float(loss) * len(index_B)
        now.carry = carry if through else now.carry
        vals.append(total / data.val.size)
        if learner.watched:
            observe(now.stopping, vals[-1], int(hp.watch.stopping.patience))
        if e + 1 in ends:
            now.params = now.average
    return now, losses, vals


@functools.cache  # so that tests of one learner share what is compiled
def programs(learner):
    """Jitted: the mean loss of a batch, its gradient, and the optimizer's update."""

    def batch_loss(params, carry, samples, index_B, key=None, draw=None, scale=0.0):
        x_BTF, y_BO = samples.take(index_B)
        if draw is not None:
            noise_BTF = [jax.random.normal(jax.random.fold_in(draw, i), x_BTF.shape[1:]) for i in index_B]
            x_BTF = x_BTF + scale * jnp.stack(noise_BTF)
        loss_B, carry = learner.loss(params, carry, x_BTF, y_BO, key)
        weight_B = 1 if isinstance(samples.weight_N, tuple) else samples.weight_N[index_B]
        return jnp.sum(weight_B * loss_B) / len(index_B), carry

    def update(rate, *gradient_state_and_params):
        return learner.optimizer(rate).update(*gradient_state_and_params)

    jit = functools.partial(jax.jit, compiler_options=small.SOON)
    return jit(batch_loss), jit(jax.value_and_grad(batch_loss, has_aux=True)), jit(update)


def first(learner, member, params):
    """What a program has before its first step, around these weights."""
    _, order_key, noise = jax.random.split(member.origin.key, 3)
    dropout, inputs, grads = jax.random.split(jax.random.fold_in(noise, 0), 3)
    return SimpleNamespace(
        params=params,
        moments=new_moments(learner, params),
        t=0,  # place in the schedule
        order=learner.order.begin(jax.random.fold_in(order_key, 0)),
        dropout=dropout,
        draws={"inputs": inputs, "grads": grads},
        left=[],  # batches of the pass that is begun
        carry=learner.carry(params, learner.batch) if learner.carry else (),
        average=params,
        stopping=SimpleNamespace(best=np.inf, wait=0, stopped=False),
    )


def new_moments(learner, params):
    return learner.optimizer(0.0).init(params)


def batches_of(learner, index_N):
    cut = [np.asarray(index_N)[i : i + learner.batch] for i in range(0, len(index_N), learner.batch)]
    return [index_B for index_B in cut if len(index_B) == learner.batch or not learner.drop_last]


def observe(stopping, val, patience):
    """Early stopping as in most frameworks."""
    better = val < stopping.best
    stopping.best, stopping.wait = min(val, stopping.best), 0 if better else stopping.wait + 1
    stopping.stopped = stopping.wait >= patience
