"""Restart policies as data: made, checked, spread over the leaves of a state, and written as JSON."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstm_sched.state import Moments, TrainState

PARTIAL = ("params", "moments", "average")  # components that may be kept in part
MOMENT_OF_FIELD = {
    "mu": "mu",
    "trace": "mu",
    "nu": "nu",
    "nu_max": "nu",
    "count": "count",
}  # optax's to Moments'
FATE_OF_MOMENT = {"mu": "m", "nu": "v", "count": "count", "other": "other moments"}  # columns of a fate table


def keep(
    *, params, moments, step, epoch, order, noise, carry, average, rate, position, monitor, best
) -> TrainState:
    """Make a policy of one keep-fraction per component.

    Every component must be named, so that none is dropped by accident.

    Args:
        params, moments, average: 0 to 1, where 1 keeps all and 0 drops all. `moments` is one fraction, or `Moments`
            with one for each part of the optimizer's state; its `count` is 0 or 1.
        step, epoch, order, noise, carry, rate, position, monitor, best: 0 or 1; `TrainState` says what they are.

    Returns:
        The policy, one fraction per component.

    Raises:
        ValueError: a fraction is outside 0 to 1, or between them where it has to be 0 or 1.
    """
    policy = TrainState(
        params, moments, step, epoch, order, noise, carry, average, rate, position, monitor, best
    )
    check(policy)
    return policy


def check(policy: TrainState) -> None:
    """Raise ValueError naming the first component whose fraction is not allowed."""
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


def spread(policy: TrainState, state: TrainState) -> TrainState:
    """Give every leaf of a state its keep-fraction, as `restart` needs them.

    Spread policies of one learner have the same structure, so they stack into a population.

    Args:
        policy: one fraction per component.
        state: a state of the learner, of arrays or of their shapes.

    Returns:
        The policy with one fraction per leaf of `state`.

    Raises:
        ValueError: a fraction between 0 and 1 meets a leaf that cannot be interpolated.
    """
    check(policy)
    shape_of_weight = {path: leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(state.params)}

    def of_moment(path: tuple, leaf: Any) -> np.float64:
        floating = jnp.issubdtype(leaf.dtype, jnp.floating)
        if not isinstance(policy.moments, Moments):  # one fraction for all: floats are blended, integers kept
            return np.float64(policy.moments if floating or policy.moments == 0 else 1)
        part = moment_of(path, leaf.shape, shape_of_weight)
        fraction = getattr(policy.moments, part)
        _check_fraction(f"moments.{part} at {jax.tree_util.keystr(path)}", fraction, floating)
        return np.float64(fraction)

    def alike(name: str, component: Any) -> Any:
        return jax.tree.map(lambda _: np.float64(getattr(policy, name)), component)

    rest = {name: alike(name, component) for name, component in state._asdict().items() if name != "moments"}
    return TrainState(moments=jax.tree_util.tree_map_with_path(of_moment, state.moments), **rest)


def moment_of(path: tuple, shape: tuple[int, ...], shape_of_weight: dict[tuple, tuple[int, ...]]) -> str:
    """Find which field of `Moments` a leaf of an optimizer's state belongs to.

    The innermost optax field name on its path decides: `trace` is a first moment, `nu_max` a second. A leaf that
    stands for a weight ends with the weight's own path, whose names are not optax's and do not count.

    Args:
        path: the leaf's path in the optimizer's state.
        shape: the leaf's shape.
        shape_of_weight: the shape of each weight by its path.

    Returns:
        `mu`, `nu`, `count` or `other`.
    """
    tails = (len(w) for w, s in shape_of_weight.items() if path[len(path) - len(w) :] == w and s == shape)
    optax_path = path[: len(path) - max(tails, default=0)]
    names = [key.name for key in optax_path if isinstance(key, jax.tree_util.GetAttrKey)]
    return next((MOMENT_OF_FIELD[name] for name in reversed(names) if name in MOMENT_OF_FIELD), "other")


def to_dict(policy: TrainState) -> dict[str, Any]:
    """Write a policy as a dict of fractions by name, ready for JSON."""
    moments = policy.moments._asdict() if isinstance(policy.moments, Moments) else policy.moments
    return policy._asdict() | {"moments": moments}


def from_dict(fractions: dict[str, Any]) -> TrainState:
    """Read what `to_dict` wrote. Raises TypeError where a component is missing or unknown."""
    moments = fractions.get("moments")
    return keep(**(fractions | {"moments": Moments(**moments) if isinstance(moments, dict) else moments}))


def fates(policy: TrainState) -> dict[str, Any]:
    """The keep-fraction per column of a fate table, in which each part of `moments` has its own column."""
    moments = policy.moments if isinstance(policy.moments, Moments) else Moments(*[policy.moments] * 4)
    rest = policy._asdict()
    del rest["params"], rest["moments"]
    parts = {FATE_OF_MOMENT[name]: fraction for name, fraction in moments._asdict().items()}
    return {"weights": policy.params, **parts, **rest}


def mark(fraction: float) -> str:
    """✓ for kept, ✗ for dropped, or the fraction that is kept."""
    return "✗" if fraction == 0 else "✓" if fraction == 1 else f"{fraction:g}"
