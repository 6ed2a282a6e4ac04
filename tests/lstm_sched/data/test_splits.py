"""Parts and their scale: what is cut where, and what is refused. Windows are tried in test_leaks."""

import dataclasses

import jax
import numpy as np
import pytest

from lstm_sched.data.series import NAMES, Series, load
from lstm_sched.data.splits import prepare, samples, split
from lstm_sched.data.windows import Samples, Windows


def test_a_single_group_is_split_by_rows():
    assert [dataclasses.astuple(extent) for extent in prepare("sunspots", 24).extents] == [
        ("train", 2188, 2188 - 24, "1749-01", "1931-04"),
        ("val", 2657 - 2188, 469 - 24, "1931-05", "1970-05"),
        ("test", 3126 - 2657, 469 - 24, "1970-06", "2009-06"),
    ]


def test_several_groups_are_split_at_common_dates():
    series = load("stocks")
    train, val, test = prepare("stocks", 24).extents
    assert train.first <= train.last < val.first <= val.last < test.first <= test.last
    assert train.rows == (series.times_R <= np.datetime64(train.last)).sum()
    assert test.rows == (series.times_R >= np.datetime64(test.first)).sum()
    assert train.rows + val.rows + test.rows == len(series.values_RF)


def test_a_constant_column_warns_and_is_only_centred():
    values_RF = np.random.default_rng(0).normal(size=(100, 2))
    values_RF[:70, 1] = 0.1
    row_R = np.arange(100)
    series = Series(
        name="flat",
        columns=("x", "flat"),
        target="x",
        values_RF=values_RF,
        segment_R=np.zeros_like(row_R),
        date_R=row_R,
        times_R=row_R,
    )
    with pytest.warns(UserWarning, match="column 'flat' is constant in the training part"):
        parts = split(series, 5)
    assert parts.scale.std_F[1] == 1
    train = parts.data.train
    assert isinstance(train, Windows) and np.abs(train.rows_RF[:, 1]).max() < 1e-15


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window": 0}, "window is 0; allowed: .* 1 or more"),
        ({"window": 2.5}, "window is 2.5"),
        ({"horizon": 0}, "horizon is 0"),
        ({"cuts": (0.85, 0.7)}, r"cuts are \(0.85, 0.7\)"),
        ({"cuts": (0.0, 0.7)}, "cuts are"),
        ({"cuts": (0.7, 1.0)}, "cuts are"),
        ({"cuts": (0.5,)}, "cuts are"),
        ({"window": 219}, "weather: part 'val' holds no window; window 219 .* need 220 .* stretch has 219"),
        ({"cuts": (0.0001, 0.5)}, "part 'train' holds no window; .* stretch has 0"),
        ({"name": "adding", "horizon": 2}, "'adding': horizon 2"),
        ({"name": "adding", "columns": ["x"]}, r"'adding': .*columns \['x'\]"),
    ],
)
def test_a_wrong_argument_is_an_error_that_names_it(arguments, message):
    with pytest.raises(ValueError, match=message):
        prepare(**({"name": "weather", "window": 24} | arguments))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_an_error_that_says_where(value):
    series = load("weather", ["temp_max_c", "wind_m_s"])
    series.values_RF[3, 1] = value
    with pytest.raises(ValueError, match=rf"weather: column 'wind_m_s' at row 3 \(2012-01-04\) is {value}"):
        split(series, 24)


@pytest.mark.parametrize("name", NAMES)
def test_every_named_data_set_is_finite_in_all_parts(name):
    parts = prepare(name, 12)
    for part, extent in zip(parts.data, parts.extents, strict=True):
        assert extent.windows == part.size > 0
        for array in jax.tree.leaves(part):
            assert np.isfinite(array).all()
        if isinstance(part, Windows):
            assert part.rows_RF.shape == (extent.rows, len(parts.scale.mean_F))


def test_samples_are_split_in_their_order_and_keep_their_values():
    x_NTF = np.arange(20 * 3 * 2, dtype=np.float32).reshape(20, 3, 2)
    y_NO = np.arange(40, dtype=np.float32).reshape(20, 2)
    parts = samples(x_NTF, y_NO)
    for part, rows in zip(parts.data, (slice(14), slice(14, 17), slice(17, 20)), strict=True):
        assert isinstance(part, Samples)
        np.testing.assert_array_equal(part.x_NTF, x_NTF[rows])
        np.testing.assert_array_equal(part.y_NO, y_NO[rows])
    assert dataclasses.astuple(parts.extents[1]) == ("val", 3, 3, "sample 14", "sample 16")
    np.testing.assert_array_equal(dataclasses.astuple(parts.scale), [[0, 0], [1, 1]])


@pytest.mark.parametrize(
    ("rows", "cuts", "message"),
    [(3, (0.1, 0.5), r"cuts are \(0.1, 0.5\); part 'train' .* 3 samples"), (20, (0.9, 0.1), "cuts are")],
)
def test_samples_that_leave_a_part_empty_are_an_error(rows, cuts, message):
    with pytest.raises(ValueError, match=message):
        samples(np.zeros((rows, 3, 2)), np.zeros((rows, 1)), cuts)
