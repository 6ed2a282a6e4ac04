"""What became of one component of a training between two states: a row of an audit.

Shapes: N numbers of all leaves of a component, one after another.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from lstm_sched.auditing.leaves import Leaf

# How many representable numbers lie between two.


NO_DISTANCE = np.iinfo(np.uint64).max  # between a number and NaN


def is_float(dtype: np.dtype) -> bool:
    """Whether numbers of this type have a ULP distance: floats of 16, 32 and 64 bits, bfloat16 among them."""
    return dtype in (np.float16, np.float32, np.float64, jnp.bfloat16)


def ulp_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Steps of `np.nextafter` from a to b, elementwise, as uint64; both of one shape and floating type.

    The two zeros are one number, infinity is the step after the largest, NaN is 0 from NaN and NO_DISTANCE from
    every number. TypeError for another type, ValueError where type or shape differ.
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype != b.dtype or a.shape != b.shape:
        raise ValueError(
            f"ulp_distance: {a.dtype}{list(a.shape)} and {b.dtype}{list(b.shape)}; allowed: alike"
        )
    if not is_float(a.dtype):
        raise TypeError(f"ulp_distance: {a.dtype}; allowed: float16, bfloat16, float32, float64")
    x, y = _ordered(a), _ordered(b)
    with np.errstate(over="ignore"):  # the difference may need all 64 bits: unsigned subtraction wraps to it
        steps = np.maximum(x, y).astype(np.uint64) - np.minimum(x, y).astype(np.uint64)
    nan_a, nan_b = np.isnan(a), np.isnan(b)
    return np.where(nan_a & nan_b, np.uint64(0), np.where(nan_a | nan_b, NO_DISTANCE, steps))


def _ordered(x: np.ndarray) -> np.ndarray:
    """Integers in the order of the floats: the bits are sign and magnitude."""
    bits = np.ascontiguousarray(x).reshape(x.shape).view(f"i{x.dtype.itemsize}")
    magnitude = (bits & np.iinfo(bits.dtype).max).astype(np.int64)
    return np.where(bits < 0, -magnitude, magnitude)


FEW = 4  # ulp that a product may be off
NOISY = 0.1  # rms of the rest over rms before, below which a component is perturbed and not changed


class Row(NamedTuple):
    """One component across a boundary."""

    component: str
    fate: str  # kept, reset, gone, re-seeded, scaled, blended, perturbed, partly reset, changed
    fraction: float | None  # what is kept of it, as a policy says it; None where no fraction does
    tells: bool  # False where it still had its initial value, so that keeping and resetting are the same
    differing: int  # numbers that differ in any bit
    numbers: int
    ulp: int | None  # largest distance; None where no floating number differs
    first: str  # first leaf that differs
    note: str = ""


class Pair(NamedTuple):
    """A leaf before and after (None where it is missing there), and the values it may have begun with."""

    before: Leaf | None
    after: Leaf | None
    initial: Sequence[np.ndarray]


def differing(a: Leaf, b: Leaf) -> np.ndarray:
    """Which numbers differ in any bit, flat; all of them where type or shape do."""
    x, y = a.value, b.value
    if x.dtype != y.dtype or x.shape != y.shape:
        return np.ones(max(x.size, y.size), bool)
    old, new = (np.ascontiguousarray(z).reshape(-1, 1).view(np.uint8) for z in (x, y))
    return np.any(old != new, axis=1)


def distance(a: Leaf, b: Leaf) -> int | None:
    """The largest ULP distance of two leaves; None where they are no floating numbers alike."""
    alike = a.value.dtype == b.value.dtype and a.value.shape == b.value.shape
    if not alike or not is_float(a.value.dtype) or not a.value.size:
        return None
    return int(ulp_distance(a.value, b.value).max())


def _begun(leaf: Leaf, pair: Pair) -> bool:
    """It has its initial value."""
    return any(x.shape == leaf.value.shape and bool(np.all(leaf.value == x)) for x in pair.initial)


def _fate(pair: Pair) -> str:
    before, after = pair.before, pair.after
    if before is None or after is None:
        present = after if before is None else before
        assert present is not None
        if before is None:
            return "kept" if _begun(present, pair) else "changed"
        return "gone"
    if not differing(before, after).any():
        return "kept"
    unknown = after.key and not pair.initial  # a stream does not move at a boundary, unless it is begun anew
    return "reset" if unknown or _begun(after, pair) else "changed"


def _size(pair: Pair) -> int:
    return max(leaf.value.size for leaf in pair[:2] if leaf is not None)


def row(component: str, pairs: Sequence[Pair]) -> Row:
    """The fate of a component, from its leaves.

    scaled: one factor fits every number to a few ulp; blended: the same towards the initial value; perturbed: within
    a tenth of it (root mean square) after the best factor; partly reset: some leaves kept, others reset.
    """
    fates = [_fate(pair) for pair in pairs]
    telling = [
        fate
        for fate, pair in zip(fates, pairs, strict=True)
        if fate == "changed" or (pair.before is not None and not _begun(pair.before, pair))
    ]
    both = [(p.before, p.after) for p in pairs if p.before is not None and p.after is not None]
    moved = [p for p, fate in zip(pairs, fates, strict=True) if fate != "kept"]
    distances = [d for a, b in both if differing(a, b).any() and (d := distance(a, b)) is not None]
    count = sum(int(differing(a, b).sum()) for a, b in both)
    count += sum(_size(p) for p in moved if p.before is None or p.after is None)
    fate, fraction, note = _whole(set(telling), pairs)
    return Row(
        component,
        fate,
        fraction,
        tells=bool(telling),
        differing=count,
        numbers=sum(map(_size, pairs)),
        ulp=max(distances, default=None),
        first=next((leaf.name for p in moved if (leaf := p.before or p.after) is not None), ""),
        note=note,
    )


def _whole(fates: set[str], pairs: Sequence[Pair]) -> tuple[str, float | None, str]:
    leaves = [leaf for p in pairs for leaf in p[:2] if leaf is not None]
    if fates <= {"kept"}:
        return "kept", 1.0, "" if fates else "it still had its initial value: this says nothing"
    if all(leaf.key for leaf in leaves) and "gone" not in fates:
        if not all(p.initial for p in pairs):
            return "re-seeded", 0.0, ""
        return "re-seeded", 0.0, "the first key again" if fates == {"reset"} else "another key"
    if fates == {"gone"}:
        return "gone", 0.0, "not there after the boundary"
    if fates <= {"reset", "gone"}:
        return "reset", 0.0, ""
    if fates <= {"kept", "reset", "gone"}:
        return "partly reset", None, ""
    return _moved(pairs)


def _moved(pairs: Sequence[Pair]) -> tuple[str, float | None, str]:
    """Whether after = a·before, towards 0 or the initial value, or that with noise on top."""
    alike = [(p.before, p.after, p.initial) for p in pairs if p.before is not None and p.after is not None]
    same = all(a.value.shape == b.value.shape and a.value.dtype == b.value.dtype for a, b, _ in alike)
    if len(alike) < len(pairs) or not same or not all(is_float(a.value.dtype) for a, _, _ in alike):
        return "changed", None, ""
    before_N, after_N = (
        _flat([leaf.value for leaf in side]) for side in ([a for a, _, _ in alike], [b for _, b, _ in alike])
    )
    if not (np.isfinite(before_N).all() and np.isfinite(after_N).all()):
        return "changed", None, ""
    eps_N = np.concatenate(
        [np.full(a.value.size, float(np.spacing(a.value.dtype.type(1)))) for a, *_ in alike]
    )
    origins = [("scaled", np.zeros_like(before_N))]
    if all(any(x.shape == a.value.shape for x in initial) for a, _, initial in alike):
        origins.append(("blended", _flat([initial[0] for _, _, initial in alike])))
    for fate, origin_N in origins:
        old_N, new_N = before_N - origin_N, after_N - origin_N
        k = np.argmax(np.abs(old_N))
        if not old_N[k]:
            continue
        factor = new_N[k] / old_N[k]
        slack_N = eps_N * np.maximum(np.maximum(np.abs(before_N), np.abs(after_N)), np.abs(origin_N))
        slack_N += slack_N[k] * np.abs(old_N / old_N[k])  # what the factor itself is off
        if factor not in (0, 1) and np.all(np.abs(new_N - factor * old_N) <= FEW * slack_N):
            return fate, float(factor), f"{factor:.6g} of it is kept"
    power = float(before_N @ before_N)
    factor = float(after_N @ before_N) / power if power else 0.0
    rest = after_N - factor * before_N
    if power and float(rest @ rest) <= NOISY**2 * power:
        rms = float(np.sqrt(np.mean(rest**2)))
        return "perturbed", None, f"{factor:.3g} of it is kept, with noise of rms {rms:.2g}"
    return "changed", None, ""


def _flat(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.asarray(x, np.float64).reshape(-1) for x in arrays])
