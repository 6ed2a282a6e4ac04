"""One training as data: what it is made of (a member of a population), and what it carries from epoch to epoch.

Letters: S steps of the run.
"""

from collections.abc import Sequence
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
    """What becomes of a recurrent state that is carried from batch to batch.

    Keras on TensorFlow has reset=False and through=True; on JAX it carries none.

    Attributes:
        reset: whether it is zeroed before each epoch.
        through: whether validation goes on from it and leaves its own behind; otherwise validation begins at zero.
    """

    reset: Any
    through: Any


class Hyper(NamedTuple):
    """Traced hyper-parameters, in which members of a population may differ without recompiling.

    All but the first are `()` unless the learner uses them.

    Attributes:
        rates_S: learning rate of every step of the run, read at `state.step`.
        watch: a Watch, the per-epoch rules; for `learner.watched`.
        average: momentum of the average of the weights, which is put in use when a fit ends; for `learner.averaged`.
        carry: a Carrying; for `learner.carry`.
        noise: a Noise on inputs and gradients; for `learner.noise`.
    """

    rates_S: Array
    watch: Any = ()
    average: Any = ()
    carry: Any = ()
    noise: Any = ()


class Member(NamedTuple):
    """One training, all of it data. Members of one learner stack into a population.

    Attributes:
        hp: its hyper-parameters.
        policy: one keep-fraction per leaf of the state: what survives a boundary.
        when: the rule on epochs that says before which of them the policy is applied (`rules`).
        origin: what it starts from, and what a boundary returns to.
        ends: the rule that says after which epochs a fit ends (`rules.ends`); `()` where that does nothing.
        within: the rule on steps that says after which of them the policy is applied too; `()` for none.
    """

    hp: Hyper
    policy: TrainState
    when: Partial
    origin: Origin
    ends: Partial | tuple[()] = ()
    within: Partial | tuple[()] = ()


class Instant(NamedTuple):
    """What a rule on steps is given, after a step."""

    clock: Any  # steps of the run so far; no policy touches it
    state: TrainState
    grads: Params  # from which the step was made
    updates: Params  # what it added to the weights


class Log(NamedTuple):
    """What is reported of an epoch; losses are in units of the learner's loss."""

    loss: Any  # mean over the training samples, each taken before its update
    val: Any  # mean over the validation samples, after the epoch
    rate: Any  # learning rate of its last step
    boundary: Any  # how many boundaries fell before it and in it
    due: Any  # whether a rule on steps asks for a boundary before the next step
    trained: Any  # False once a fit has stopped: the rest is the last trained epoch's


class Selected(NamedTuple):
    """The weights at the lowest validation loss so far; `epoch` counts from 1, and 0 is the beginning."""

    params: Params
    val: Any
    epoch: Any


class Progress(NamedTuple):
    """What a run carries. A policy touches the state alone.

    Attributes:
        state: all that changes while training.
        clock: how many epochs have been run.
        log: the log of the last of them.
        selected: the weights at the lowest validation loss so far.
    """

    state: TrainState
    clock: Any
    log: Log
    selected: Selected


@partial(jax.jit, static_argnames="learner")
def make_origin(learner: Learner, seed: Any) -> Origin:
    """Make the origin of the run with this seed: its key and its first weights.

    Args:
        learner: what is trained.
        seed: a whole number.

    Returns:
        An origin to which every boundary returns. `origin._replace(params=…)` starts from weights of your own;
        `redraw=True` or `reseed=True` draws fresh weights or streams again at each boundary.
    """
    key = jax.random.key(seed)
    return Origin(key, init_params(learner, key))


def start(learner: Learner, origin: Origin) -> Progress:
    """The progress of a run before its first epoch.

    Args:
        learner: what is trained.
        origin: what the run starts from.

    Returns:
        A fresh state with clock 0, nothing logged, and the first weights as those selected so far.
    """
    nan = jnp.asarray(jnp.nan, float)
    zero, no = jnp.zeros((), jnp.int32), jnp.zeros((), bool)
    log = Log(loss=nan, val=nan, rate=nan, boundary=zero, due=no, trained=no)
    selected = Selected(origin.params, val=jnp.asarray(jnp.inf, float), epoch=zero)
    return Progress(begin(learner, origin.key, origin.params), zero, log, selected)


def member(
    learner: Learner,
    hp: Hyper,
    policy: TrainState,
    when: Partial,
    origin: Origin,
    ends: Partial | tuple[()] = (),
    within: Partial | tuple[()] = (),
) -> Member:
    """Make one training from its parts, and check that they fit the learner.

    Args:
        learner: what is trained.
        hp: learning rates, and of the rest what the learner uses.
        policy: one keep-fraction per component, such as `POLICIES["keras_loop"]`; it is spread over the leaves.
        when, ends, within: rules, as in `Member`.
        origin: what the training starts from.

    Returns:
        The member, for `run` or, stacked with others, for a population.

    Raises:
        ValueError: `hp` lacks what the learner uses, or holds what it does not use or what is not allowed; the
            origin's weights are not of the learner's shapes; or the policy has a fraction that is not allowed.
    """
    _check_hyper(learner, hp)
    _check_weights(learner, origin)
    shapes = _begin.eval_shape(learner, origin.key, origin.params)
    return Member(hp, spread(policy, shapes), when, origin, ends, within)


# They are traced once for all members of a learner, not once per member.
_begin, _init_params = (jax.jit(f, static_argnames="learner") for f in (begin, init_params))


def _check_hyper(learner: Learner, hp: Hyper) -> None:
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


def _check_weights(learner: Learner, origin: Origin) -> None:
    """Raise ValueError for weights that a boundary could not draw: layers of unequal sizes, or another network's."""
    drawn, given = (
        {jax.tree_util.keystr(path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
        for params in (_init_params.eval_shape(learner, origin.key), origin.params)
    )
    for name in drawn | given:
        shape, allowed = given.get(name), drawn.get(name)
        if shape != allowed:
            raise ValueError(f"origin.params{name}: shape {shape}; allowed: {allowed}, as the learner has it")


def align_redraw(members: Sequence[Member]) -> list[Member]:
    """Members of one structure: where some draw new weights at a boundary, the others are marked as not doing so."""
    if all(isinstance(m.origin.redraw, tuple) for m in members):
        return list(members)
    return [
        m._replace(origin=m.origin._replace(redraw=np.bool_(False)))
        if isinstance(m.origin.redraw, tuple)
        else m
        for m in members
    ]
