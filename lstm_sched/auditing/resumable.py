"""A check for test suites of any framework: training n epochs in two calls gives the same bits as in one."""

import copy
from collections.abc import Callable
from typing import Any

from jax.tree_util import keystr, tree_flatten_with_path, tree_leaves_with_path, tree_unflatten

from lstm_sched.auditing.audit import audit, describe, seen
from lstm_sched.auditing.components import components
from lstm_sched.auditing.fate import differing, distance
from lstm_sched.auditing.leaves import leaves

Train = Callable[[Any, int], Any]


def assert_resumable(train: Train, state: Any, n: int = 10, split: int = 5) -> None:
    """Assert that `train(state, n)` equals `train(train(state, split), n - split)`, bit for bit.

    It works for a loop of any framework. With PyTorch, a state is `{"model": model.state_dict(), "optimizer":
    optimizer.state_dict()}`; with Keras, the variables by name, `{v.path: np.array(v) for v in
    model.optimizer.variables}`, since only names distinguish m from v.

        >>> import numpy as np, lstm_sched as ls
        >>> def train(state, epochs):
        ...     w, momentum = state["w"], state["momentum"]
        ...     for _ in range(epochs):
        ...         momentum = 0.9 * momentum + w
        ...         w = w - 0.1 * momentum
        ...     return {"w": w, "momentum": momentum}
        >>> ls.assert_resumable(train, {"w": np.ones(3), "momentum": np.zeros(3)}, n=4, split=2)

    Args:
        train: your own `train(state, epochs) -> state`. It may change the state that it is given, which is a copy.
        state: its first state, a tree of arrays, numbers, keys and text. It must hold all that is carried on.
        n: epochs in all.
        split: epochs in the first of the two calls, 1 to n − 1.

    Raises:
        AssertionError: the states differ. The message names the first leaf that differs and the largest distance in
            ulp, then the cause: `train` drops a component if the result is the same, bit for bit, with its
            first value in the state after `split` epochs. If `train` makes a generator, schedule or
            optimizer and never returns it, the message can only say so; likewise if two equal calls differ.
        ValueError: `split` is not between 1 and n − 1.
    """
    if not 0 < split < n:
        raise ValueError(f"split: {split}; allowed: 1 to {n - 1}, less than n")
    whole = _run(train, state, n)
    middle = _run(train, state, split)
    parts = _run(train, middle, n - split)
    difference = _difference(whole, parts)
    if not difference:
        return
    if _difference(whole, _run(train, state, n)):
        why = "Two equal calls differ too: train depends on something outside its state (a global, an unseeded stream)."
    else:
        why = _explain(train, state, middle, parts, n - split)
    raise AssertionError(f"{n} epochs are not {split} + {n - split}: {difference}\n{why}")


def _run(train: Train, state: Any, epochs: int) -> Any:
    return copy.deepcopy(train(copy.deepcopy(state), epochs))


def _difference(a: Any, b: Any) -> str:
    """A sentence on the first leaf in which two states differ, and how much; empty if they are the same."""
    leaves_a, leaves_b = ({leaf.name: leaf for leaf in leaves(tree)} for tree in (a, b))
    if leaves_a.keys() != leaves_b.keys():
        name = sorted(leaves_a.keys() ^ leaves_b.keys())[0] or "the state"
        return f"{name} is in one of the two states only."
    pairs = [(leaf, leaves_b[name]) for name, leaf in leaves_a.items()]
    moved = [pair for pair in pairs if differing(*pair).any()]
    if not moved:
        return ""
    first = moved[0][0]
    distances = [d for pair in moved if (d := distance(*pair)) is not None]
    by = f", floats by up to {max(distances):,} ulp" if distances else ""
    return (
        f"{first.name or 'the state'} is the first of {len(moved)} leaves that differ, out of {len(pairs)} "
        f"({int(differing(*moved[0]).sum())} of its {first.value.size} numbers{by})."
    )


def _explain(train: Train, state: Any, middle: Any, parts: Any, epochs: int) -> str:
    """Replace each component of the middle state by its first value: if nothing changes, it was not read."""
    rows = audit(state, middle, state).rows
    moved = [r.component for r in rows if r.differing and r.component not in ("log", "clock", "selected")]
    unread = [c for c in moved if not _difference(_run(train, _reset(state, middle, c), epochs), parts)]
    if not unread:
        held = ", ".join(dict.fromkeys(components(leaves(middle))))
        return (
            f"train reads each component that its state holds ({held}). So it loses something that the state does not "
            "hold and each call makes again (an optimizer, a schedule, a shuffle or dropout stream), or it changes "
            f"what it is given. {_idle(train, state, middle)}"
        )
    kept = {c: 0.0 if c in unread else 1.0 for c in moved}
    lost = f"train never reads {', '.join(unread)} of the state that it is given"
    return f"{lost}: with the first values in place of them it returns the same bits. {describe(kept)}"


def _idle(train: Train, state: Any, middle: Any) -> str:
    """A sentence on how training for 0 epochs changes the middle state, if `train` allows that."""
    try:
        idle = _run(train, middle, 0)
    except Exception as error:  # whatever a user's code raises is part of the answer
        return f"train(state, 0), which might show it, raises {type(error).__name__}: {error}"
    if not _difference(middle, idle):
        return "train(state, 0) changes nothing."
    return f"Already train(state, 0) changes it. {describe(seen(audit(middle, idle, state).rows))}"


def _reset(state: Any, middle: Any, component: str) -> Any:
    """The middle state with one component reset to its first values, or to zeros if it had none."""
    first = {keystr(path): leaf for path, leaf in tree_leaves_with_path(state)}
    paths, treedef = tree_flatten_with_path(middle)
    replaced = [
        leaf if of != component else first[keystr(path)] if keystr(path) in first else leaf * 0
        for (path, leaf), of in zip(paths, components(leaves(middle)), strict=True)
    ]
    return tree_unflatten(treedef, replaced)
