"""How many representable numbers lie between two."""

import jax.numpy as jnp
import numpy as np

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
