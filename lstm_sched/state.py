"""All that changes while training, and what a boundary between two fits does to it.

A restart policy has the type of the state and holds a keep-fraction for each component: 1 keeps it, 0 takes it
from a fresh state, and for params, moments and average a value between interpolates.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from lstm_sched.learner import Learner, Params


class TrainState(NamedTuple):
    """One pytree of arrays. A component that a configuration does not use is `()`."""

    params: Any  # weights
    moments: Any  # optax state: first and second moments and the count that corrects their bias
    step: Any  # updates so far: the clock of per-step schedules
    epoch: Any  # epochs so far: the clock of per-epoch rules
    order: Any  # stream of permutations
    noise: Any  # stream of dropout and input noise
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


class Origin(NamedTuple):
    """What a run started from, and so what a boundary returns to.

    redraw   fresh weights are a new draw from key and boundary number, not the run's first ones
    reseed   fresh streams differ from boundary to boundary, instead of returning to the same key
    """

    key: Array
    params: Params
    redraw: Any
    reseed: Any


PARTIAL = ("params", "moments", "average")  # components that may be kept in part
_MOMENT = {"mu": "mu", "trace": "mu", "nu": "nu", "nu_max": "nu", "count": "count"}


def keep(
    *, params, moments, step, epoch, order, noise, carry, average, rate, position, monitor, best
) -> TrainState:
    """A policy: one keep-fraction a component, all named; `moments` is one fraction or `Moments`.

    Raises ValueError for a fraction outside [0, 1], or between 0 and 1 where a component is kept or not.
    """
    policy = TrainState(
        params, moments, step, epoch, order, noise, carry, average, rate, position, monitor, best
    )
    check(policy)
    return policy


def check(policy: TrainState) -> None:
    """ValueError naming the first component whose fraction is not allowed."""
    for name, value in policy._asdict().items():
        parts = value._asdict() if isinstance(value, Moments) else {"": value}
        for part, fraction in parts.items():
            between = name in PARTIAL and part != "count"
            _check_fraction(f"{name}.{part}".rstrip("."), fraction, between)


def _check_fraction(field: str, fraction: Any, between: bool) -> None:
    allowed = "0 to 1" if between else "0 or 1"
    if not isinstance(fraction, int | float | np.number) or not 0 <= fraction <= 1:
        raise ValueError(f"policy {field}: {fraction!r}; allowed: {allowed}")
    if not between and fraction not in (0, 1):
        raise ValueError(f"policy {field}: {fraction!r}; allowed: {allowed} (it cannot be kept in part)")


def moment_of(path: tuple, shape: tuple[int, ...], weights: dict[tuple, tuple[int, ...]]) -> str:
    """Which of Moments' fields an optimizer leaf belongs to, from its path and shape.

    The innermost optax field name on the path decides (`trace` is a first moment, `nu_max` a second). A leaf that
    stands for a weight ends with the weight's own path, whose names are not optax's: `weights` maps such paths
    to shapes.
    """
    own = max((len(w) for w in weights if path[len(path) - len(w) :] == w and weights[w] == shape), default=0)
    names = [k.name for k in path[: len(path) - own] if isinstance(k, jax.tree_util.GetAttrKey)]
    return next((_MOMENT[name] for name in reversed(names) if name in _MOMENT), "other")


def spread(policy: TrainState, state: TrainState) -> TrainState:
    """The policy with one fraction for every leaf of `state` (arrays or shapes): what `restart` takes.

    Spread policies of one learner have the same structure, so they stack into a population. Raises ValueError where a
    fraction between 0 and 1 meets a leaf that cannot be interpolated.
    """
    check(policy)
    weights = {path: leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(state.params)}

    def of_moment(path: tuple, leaf: Any) -> np.float64:
        if not isinstance(policy.moments, Moments):  # one fraction: blends what floats, keeps the integers
            whole = 0 < policy.moments < 1 and not jnp.issubdtype(leaf.dtype, jnp.floating)
            return np.float64(1 if whole else policy.moments)
        part = moment_of(path, leaf.shape, weights)
        fraction = getattr(policy.moments, part)
        floating = jnp.issubdtype(leaf.dtype, jnp.floating)
        _check_fraction(f"moments.{part} at {jax.tree_util.keystr(path)}", fraction, floating)
        return np.float64(fraction)

    def alike(fraction: float, component: Any) -> Any:
        return jax.tree.map(lambda _: np.float64(fraction), component)

    rest = {name: alike(getattr(policy, name), c) for name, c in state._asdict().items() if name != "moments"}
    return TrainState(moments=jax.tree_util.tree_map_with_path(of_moment, state.moments), **rest)


def draw(learner: Learner, key: Array, number: Any = 0) -> Params:
    """New weights for boundary `number` of the run that `key` belongs to; 0 is its beginning."""
    weights, _, _ = jax.random.split(key, 3)
    return learner.init(jax.random.fold_in(weights, number))


def begin(learner: Learner, key: Array, params: Params, number: Any = 0) -> TrainState:
    """The state of a run that has made no step, built around `params`; its streams start from key and number."""
    _, order, noise = jax.random.split(key, 3)
    zero = jnp.zeros((), jnp.int32)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        moments = learner.optimizer(0.0).init(params)
    return TrainState(
        params=params,
        moments=moments,
        step=zero,
        epoch=zero,
        order=learner.order.begin(jax.random.fold_in(order, number)),
        noise=jax.random.fold_in(noise, number) if learner.noisy else (),
        carry=(),
        average=(),
        rate=(),
        position=(),
        monitor=(),
        best=(),
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
    fresh_params = jax.lax.cond(
        origin.redraw, lambda: draw(learner, origin.key, number), lambda: origin.params
    )
    params = mix(policy.params, state.params, fresh_params)
    fresh = begin(learner, origin.key, params, jnp.where(origin.reseed, number, 0))
    rest = mix(policy._replace(params=()), state._replace(params=()), fresh._replace(params=()))
    return rest._replace(params=params)


def to_dict(policy: TrainState) -> dict[str, Any]:
    """A policy by name, as JSON takes it."""
    moments = policy.moments._asdict() if isinstance(policy.moments, Moments) else policy.moments
    return policy._asdict() | {"moments": moments}


def from_dict(fractions: dict[str, Any]) -> TrainState:
    """The inverse of `to_dict`; TypeError where a component is missing or unknown."""
    moments = fractions.get("moments")
    return keep(**(fractions | {"moments": Moments(**moments) if isinstance(moments, dict) else moments}))
