"""A restart policy as data: keep-fractions by component, checked, spread over the leaves of a state, written as JSON.

A policy has the type of the state and holds a keep-fraction for each component: 1 keeps it, 0 takes it from a
fresh state, and for params, moments and average a value between interpolates.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstm_sched.state import Moments, TrainState

FATE_OF_MOMENT = {"mu": "m", "nu": "v", "count": "count", "other": "other moments"}  # rows of a fate table


def fates(policy: TrainState) -> dict[str, Any]:
    """Keep-fraction of every component, the optimizer's parts apart: the row of a fate table."""
    moments = policy.moments if isinstance(policy.moments, Moments) else Moments(*[policy.moments] * 4)
    rest = policy._asdict()
    del rest["params"], rest["moments"]
    parts = {FATE_OF_MOMENT[name]: fraction for name, fraction in moments._asdict().items()}
    return {"weights": policy.params, **parts, **rest}


def mark(fraction: float) -> str:
    """✓ kept, ✗ dropped, or the fraction that is kept."""
    return "✗" if fraction == 0 else "✓" if fraction == 1 else f"{fraction:g}"


PARTIAL = ("params", "moments", "average")  # components that may be kept in part
# Fields of optax's states, and those of Moments that they are.
MOMENT = {"mu": "mu", "trace": "mu", "nu": "nu", "nu_max": "nu", "count": "count"}


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
    return next((MOMENT[name] for name in reversed(names) if name in MOMENT), "other")


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


def to_dict(policy: TrainState) -> dict[str, Any]:
    """A policy by name, as JSON takes it."""
    moments = policy.moments._asdict() if isinstance(policy.moments, Moments) else policy.moments
    return policy._asdict() | {"moments": moments}


def from_dict(fractions: dict[str, Any]) -> TrainState:
    """The inverse of `to_dict`; TypeError where a component is missing or unknown."""
    moments = fractions.get("moments")
    return keep(**(fractions | {"moments": Moments(**moments) if isinstance(moments, dict) else moments}))
