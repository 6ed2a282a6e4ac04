"""One training as data: what it is made of (a member of a population), and what it carries.

Letters: S steps of the run.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from lstm_sched.learner import Learner, Params
from lstm_sched.policy import spread
from lstm_sched.state import Origin, TrainState, begin, init_params


class Carrying(NamedTuple):
    """What becomes of a recurrent state that is carried from batch to batch. Keras (on TensorFlow; on JAX it carries
    none): no reset, and through."""

    reset: Any  # it is zeroed before each epoch
    through: Any  # validation, where there is one, goes on from it and leaves its own behind; else it begins at rest


class Hyper(NamedTuple):
    """Traced hyper-parameters: what members of a population may differ in without recompiling.

    Those from `watch` on are `()` unless the learner uses them.
    """

    rates_S: Array  # learning rate of every step of the run, read at state.step
    watch: Any = ()  # a Watch: per-epoch rules; learner.watched
    average: Any = ()  # momentum of the average of the weights, in use from the end of a fit; learner.averaged
    carry: Any = ()  # a Carrying; learner.carry
    noise: Any = ()  # a Noise: noise on inputs and gradients; learner.noise


class Member(NamedTuple):
    """One training of a population, all of it data."""

    hp: Hyper
    policy: TrainState  # spread: one keep-fraction a leaf
    when: Partial  # before which epochs the policy is applied (rules.py)
    origin: Origin
    ends: Partial | tuple[()] = ()  # after which epochs a fit ends (rules.ends), if that does anything
    within: Partial | tuple[()] = ()  # after which steps the policy is applied too (rules.every_step), if any


class Instant(NamedTuple):
    """What a rule on steps sees, after a step."""

    clock: Any  # steps of the run so far; no policy touches it
    state: TrainState
    grads: Params  # that the step was made from
    updates: Params  # what it added to the weights


class Log(NamedTuple):
    """One epoch, in the units of the loss."""

    loss: Any  # mean over samples, each taken before its update
    val: Any  # after the epoch
    rate: Any  # learning rate of its last step
    boundary: Any  # how many boundaries fell before it and in it
    due: Any  # whether a rule on steps asks for a boundary before the next step
    trained: Any  # False once a fit has stopped: the rest is the last trained epoch's


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
def make_origin(learner: Learner, seed: Any) -> Origin:
    """The origin of the run with this seed: weights drawn, no choice to draw or seed anew at a boundary."""
    key = jax.random.key(seed)
    return Origin(key, init_params(learner, key))


# traced once for all members of a learner, not once a member
_begin, _draw = (jax.jit(f, static_argnames="learner") for f in (begin, init_params))


def member(
    learner: Learner,
    hp: Hyper,
    policy: TrainState,
    when: Partial,
    origin: Origin,
    ends: Partial | tuple[()] = (),
    within: Partial | tuple[()] = (),
) -> Member:
    """A member whose policy, given a fraction a component, is spread over the leaves of the learner's state.

    ValueError where `hp` lacks what the learner uses, or holds what it does not or what cannot be; where the origin's
    weights are not of the learner's shapes.
    """
    uses = {
        "watch": learner.watched,
        "average": learner.averaged,
        "carry": learner.carry is not None,
        "noise": learner.noise,
    }
    for name, used in uses.items():
        value = getattr(hp, name)
        if used == (isinstance(value, tuple) and not value):
            raise ValueError(
                f"hp.{name}: {value!r}; allowed: {'a value' if used else 'none'}, as the learner has it"
            )
    if learner.averaged and not 0 <= hp.average <= 1:
        raise ValueError(f"hp.average: {hp.average}; allowed: 0 to 1")
    _check_weights(learner, origin)
    shapes = _begin.eval_shape(learner, origin.key, origin.params)
    return Member(hp, spread(policy, shapes), when, origin, ends, within)


def _check_weights(learner: Learner, origin: Origin) -> None:
    """ValueError for weights that a boundary could not draw anew: layers of unequal sizes, or another network's."""
    drawn, given = (
        {jax.tree_util.keystr(path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
        for params in (_draw.eval_shape(learner, origin.key), origin.params)
    )
    for name in drawn | given:
        has, allowed = given.get(name), drawn.get(name)
        if has != allowed:
            raise ValueError(f"origin.params{name}: shape {has}; allowed: {allowed}, as the learner has it")


def align_redraw(members: list[Member]) -> list[Member]:
    """Members of one structure: where some draw weights anew, the others say that they do not."""
    never = [isinstance(one.origin.redraw, tuple) for one in members]
    if all(never):
        return members
    said = [
        one.origin._replace(redraw=np.bool_(False)) if no else one.origin
        for one, no in zip(members, never, strict=True)
    ]
    return [one._replace(origin=origin) for one, origin in zip(members, said, strict=True)]


def start(learner: Learner, origin: Origin) -> Progress:
    """Before the first epoch."""
    nan = jnp.asarray(jnp.nan, float)
    zero, no = jnp.zeros((), jnp.int32), jnp.zeros((), bool)
    log = Log(loss=nan, val=nan, rate=nan, boundary=zero, due=no, trained=no)
    first = Selected(origin.params, val=jnp.asarray(jnp.inf, float), epoch=zero)
    return Progress(begin(learner, origin.key, origin.params), zero, log, first)
