"""No window crosses a part, a segment or a group, and nothing of the future reaches the past."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lstm_sched.data.series import NAMES, Series, load
from lstm_sched.data.splits import PARTS, fit_scale, prepare, samples, split
from lstm_sched.data.windows import Samples

R = 48
CUTS = [(0.7, 0.85), (0.5, 0.75), (0.3, 0.6)]


@st.composite
def series_of_any_form(draw):
    """R rows of one group or of several with dates of their own, broken into segments at random places."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = R // groups
    if groups == 1:
        date_R = np.arange(R)
    else:
        days = [np.sort(rng.choice(R, size, replace=False)) for _ in range(groups)]
        date_R = np.unique(np.concatenate(days), return_inverse=True)[1]
    new_R = rng.random(R) < draw(st.sampled_from([0.0, 0.05, 0.2]))
    new_R |= np.arange(R) % size == 0
    values_RF = rng.normal(3, 2, size=(R, draw(st.sampled_from([1, 3]))))
    columns = ("x", "y", "z")[: values_RF.shape[1]]
    return Series("drawn", columns, "x", values_RF, np.cumsum(new_R) - 1, date_R, date_R)


def windows_by_loop(series, window, horizon, cuts):
    """For each part, the rows of each window and the row of its target, by trying every row as the first."""
    dates = len(set(series.date_R.tolist()))
    a, b = (int(cut * dates) for cut in cuts)
    part_R = [0 if date < a else 1 if date < b else 2 for date in series.date_R]
    found = [[], [], []]
    for first in range(len(part_R)):
        rows = range(first, first + window + horizon)
        inside = rows[-1] < len(part_R)
        if inside and len({part_R[r] for r in rows}) == 1 and len({series.segment_R[r] for r in rows}) == 1:
            found[part_R[first]].append((list(rows[:window]), rows[-1]))
    return np.array(part_R), found


def take_all(part):
    """All windows, taken 48 at a time so that few shapes are compiled."""
    x, y = part.take(np.minimum(np.arange(R), part.size - 1))
    return np.asarray(x, np.float64)[: part.size], np.asarray(y, np.float64)[: part.size]


sizes = (st.sampled_from([1, 4]), st.sampled_from([1, 3]), st.sampled_from(CUTS))


@settings(max_examples=40, deadline=None)
@given(series_of_any_form(), *sizes)
def test_the_windows_are_those_of_a_plain_loop_or_the_part_without_one_is_named(
    series, window, horizon, cuts
):
    part_R, expected = windows_by_loop(series, window, horizon, cuts)
    empty = [name for name, windows in zip(PARTS, expected, strict=True) if not windows]
    if empty:
        with pytest.raises(
            ValueError, match=f"part '{empty[0]}' holds no window; .* need {window + horizon}"
        ):
            split(series, window, horizon, cuts)
        return
    data, scale, extents = split(series, window, horizon, cuts)
    train_RF = series.values_RF[part_R == 0]
    np.testing.assert_allclose(scale.mean_F, train_RF.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(scale.std_F, train_RF.std(axis=0), rtol=1e-14)
    scaled_RF = (series.values_RF - scale.mean_F) / scale.std_F
    for p, (part, extent) in enumerate(zip(data, extents, strict=True)):
        times_R = series.times_R[part_R == p]
        rows = np.count_nonzero(part_R == p)
        assert extent == (PARTS[p], rows, len(expected[p]), str(times_R.min()), str(times_R.max()))
        assert part.size == len(expected[p])
        x, y = take_all(part)
        np.testing.assert_array_equal(x, np.array([scaled_RF[rows] for rows, _ in expected[p]], np.float32))
        np.testing.assert_array_equal(
            y, np.array([scaled_RF[[row], 0] for _, row in expected[p]], np.float32)
        )


@settings(max_examples=40, deadline=None)
@given(series_of_any_form(), *sizes, st.integers(0, R - 1), st.integers(0, 2))
def test_a_changed_row_changes_only_the_windows_that_read_it(series, window, horizon, cuts, row, column):
    part_R, expected = windows_by_loop(series, window, horizon, cuts)
    assume(all(expected))
    values_RF = series.values_RF.copy()
    values_RF[row, column % values_RF.shape[1]] += 10
    before = split(series, window, horizon, cuts)
    after = split(series._replace(values_RF=values_RF), window, horizon, cuts)
    in_training = part_R[row] == 0
    for p in range(3):
        unread = [n for n, (rows, target) in enumerate(expected[p]) if row not in (*rows, target)]
        (x0, y0), (x1, y1) = take_all(before.data[p]), take_all(after.data[p])
        if in_training:  # what is unread is the same in its own units; the scale is not
            (mean0, std0), (mean1, std1) = before.scale, after.scale
            np.testing.assert_allclose(x1[unread] * std1 + mean1, x0[unread] * std0 + mean0, atol=1e-5)
            np.testing.assert_allclose(
                y1[unread] * std1[0] + mean1[0], y0[unread] * std0[0] + mean0[0], atol=1e-5
            )
        else:
            np.testing.assert_array_equal(x1[unread], x0[unread])
            np.testing.assert_array_equal(y1[unread], y0[unread])
    if in_training:
        assert (after.scale.mean_F != before.scale.mean_F).sum() == 1
    else:
        np.testing.assert_array_equal(after.scale, before.scale)


def test_one_group_is_split_by_rows():
    extents = prepare("sunspots", 24).extents
    assert extents == (
        ("train", 2188, 2188 - 24, "1749-01", "1931-04"),
        ("val", 2657 - 2188, 469 - 24, "1931-05", "1970-05"),
        ("test", 3126 - 2657, 469 - 24, "1970-06", "2009-06"),
    )


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
    series = Series("flat", ("x", "flat"), "x", values_RF, np.zeros_like(row_R), row_R, row_R)
    with pytest.warns(UserWarning, match="column 'flat' is constant in the training part"):
        data, scale, _ = split(series, 5)
    assert scale.std_F[1] == 1
    assert np.abs(take_all(data.train)[0][:, :, 1]).max() < 1e-15


def test_the_scale_is_that_of_the_training_rows():
    rows_RF = load("weather", ["temp_max_c", "wind_m_s"]).values_RF[: int(0.7 * 1461)]
    scale = fit_scale(rows_RF, ("temp_max_c", "wind_m_s"))
    mean_F = [sum(column) / len(rows_RF) for column in rows_RF.T]
    std_F = [
        (sum((v - m) ** 2 for v in column) / len(rows_RF)) ** 0.5
        for column, m in zip(rows_RF.T, mean_F, strict=True)
    ]
    np.testing.assert_allclose(scale, [mean_F, std_F], rtol=1e-12)
    np.testing.assert_array_equal(prepare("weather", 24, columns=["temp_max_c", "wind_m_s"]).scale, scale)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window": 0}, "window is 0; a whole number from 1 on"),
        ({"window": 2.5}, "window is 2.5"),
        ({"horizon": 0}, "horizon is 0"),
        ({"cuts": (0.85, 0.7)}, r"cuts are \(0.85, 0.7\)"),
        ({"cuts": (0.0, 0.7)}, "cuts are"),
        ({"cuts": (0.7, 1.0)}, "cuts are"),
        ({"cuts": (0.5,)}, "cuts are"),
        ({"window": 219}, "weather: part 'val' holds no window; window 219 .* need 220 .* stretch has 219"),
        ({"cuts": (0.0001, 0.5)}, "part 'train' holds no window; .* stretch has 0"),
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
def test_every_named_data_set_yields_finite_batches_in_all_parts(name):
    data, scale, extents = prepare(name, 12)
    for part, extent in zip(data, extents, strict=True):
        x_BTF, y_BO = part.take(np.array([0, part.size - 1]))
        assert x_BTF.shape == (2, 12, len(scale.mean_F))
        assert y_BO.shape == (2, 1)
        assert np.isfinite(x_BTF).all()
        assert np.isfinite(y_BO).all()
        assert extent.windows == part.size


def test_samples_are_split_in_their_order_and_keep_their_values():
    x_NTF = np.arange(20 * 3 * 2, dtype=np.float32).reshape(20, 3, 2)
    y_NO = np.arange(40, dtype=np.float32).reshape(20, 2)
    data, scale, extents = samples(x_NTF, y_NO)
    parts = [part for part in data if isinstance(part, Samples)]
    np.testing.assert_array_equal(np.concatenate([part.x_NTF for part in parts]), x_NTF)
    np.testing.assert_array_equal(np.concatenate([part.y_NO for part in parts]), y_NO)
    assert [part.size for part in parts] == [14, 3, 3]
    assert extents[1] == ("val", 3, 3, "sample 14", "sample 16")
    np.testing.assert_array_equal(scale, [[0, 0], [1, 1]])


@pytest.mark.parametrize(
    ("rows", "cuts", "message"),
    [(3, (0.1, 0.5), "leave part 'train' without any of the 3"), (20, (0.9, 0.1), "cuts are")],
)
def test_samples_that_leave_a_part_empty_are_an_error(rows, cuts, message):
    with pytest.raises(ValueError, match=message):
        samples(np.zeros((rows, 3, 2)), np.zeros((rows, 1)), cuts)


@pytest.mark.parametrize("arguments", [{"horizon": 2}, {"columns": ["x"]}])
def test_adding_has_neither_horizon_nor_columns(arguments):
    with pytest.raises(ValueError, match="neither horizon nor columns"):
        prepare("adding", 10, **arguments)
