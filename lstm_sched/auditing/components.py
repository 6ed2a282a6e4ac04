"""Which component of a training each array of a state belongs to, by the names on its path.

Names are those of `TrainState`, optax, PyTorch, Keras and of hand-written loops. Inside an optimizer the innermost
known name decides, as in `fractions.moment_of`; outside, the outermost.
"""

from collections.abc import Sequence

from lstm_sched.auditing.leaves import Leaf
from lstm_sched.policy import FATE_OF_MOMENT, MOMENT_OF_FIELD

# Column of a fate table that a component belongs to, where it has another name; None for those no policy
# touches.
COLUMN = {
    "schedule clock": "step",
    "accumulator": "other moments",
    "schedule-free": "other moments",
    "clock": None,
    "log": None,
    "selected": None,
    "unknown": None,
}
_WEIGHTS = {
    *("params", "weights", "model", "model_state_dict", "net", "network", "variables", "batch_stats"),
}
_OPTIMIZER = {
    *(
        "moments",
        "opt",
        "optim",
        "optimizer",
        "opt_state",
        "optimizer_state",
        "optimizer_state_dict",
        "optstate",
    ),
    *("inner_state", "inner_states", "inner_opt_state", "base_optimizer_state", "hyperparams_states"),
}
_INNER = {
    **{name: FATE_OF_MOMENT[part] for name, part in MOMENT_OF_FIELD.items()},
    **dict.fromkeys(("m", "exp_avg", "momentum_buffer", "momentum"), "m"),
    **dict.fromkeys(("v", "exp_avg_sq", "max_exp_avg_sq", "velocity"), "v"),
    **dict.fromkeys(("step", "t", "iteration", "iterations"), "count"),
    **dict.fromkeys(("hyperparams", "param_groups", "learning_rate", "lr", "scale"), "rate"),
    **dict.fromkeys(("acc_grads", "mini_step", "gradient_step"), "accumulator"),
    **dict.fromkeys(("z", "weight_sum", "step_count", "max_lr"), "schedule-free"),
    **dict.fromkeys(("best_value", "plateau_count", "cooldown_count", "avg_value"), "monitor"),
}
_OUTER = {
    **dict.fromkeys(("scheduler", "lr_scheduler", "schedule", "schedule_count"), "schedule clock"),
    **dict.fromkeys(("steps", "global_step", "num_updates", "updates"), "step"),
    **dict.fromkeys(("epoch", "epochs"), "epoch"),
    **dict.fromkeys(("order", "shuffle", "permutation", "perm", "rng", "key", "seed", "rng_state"), "order"),
    **dict.fromkeys(("sampler", "loader", "generator", "bit_generator", "rng_key"), "order"),
    **dict.fromkeys(("noise", "dropout", "dropout_key", "dropout_rng"), "noise"),
    "carry": "carry",
    **dict.fromkeys(("average", "ema", "ema_params", "swa"), "average"),
    "rate": "rate",
    "position": "position",
    **dict.fromkeys(("monitor", "patience", "wait", "cooldown", "early_stopping", "plateau"), "monitor"),
    **dict.fromkeys(("best", "best_params", "best_weights"), "best"),
    **dict.fromkeys(("clock",), "clock"),
    **dict.fromkeys(("log", "loss", "history"), "log"),
    "selected": "selected",
}
_BESIDE_A_CLOCK = {"hyperparams", "hyperparams_states", "inner_state", "learning_rate"}


def weight_path(leaf: Leaf) -> tuple[str, ...] | None:
    """The path of a weight inside the tree of weights; None for any other leaf."""
    for i, word in enumerate(map(str.lower, leaf.words)):
        if word in _WEIGHTS:
            return leaf.words[i + 1 :]
        if word in _OPTIMIZER or word in _INNER or word in _OUTER:
            return None
    return None


def weight_of(leaf: Leaf, weights: dict[tuple[str, ...], tuple[int, ...]]) -> tuple[str, ...] | None:
    """The weight that a leaf stands for: the longest one whose path ends the leaf's, of the leaf's shape."""
    ends = [leaf.words[i:] for i in range(len(leaf.words))]
    return next((end for end in ends if weights.get(end) == leaf.value.shape), None)


def components(leaves: Sequence[Leaf]) -> list[str]:
    """The component of each leaf: a column of `policies.fate_table`, or a key of COLUMN.

    A count beside no moment is a schedule's clock. Floating arrays of unknown names are weights (a bare state_dict);
    keys of unknown names are the order; other unknown arrays are left out of every comparison with a policy.
    """
    paths = [weight_path(leaf) for leaf in leaves]
    weights = {p: leaf.value.shape for p, leaf in zip(paths, leaves, strict=True) if p is not None}
    known = {word.lower() for leaf in leaves for word in leaf.words}
    keras = bool(known & {"iteration", "iterations"})
    return [
        "weights" if path is not None else _other(leaf, leaves, weights, keras)
        for path, leaf in zip(paths, leaves, strict=True)
    ]


def _other(leaf: Leaf, leaves: Sequence[Leaf], weights: dict, keras: bool) -> str:
    own = len(weight_of(leaf, weights) or ())
    path = tuple(word.lower() for word in leaf.words[: len(leaf.words) - own])
    inside = any(word in _OPTIMIZER for word in path)
    for i, word in enumerate(path):
        if not inside and word in _OUTER and not any(w in _INNER for w in path[:i]):
            return _OUTER[word]
    if {"hyperparams", "param_groups"} & set(path):
        return "rate"
    for i in reversed(range(len(path))):
        part = _inner(path[i], keras)
        if part == "count":
            return _clock(path[:i], path[i], leaves, inside)
        if part is not None:
            return part
    if inside:
        return "other moments"
    if leaf.key:
        return "order"
    return "weights" if leaf.value.dtype.kind in "fV" else "unknown"


def _inner(word: str, keras: bool) -> str | None:
    """Keras ends the name of a slot with its kind: `lstm_kernel_momentum`, formerly `kernel_m`."""
    ending = word.rpartition("_")[2] if "_" in word else ""
    if word in _INNER:
        return _INNER[word]
    return _INNER[ending] if ending in ("momentum", "velocity") or (keras and ending in ("m", "v")) else None


def _clock(node: tuple[str, ...], name: str, leaves: Sequence[Leaf], inside: bool) -> str:
    """What a counter called `name` counts, from what lies beside it in its node of the tree."""
    beside = {
        leaf.words[len(node)].lower()
        for leaf in leaves
        if len(leaf.words) > len(node) and tuple(w.lower() for w in leaf.words[: len(node)]) == node
    } - {name}
    if "plateau_count" in beside:
        return "monitor"
    if any(_inner(word, keras=True) in ("m", "v") for word in beside):
        return "count"
    if not inside and name != "count":
        return "step"
    return "schedule clock" if beside <= _BESIDE_A_CLOCK else "count"
