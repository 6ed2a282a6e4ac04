"""ULP distances against NumPy's own steps."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_sched.auditing.fate import NO_DISTANCE, ulp_distance

FLOATS = pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])


@FLOATS
@given(number=st.floats(-6e4, 6e4), steps=st.integers(0, 20), upward=st.booleans())
def test_the_distance_counts_the_steps_of_nextafter(dtype, number, steps, upward):
    first = last = dtype(number)
    for _ in range(steps):
        last = np.nextafter(last, dtype(np.inf if upward else -np.inf))
    assert ulp_distance(first, last) == ulp_distance(last, first) == steps


@FLOATS
def test_a_step_is_np_spacing(dtype):
    x_N = np.array([1e-3, 0.5, 1.0, 1.5, 3e4], dtype)
    np.testing.assert_array_equal(ulp_distance(x_N, x_N + 3 * np.spacing(x_N)), np.full(5, 3))


@FLOATS
def test_zero_is_crossed_and_has_one_place(dtype):
    tiny = np.nextafter(dtype(0), dtype(1))
    assert ulp_distance(dtype(0), dtype(-0.0)) == 0
    assert ulp_distance(tiny, -tiny) == 2
    assert ulp_distance(-tiny, dtype(0)) == 1


@FLOATS
def test_infinity_follows_the_largest_number_and_nan_is_nowhere(dtype):
    largest = np.finfo(dtype).max
    assert ulp_distance(largest, dtype(np.inf)) == 1
    assert ulp_distance(dtype(-np.inf), dtype(np.inf)) == 2 * int(ulp_distance(dtype(0), dtype(np.inf)))
    assert ulp_distance(dtype(np.nan), dtype(np.nan)) == 0
    assert ulp_distance(dtype(np.nan), largest) == ulp_distance(dtype(-np.inf), dtype(np.nan)) == NO_DISTANCE


def test_bfloat16_counts_its_own_numbers():
    one, next_one = (np.asarray(x, jnp.bfloat16) for x in (1.0, 1 + 2**-7))
    assert ulp_distance(one, next_one) == 1


def test_other_types_and_shapes_are_refused():
    with pytest.raises(TypeError, match="ulp_distance: int64"):
        ulp_distance(np.array([1]), np.array([2]))
    with pytest.raises(ValueError, match=r"float32\[1\] and float64\[1\]"):
        ulp_distance(np.ones(1, np.float32), np.ones(1))
