"""Windows and samples are taken from one store inside a compiled program, exactly as a plain loop would."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jax import lax

from lstm_sched.data.windows import Data, Samples, Windows, as_samples, as_windows, lanes

LENGTHS = np.array([7, 2, 5, 1, 9, 4])
WINDOW, HORIZON = 3, 2
ROWS = np.random.default_rng(0).normal(size=(LENGTHS.sum(), 2))


def by_loop(rows_RF, length_S, window, horizon):
    """Every window and its target, stretch by stretch."""
    x, y, begin = [], [], 0
    for length in length_S:
        for row in range(begin, begin + length - window - horizon + 1):
            x.append(rows_RF[row : row + window])
            y.append(rows_RF[row + window + horizon - 1, :1])
        begin += length
    return np.array(x), np.array(y)


def windows() -> Windows:
    return as_windows(ROWS, LENGTHS, WINDOW, HORIZON)


def drawn() -> Samples:
    rng = np.random.default_rng(1)
    return as_samples(rng.normal(size=(6, 4, 2)), rng.normal(size=(6, 3)))


@pytest.mark.parametrize("make", [windows, drawn])
def test_taking_is_the_same_eagerly_compiled_vmapped_mapped_and_scanned(make):
    part = make()
    i_SB = jnp.asarray([[0, 5, 2], [1, 1, 4]])
    expected = jax.tree.map(lambda *leaves: np.stack(leaves), *(part.take(i_B) for i_B in i_SB))
    assert {leaf.dtype for leaf in expected} == {jnp.dtype("float32")}

    @jax.jit
    def compiled(part, i_SB):
        in_turn = (part.take(i_SB[0]), part.take(i_SB[1]))
        return {
            "jit": jax.tree.map(lambda *leaves: jnp.stack(leaves), *in_turn),
            "vmap": jax.vmap(part.take)(i_SB),
            "map": lax.map(part.take, i_SB),
            "scan": lax.scan(lambda carry, i_B: (carry, part.take(i_B)), 0, i_SB)[1],
        }

    for how, (x, y) in compiled(part, i_SB).items():
        np.testing.assert_array_equal(x, expected[0], err_msg=how)
        np.testing.assert_array_equal(y, expected[1], err_msg=how)


@pytest.mark.parametrize("make", [windows, drawn])
def test_a_part_is_a_pytree_of_arrays_whose_size_is_known_while_tracing(make):
    data = Data(make(), make(), make())
    leaves, tree = jax.tree.flatten(data)
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    assert jax.tree.unflatten(tree, leaves).val.size == data.val.size
    assert jax.eval_shape(lambda data: np.zeros(data.test.size), data).shape == (data.test.size,)


def test_in_float64_windows_are_the_rows_themselves_and_samples_keep_their_type(x64):
    x_BTF, y_BO = windows().take(jnp.arange(9))
    x_NTF, y_NO = by_loop(ROWS, LENGTHS, WINDOW, HORIZON)
    np.testing.assert_array_equal(x_BTF, x_NTF)
    np.testing.assert_array_equal(y_BO, y_NO)
    assert {leaf.dtype for leaf in drawn().take(jnp.arange(2))} == {jnp.dtype("float64")}


def test_windows_cost_the_memory_of_their_rows_alone():
    rows = 100_000
    part = as_windows(np.zeros((rows, 1)), np.array([rows]), 50, 1)
    stored = sum(leaf.nbytes for leaf in jax.tree.leaves(part))
    assert stored <= 4 * rows + 8

    def total(part):
        def body(total, start):
            x_BTF, y_BO = part.take(start * 32 + jnp.arange(32))
            return total + x_BTF.sum() + y_BO.sum(), None

        return lax.scan(body, jnp.zeros(()), jnp.arange(part.size // 32))[0]

    memory = jax.jit(total).lower(part).compile().memory_analysis()
    assert memory is not None
    assert memory.argument_size_in_bytes <= stored
    assert memory.temp_size_in_bytes < 0.1 * stored


X, Y = np.zeros((4, 3, 2)), np.zeros((4, 1))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((np.zeros((4, 3)), Y), r"x has shape \(4, 3\)"),
        ((X, np.zeros(4)), r"y \(4,\)"),
        ((X, np.zeros((5, 1))), r"\(4, 3, 2\), y \(5, 1\)"),
        ((np.zeros((4, 0, 2)), Y), "none of them 0"),
        ((X, np.array([[0.0], [0.0], [np.nan], [0.0]])), r"y\[2, 0\] is nan"),
        ((X + np.inf, Y), r"x\[0, 0, 0\] is inf"),
        ((X, Y, np.ones(2)), r"weight of shape \(2,\); allowed: \(4,\), finite, 0 or more"),
        ((X, Y, np.ones((4, 1))), r"weight of shape \(4, 1\)"),
        ((X, Y, np.array([1, -1, 1, 1])), "allowed: .* 0 or more"),
        ((X, Y, np.array([1, np.nan, 1, 1])), "allowed: .* finite"),
    ],
)
def test_arrays_of_wrong_shape_or_value_are_an_error_that_names_them(arrays, message):
    with pytest.raises(ValueError, match=message):
        as_samples(*arrays)


@given(rows=st.integers(1, 80), many=st.integers(1, 5), window=st.integers(1, 6), horizon=st.integers(1, 4))
@settings(max_examples=25)
def test_lanes_are_uninterrupted_runs_of_rows_cut_into_windows_that_follow_one_another(
    rows, many, window, horizon
):
    assume(rows >= many * window + horizon)
    rows_RF = np.stack([np.arange(rows), -np.arange(rows)], axis=1)
    part = jax.device_get(lanes(rows_RF, many, window, horizon))
    next_row = 0
    for j in range(many):
        for k in range(part.size // many):
            sample = k * many + j
            np.testing.assert_array_equal(part.x_NTF[sample], rows_RF[next_row : next_row + window])
            assert part.y_NO[sample].tolist() == [next_row + window - 1 + horizon]
            next_row += window
    left_out = rows - next_row
    assert horizon <= left_out < horizon + many * window


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros(9), 2, 3, 1), r"rows_RF: shape \(9,\); allowed: \(rows, columns\)"),
        ((np.zeros((9, 1)), 0, 3, 1), "lanes: 0; allowed: 1 or more"),
        ((np.zeros((9, 1)), 2, 0, 1), "window: 0; allowed: 1 or more"),
        ((np.zeros((9, 1)), 2, 3, 0), "horizon: 0; allowed: 1 or more"),
        ((np.zeros((9, 1)), 2, 4, 2), "rows_RF: 9 rows; allowed: 10 or more, a window of 4 in each of 2"),
        ((np.full((9, 1), np.nan), 2, 3, 1), "allowed: finite values"),
    ],
)
def test_lanes_that_the_rows_do_not_fill_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        lanes(*arguments)


def test_whole_numbers_become_floats_and_a_mean_over_weighted_samples_divides_by_their_number():
    part = as_samples(np.zeros((3, 2, 1), int), np.arange(3)[:, None], np.array([0.0, 1.0, 2.5]))
    assert part.x_NTF.dtype == part.y_NO.dtype == jnp.float32
    np.testing.assert_array_equal(part.weigh(np.array([2, 0]), jnp.full(2, 2.0)), [5.0, 0.0])
    for unweighted in (drawn(), windows()):
        assert unweighted.weigh(np.array([0, 1]), jnp.full(2, 2.0)).tolist() == [2.0, 2.0]
