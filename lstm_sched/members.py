"""One training as data: its parts (a member of a population), and its progress from epoch to epoch.

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
    """How a recurrent state that is carried from batch to batch passes epochs and validation.

    Keras on TensorFlow has reset=False and through=True; on JAX it carries no state.

    Attributes:
        reset: whether the state is zeroed before each epoch.
        through: whether it runs through validation into the next epoch; otherwise validation begins at zero.
    """

    reset: Any
    through: Any


class Hyper(NamedTuple):
    """Traced hyper-parameters, in which members of a population may differ without recompiling.

    All but the first are `()` unless the learner uses them.

    Attributes:
        rates_S: learning rate of every step of the run, read at `state.step`.
        watch: a Watch, the per-epoch rules; for `learner.watched`.
        average: momentum of the average that replaces the weights when a fit ends; for `learner.averaged`.
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
        hp: hyper-parameters.
        policy: one keep-fraction per leaf of the state, applied at each boundary.
        when: the rule that says before which epochs a boundary falls (`rules`).
        origin: the start of the run, to which a boundary returns what it drops.
        ends: the rule that says after which epochs a fit ends (`rules.ends`); `()` where an end does nothing.
        within: the rule that says after which steps a boundary falls as well; `()` for none.
    """

    hp: Hyper
    policy: TrainState
    when: Partial
    origin: Origin
    ends: Partial | tuple[()] = ()
    within: Partial | tuple[()] = ()


class Instant(NamedTuple):
    """The input of a rule on steps, made after each step."""

    clock: Any  # steps of the run so far; no policy touches it
    state: TrainState
    grads: Params  # from which the step was made
    updates: Params  # what it added to the weights


class Log(NamedTuple):
    """The report of one epoch; losses are in units of the learner's loss."""

    loss: Any  # mean over the training samples, each taken before its update
    val: Any  # mean over the validation samples, after the epoch
    rate: Any  # learning rate of its last step
    boundary: Any  # how many boundaries fell before it and in it
    due: Any  # whether a rule on steps asks for a boundary before the next step
    trained: Any  # False once a fit has stopped: the other values are then those of the last trained epoch


class Selected(NamedTuple):
    """The weights at the lowest validation loss so far; `epoch` counts from 1, and is 0 before the first."""

    params: Params
    val: Any
    epoch: Any


class Progress(NamedTuple):
    """The values that a run carries from epoch to epoch. A policy touches the state alone.

    Attributes:
        state: all that changes while training.
        clock: how many epochs have been run.
        log: the log of the last epoch.
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
        hp: learning rates, and those other hyper-parameters that the learner uses.
        policy: one keep-fraction per component, such as `POLICIES["keras_loop"]`; it is spread over the leaves.
        when, ends, within: rules, as in `Member`.
        origin: what the training starts from.

    Returns:
        The member, for `run` or, stacked with others, for a population.

    Raises:
        ValueError: `hp` lacks a value that the learner uses, has one that it does not use or allow;
            the origin's weights do not have the learner's shapes; or a fraction of the policy is not allowed.
    """
    _check_hyper(learner, hp)
    _check_weights(learner, origin)
    shapes = _begin.eval_shape(learner, origin.key, origin.params)
    return Member(hp, spread(policy, shapes), when, origin, ends, within)


# jit, so that they are traced once per learner and not once per member.
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
    """Raise ValueError for weights of other shapes than those that the learner draws."""
    drawn, given = (
        {jax.tree_util.keystr(path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
        for params in (_init_params.eval_shape(learner, origin.key), origin.params)
    )
    for name in drawn | given:
        shape, allowed = given.get(name), drawn.get(name)
        if shape != allowed:
            raise ValueError(f"origin.params{name}: shape {shape}; allowed: {allowed}, as the learner has it")


def align_redraw(members: Sequence[Member]) -> list[Member]:
    """Give members one structure: if some have a boolean `redraw`, the others get False in place of `()`."""
    if all(isinstance(m.origin.redraw, tuple) for m in members):
        return list(members)
    return [
        m._replace(origin=m.origin._replace(redraw=np.bool_(False)))
        if isinstance(m.origin.redraw, tuple)
        else m
        for m in members
    ]
