"""The fate of a component between two states (one row of an audit), found from how its arrays differ.

Shapes: N numbers in all leaves of a component together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from lstm_sched.auditing.leaves import Leaf

NO_DISTANCE = np.iinfo(np.uint64).max  # the distance between a number and NaN
FEW = 4  # largest rounding error of a product, in ulp
NOISY = 0.1  # up to this rms of the rest, relative to that before, a component is perturbed, not changed


@dataclass(frozen=True, kw_only=True)
class Row:
    """The fate of one component at a boundary."""

    component: str
    fate: str  # kept, reset, gone, re-seeded, scaled, blended, perturbed, partly reset, changed
    fraction: float | None  # the keep-fraction that a policy would give it; None where none fits
    tells: bool  # False if it still had its initial value: keeping and resetting it are then the same
    differing: int  # numbers that differ in any bit
    numbers: int
    ulp: int | None  # largest distance; None where no floating number differs
    first: str  # first leaf that differs
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A leaf before and after a boundary (None where it is missing), and its possible initial values."""

    before: Leaf | None
    after: Leaf | None
    initial: Sequence[np.ndarray]

    @property
    def present(self) -> list[Leaf]:
        """The leaf on the sides that have it."""
        return [leaf for leaf in (self.before, self.after) if leaf is not None]

    @property
    def size(self) -> int:
        return max(leaf.value.size for leaf in self.present)


def is_float(dtype: np.dtype) -> bool:
    """Whether numbers of this type have a ULP distance: floats of 16, 32 and 64 bits, bfloat16 among them."""
    return dtype in (np.float16, np.float32, np.float64, jnp.bfloat16)


def ulp_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Count the steps of `np.nextafter` from a to b, for each pair of elements.

    The two zeros are one number, and infinity is one step after the largest number. The distance of NaN is 0
    from NaN, and NO_DISTANCE from every number.

    Args:
        a, b: arrays of one shape and one floating type.

    Returns:
        The number of steps, as uint64.

    Raises:
        ValueError: types or shapes differ.
        TypeError: no floating type of 16, 32 or 64 bits.
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype != b.dtype or a.shape != b.shape:
        raise ValueError(
            f"ulp_distance: {a.dtype}{list(a.shape)} and {b.dtype}{list(b.shape)}; allowed: the same type and shape"
        )
    if not is_float(a.dtype):
        raise TypeError(f"ulp_distance: {a.dtype}; allowed: float16, bfloat16, float32, float64")
    x, y = _ordered(a), _ordered(b)
    with np.errstate(over="ignore"):  # the difference may need all 64 bits: unsigned subtraction wraps to it
        steps = np.maximum(x, y).astype(np.uint64) - np.minimum(x, y).astype(np.uint64)
    nan_a, nan_b = np.isnan(a), np.isnan(b)
    return np.where(nan_a & nan_b, np.uint64(0), np.where(nan_a | nan_b, NO_DISTANCE, steps))


def _ordered(x: np.ndarray) -> np.ndarray:
    """Map floats to integers in the same order; the bits of a float are a sign and a magnitude."""
    bits = np.ascontiguousarray(x).reshape(x.shape).view(f"i{x.dtype.itemsize}")
    magnitude = (bits & np.iinfo(bits.dtype).max).astype(np.int64)
    return np.where(bits < 0, -magnitude, magnitude)


def _alike(a: Leaf, b: Leaf) -> bool:
    return a.value.dtype == b.value.dtype and a.value.shape == b.value.shape


def differing(a: Leaf, b: Leaf) -> np.ndarray:
    """A flat mask of the numbers that differ in any bit; all of them if the types or shapes differ."""
    if not _alike(a, b):
        return np.ones(max(a.value.size, b.value.size), bool)
    old, new = (np.ascontiguousarray(leaf.value).reshape(-1, 1).view(np.uint8) for leaf in (a, b))
    return np.any(old != new, axis=1)


def distance(a: Leaf, b: Leaf) -> int | None:
    """The largest ULP distance of two leaves; None unless both hold floating numbers of one type and shape."""
    if not _alike(a, b) or not is_float(a.value.dtype) or not a.value.size:
        return None
    return int(ulp_distance(a.value, b.value).max())


def row(component: str, pairs: Sequence[Pair]) -> Row:
    """Find the fate of a component from its leaves.

    scaled: one factor fits every number to a few ulp; blended: one fits the distance from the initial value;
    perturbed: the best factor leaves at most a tenth (root mean square); partly reset: some leaves are kept.
    """
    fates = [_fate(pair) for pair in pairs]
    telling = {
        fate
        for fate, pair in zip(fates, pairs, strict=True)
        if fate == "changed" or (pair.before is not None and not _begun(pair.before, pair))
    }
    moved = [pair for pair, fate in zip(pairs, fates, strict=True) if fate != "kept"]
    count, distances = 0, []
    for pair, fate in zip(pairs, fates, strict=True):
        if pair.before is None or pair.after is None:
            count += pair.size if fate != "kept" else 0
        elif different := int(differing(pair.before, pair.after).sum()):
            count += different
            distances.append(distance(pair.before, pair.after))
    fate, fraction, note = _whole(telling, pairs)
    return Row(
        component=component,
        fate=fate,
        fraction=fraction,
        tells=bool(telling),
        differing=count,
        numbers=sum(pair.size for pair in pairs),
        ulp=max((d for d in distances if d is not None), default=None),
        first=next((pair.present[0].name for pair in moved), ""),
        note=note,
    )


def _begun(leaf: Leaf, pair: Pair) -> bool:
    """Whether a leaf has its initial value."""
    return any(x.shape == leaf.value.shape and bool(np.all(leaf.value == x)) for x in pair.initial)


def _fate(pair: Pair) -> str:
    before, after = pair.before, pair.after
    if after is None:
        return "gone"
    if before is None:
        return "kept" if _begun(after, pair) else "changed"
    if not differing(before, after).any():
        return "kept"
    unknown = after.key and not pair.initial  # a stream moves at a boundary only if it starts again
    return "reset" if unknown or _begun(after, pair) else "changed"


def _whole(fates: set[str], pairs: Sequence[Pair]) -> tuple[str, float | None, str]:
    """The fate, keep-fraction and note of all leaves together."""
    if fates <= {"kept"}:
        return "kept", 1.0, "" if fates else "it still had its initial value: this says nothing"
    if all(leaf.key for pair in pairs for leaf in pair.present) and "gone" not in fates:
        if not all(pair.initial for pair in pairs):
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
    """The fate of numbers that moved: scaled, blended with the initial value, perturbed or changed."""
    both = [(p.before, p.after, p.initial) for p in pairs if p.before is not None and p.after is not None]
    if len(both) < len(pairs) or not all(_alike(a, b) and is_float(a.value.dtype) for a, b, _ in both):
        return "changed", None, ""
    before_N, after_N = _flat([a.value for a, _, _ in both]), _flat([b.value for _, b, _ in both])
    if not (np.isfinite(before_N).all() and np.isfinite(after_N).all()):
        return "changed", None, ""
    eps_N = np.concatenate(
        [np.full(a.value.size, float(np.spacing(a.value.dtype.type(1)))) for a, *_ in both]
    )
    origins = [("scaled", np.zeros_like(before_N))]
    if all(any(x.shape == a.value.shape for x in initial) for a, _, initial in both):
        origins.append(("blended", _flat([initial[0] for _, _, initial in both])))
    for fate, origin_N in origins:
        old_N, new_N = before_N - origin_N, after_N - origin_N
        k = np.argmax(np.abs(old_N))
        if not old_N[k]:
            continue
        factor = new_N[k] / old_N[k]
        slack_N = eps_N * np.maximum(np.maximum(np.abs(before_N), np.abs(after_N)), np.abs(origin_N))
        slack_N += slack_N[k] * np.abs(old_N / old_N[k])  # the error of the factor itself
        if factor not in (0, 1) and np.all(np.abs(new_N - factor * old_N) <= FEW * slack_N):
            return fate, float(factor), f"{factor:.6g} of it is kept"
    power = float(before_N @ before_N)
    factor = float(after_N @ before_N) / power if power else 0.0
    rest_N = after_N - factor * before_N
    if power and float(rest_N @ rest_N) <= NOISY**2 * power:
        rms = float(np.sqrt(np.mean(rest_N**2)))
        return "perturbed", None, f"{factor:.3g} of it is kept, with noise of rms {rms:.2g}"
    return "changed", None, ""


def _flat(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.asarray(x, np.float64).reshape(-1) for x in arrays])
