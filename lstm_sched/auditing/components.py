"""The component of a training to which each array of a state belongs, found by the names on its path.

Known names are those of `TrainState`, optax, PyTorch, Keras and hand-written loops. Inside an optimizer the
innermost known name decides, as in `policy.moment_of`; elsewhere the outermost one does.
"""

from collections.abc import Mapping, Sequence

from lstm_sched.auditing.leaves import Leaf
from lstm_sched.policy import FATE_OF_MOMENT, MOMENT_OF_FIELD

COLUMN = {
    "schedule clock": "step",
    "accumulator": "other moments",
    "schedule-free": "other moments",
    "clock": None,
    "log": None,
    "selected": None,
    "unknown": None,
}
"""The fate table's column for components that have another name there; None if no policy touches them."""


def _by_name(names_of: Mapping[str, str]) -> dict[str, str]:
    return {name: component for component, names in names_of.items() for name in names.split()}


_TREE = _by_name(
    {
        "weights": "params weights model model_state_dict net network variables batch_stats",
        "optimizer": "moments opt optim optimizer opt_state optimizer_state optimizer_state_dict optstate inner_state "
        "inner_states inner_opt_state base_optimizer_state hyperparams_states",
    }
)
_INNER = {field: FATE_OF_MOMENT[part] for field, part in MOMENT_OF_FIELD.items()} | _by_name(
    {
        "m": "m exp_avg momentum_buffer momentum",
        "v": "v exp_avg_sq max_exp_avg_sq velocity",
        "count": "step t iteration iterations",
        "rate": "hyperparams param_groups learning_rate lr scale",
        "accumulator": "acc_grads mini_step gradient_step",
        "schedule-free": "z weight_sum step_count max_lr",
        "monitor": "best_value plateau_count cooldown_count avg_value",
    }
)
_OUTER = _by_name(
    {
        "schedule clock": "scheduler lr_scheduler schedule schedule_count",
        "step": "steps global_step num_updates updates",
        "epoch": "epoch epochs",
        "order": "order shuffle permutation perm rng key seed rng_state sampler loader generator bit_generator rng_key",
        "noise": "noise dropout dropout_key dropout_rng",
        "carry": "carry",
        "average": "average ema ema_params swa",
        "rate": "rate",
        "position": "position",
        "monitor": "monitor patience wait cooldown early_stopping plateau",
        "best": "best best_params best_weights",
        "clock": "clock",
        "log": "log loss history",
        "selected": "selected",
    }
)
_NEXT_TO_A_CLOCK = {"hyperparams", "hyperparams_states", "inner_state", "learning_rate"}


def weight_path(leaf: Leaf) -> tuple[str, ...] | None:
    """The path of a weight inside the tree of weights; None for any other leaf."""
    for i, name in enumerate(map(str.lower, leaf.path)):
        if _TREE.get(name) == "weights":
            return leaf.path[i + 1 :]
        if name in _TREE or name in _INNER or name in _OUTER:
            return None
    return None


def weight_of(leaf: Leaf, shapes: Mapping[tuple[str, ...], tuple[int, ...]]) -> tuple[str, ...] | None:
    """The path of the weight that a leaf belongs to: the longest that ends the leaf's path, of its shape."""
    ends = [leaf.path[i:] for i in range(len(leaf.path))]
    return next((end for end in ends if shapes.get(end) == leaf.value.shape), None)


def components(leaves: Sequence[Leaf]) -> list[str]:
    """Name the component of each leaf: a column of a fate table, or a key of COLUMN.

    A count without moments next to it is a schedule's clock. Floating arrays of unknown names are weights (a bare
    state_dict); keys of unknown names are the order; other unknown arrays are left out of every comparison with a
    policy.
    """
    paths = [weight_path(leaf) for leaf in leaves]
    shapes = {p: leaf.value.shape for p, leaf in zip(paths, leaves, strict=True) if p is not None}
    keras = any(name.lower() in ("iteration", "iterations") for leaf in leaves for name in leaf.path)
    return [
        "weights" if path is not None else _component(leaf, leaves, shapes, keras)
        for path, leaf in zip(paths, leaves, strict=True)
    ]


def _component(leaf: Leaf, leaves: Sequence[Leaf], shapes: Mapping, keras: bool) -> str:
    """The component of a leaf that is not a weight."""
    of_weight = len(weight_of(leaf, shapes) or ())
    path = tuple(name.lower() for name in leaf.path[: len(leaf.path) - of_weight])
    inside = any(_TREE.get(name) == "optimizer" for name in path)
    for i, name in enumerate(path):
        if not inside and name in _OUTER and not any(outer in _INNER for outer in path[:i]):
            return _OUTER[name]
    if {"hyperparams", "param_groups"} & set(path):
        return "rate"
    for i in reversed(range(len(path))):
        part = _inner(path[i], keras)
        if part == "count":
            return _counter(path[:i], path[i], leaves, inside)
        if part is not None:
            return part
    if inside:
        return "other moments"
    if leaf.key:
        return "order"
    return "weights" if leaf.value.dtype.kind in "fV" else "unknown"


def _inner(name: str, keras: bool) -> str | None:
    """The part of an optimizer that a name means. Keras' names end with it: `lstm_kernel_momentum`."""
    if name in _INNER:
        return _INNER[name]
    ending = name.rpartition("_")[2] if "_" in name else ""
    return _INNER[ending] if ending in ("momentum", "velocity") or (keras and ending in ("m", "v")) else None


def _counter(node: tuple[str, ...], name: str, leaves: Sequence[Leaf], inside: bool) -> str:
    """The component of the counter `name`, decided by its siblings in the tree."""
    paths = [tuple(map(str.lower, leaf.path)) for leaf in leaves]
    siblings = {path[len(node)] for path in paths if len(path) > len(node) and path[: len(node)] == node} - {
        name
    }
    if "plateau_count" in siblings:
        return "monitor"
    if any(_inner(sibling, keras=True) in ("m", "v") for sibling in siblings):
        return "count"
    if not inside and name != "count":
        return "step"
    return "schedule clock" if siblings <= _NEXT_TO_A_CLOCK else "count"
