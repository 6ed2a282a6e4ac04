"""Is n epochs the same as n in two calls? For anybody's test suite."""

import copy
from collections.abc import Callable
from typing import Any

import jax

from lstm_sched.auditing.audit import audit, describe, seen
from lstm_sched.auditing.components import components
from lstm_sched.auditing.fate import differing, distance
from lstm_sched.auditing.leaves import leaves

Train = Callable[[Any, int], Any]


def assert_resumable(train: Train, state: Any, n: int = 10, split: int = 5) -> None:
    """AssertionError unless `train(state, n)` is `train(train(state, split), n - split)`, bit for bit.

    train   a user's own `train(state, epochs) -> state`; it may change the state that it is given, which is a copy
    state   its first state, as `snapshot.leaves` takes trees; what it leaves out cannot be carried by anybody

    The message names the first leaf that differs and the largest ULP distance, then what explains it. A component is
    dropped by `train` where replacing it in the state after `split` epochs by its first value changes no bit of what
    comes out. What is made inside `train` and never returned (a generator, a schedule, an optimizer) cannot be seen: if
    nothing in the state is dropped, the message says so. Two equal calls that differ are told apart from both.
    """
    if not 0 < split < n:
        raise ValueError(f"split: {split}; allowed: 1 to {n - 1}, less than n")
    whole = _run(train, state, n)
    middle = _run(train, state, split)
    parts = _run(train, middle, n - split)
    difference = _difference(whole, parts)
    if not difference:
        return
    again = _difference(whole, _run(train, state, n))
    if again:
        why = "Two equal calls differ too: train depends on something outside its state (a global, an unseeded stream)."
    else:
        why = _explain(train, state, middle, parts, n - split)
    raise AssertionError(f"{n} epochs are not {split} + {n - split}: {difference}\n{why}")


def _run(train: Train, state: Any, epochs: int) -> Any:
    return copy.deepcopy(train(copy.deepcopy(state), epochs))


def _difference(a: Any, b: Any) -> str:
    """The first leaf in which two states differ, and by how much; empty where they are the same."""
    one, other = ({leaf.name: leaf for leaf in leaves(tree)} for tree in (a, b))
    if one.keys() != other.keys():
        return f"{sorted(one.keys() ^ other.keys())[0] or 'the state'} is in one of the two states only."
    moved = [(one[name], other[name]) for name in one if differing(one[name], other[name]).any()]
    if not moved:
        return ""
    first = moved[0]
    count, of = int(differing(*first).sum()), first[0].value.size
    far = [d for pair in moved if (d := distance(*pair)) is not None]
    by = f", floats by up to {max(far):,} ulp" if far else ""
    return (
        f"{first[0].name or 'the state'} is the first of {len(moved)} leaves that differ, out of {len(one)} "
        f"({count} of its {of} numbers{by})."
    )


def _explain(train: Train, state: Any, middle: Any, parts: Any, epochs: int) -> str:
    """Replace each component of the middle state by its first value: what comes out the same was not read."""
    rows = audit(state, middle, state).rows
    moved = [r.component for r in rows if r.differing and r.component not in ("log", "clock", "selected")]
    unread = [c for c in moved if not _difference(_run(train, _reset(state, middle, c), epochs), parts)]
    if not unread:
        held = ", ".join(dict.fromkeys(components(leaves(middle))))
        return (
            f"Each component that its state holds ({held}) is read, so what is lost is not in it, but made anew "
            "at each call (an optimizer, a schedule, a shuffle or dropout stream), or train changes what it is given. "
            + _idle(train, state, middle)
        )
    kept = {c: 0.0 if c in unread else 1.0 for c in moved}
    lost = f"train never reads {', '.join(unread)} of the state that it is given"
    return f"{lost}: with the first values in place of them it returns the same bits. {describe(kept)}"


def _idle(train: Train, state: Any, middle: Any) -> str:
    """What no epochs at all do to the middle state, where train allows them."""
    try:
        idle = _run(train, middle, 0)
    except Exception as error:  # whatever a user's code raises is part of the answer
        return f"train(state, 0), which might show it, raises {type(error).__name__}: {error}"
    if not _difference(middle, idle):
        return "train(state, 0) changes nothing."
    return f"Already train(state, 0) changes it. {describe(seen(audit(middle, idle, state).rows))}"


def _reset(state: Any, middle: Any, component: str) -> Any:
    """The middle state with one component as it was first; zeros where it did not exist yet."""
    first = {jax.tree_util.keystr(p): x for p, x in jax.tree_util.tree_leaves_with_path(state)}
    paths, treedef = jax.tree_util.tree_flatten_with_path(middle)
    kinds = components(leaves(middle))
    replaced = [
        (first[name] if (name := jax.tree_util.keystr(path)) in first else leaf * 0)
        if kind == component
        else leaf
        for (path, leaf), kind in zip(paths, kinds, strict=True)
    ]
    return jax.tree_util.tree_unflatten(treedef, replaced)
