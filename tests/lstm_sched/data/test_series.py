"""The bundled series are what their sources gave, and the synthetic ones have the answers they claim."""

import csv
import gzip
import hashlib
import itertools
import math
import re
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_sched.data import series
from lstm_sched.data.series import BEST, BUNDLED, DATASETS, NAMES, ROWS, SYNTHETIC, adding, assemble, load

LAGS = 4


def rows_of(name):
    with gzip.open(DATASETS / f"{name}.csv.gz", "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def lagged(values_R, lags=LAGS):
    """Design matrix of `lags` past values and the value that follows, by a plain loop."""
    design = [values_R[t - lags : t] for t in range(lags, len(values_R))]
    return np.array(design), values_R[lags:]


def test_each_file_has_the_digest_that_its_readme_gives():
    text = (DATASETS / "README.md").read_text(encoding="utf-8")
    given_ = dict(re.findall(r"^\| (\w+)\.csv\.gz .*`([0-9a-f]{64})` \|$", text, flags=re.MULTILINE))
    digests = {
        path.name.removesuffix(".csv.gz"): hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest()
        for path in DATASETS.glob("*.csv.gz")
    }
    assert digests == given_
    assert set(digests) == set(BUNDLED)


@pytest.mark.parametrize(
    ("name", "rows", "segments", "first", "last"),
    [
        ("sunspots", 3126, 1, ("1749-01", 58.0), ("2009-06", 2.6)),
        ("weather", 1461, 1, ("2012-01-01", 12.8), ("2015-12-31", 5.6)),
        ("co2", 2284 - 59, 23, ("1958-03-29", 316.1), ("2001-12-29", 371.5)),
        ("glucose", 52281, 191, ("2010-03-24T09:51:00", 258.0), ("2010-10-10T23:57:00", 165.0)),
        ("stocks", 12154 - 5, 5, ("2000-03-02", math.log(3.9196750983419 / 4.186662803811)), None),
        ("air", 43824 - 2067, 214, ("2010-01-02T00:00", 129.0), ("2014-12-31T23:00", 12.0)),
    ],
)
def test_a_bundled_series_has_its_default_target_rows_and_segments(name, rows, segments, first, last):
    s = load(name)
    assert s.columns == (BUNDLED[name].column,)
    assert s.target == BUNDLED[name].target
    assert s.values_RF.shape == (rows, 1)
    assert s.values_RF.dtype == np.float64
    assert s.segment_R[-1] + 1 == segments
    assert (str(s.times_R[0]), s.values_RF[0, 0]) == (first[0], pytest.approx(first[1], rel=1e-13))
    if last:
        assert (str(s.times_R[-1]), s.values_RF[-1, 0]) == last


@pytest.mark.parametrize("name", ["weather", "co2", "glucose", "air"])
def test_regular_series_break_exactly_where_the_calendar_does(name):
    column, time = BUNDLED[name].column, BUNDLED[name].time
    kept = [(datetime.fromisoformat(row[time]), float(row[column])) for row in rows_of(name) if row[column]]
    steps = [(b[0] - a[0]).total_seconds() for a, b in itertools.pairwise(kept)]
    median = sorted(steps)[len(steps) // 2]
    segment, expected = 0, [0]
    for step in steps:
        segment += step <= 0 or step > 1.5 * median
        expected.append(segment)
    s = load(name)
    repeats = np.flatnonzero(np.diff(s.times_R).astype(int) <= 0) + 1
    assert repeats.tolist() == ([14275, 22761, 36487] if name == "glucose" else [])
    np.testing.assert_array_equal(s.segment_R, expected)
    np.testing.assert_array_equal(s.values_RF[:, 0], [value for _, value in kept])
    np.testing.assert_array_equal(s.date_R, np.arange(len(kept)))


def test_stocks_are_log_returns_of_the_adjusted_close_ticker_by_ticker():
    expected, dates, tickers = [], [], []
    rows = rows_of("stocks")
    for before, after in itertools.pairwise(rows):
        if before["ticker"] == after["ticker"]:
            expected.append(math.log(float(after["adjusted_close"]) / float(before["adjusted_close"])))
            dates.append(after["date"])
            tickers.append(after["ticker"])
    s = load("stocks")
    np.testing.assert_allclose(s.values_RF[:, 0], expected, rtol=0, atol=1e-14)
    assert [str(time) for time in s.times_R] == dates
    ticker_rank = {ticker: rank for rank, ticker in enumerate(sorted(set(tickers)))}
    date_rank = {date: rank for rank, date in enumerate(sorted(set(dates)))}
    assert s.segment_R.tolist() == [ticker_rank[ticker] for ticker in tickers]
    assert s.date_R.tolist() == [date_rank[date] for date in dates]


def test_a_row_that_lacks_one_of_the_columns_is_dropped_and_breaks_the_segment():
    s = load("glucose", ["glucose_mg_dl", "sensor_current_na"])
    rows = rows_of("glucose")
    kept = [i for i, row in enumerate(rows) if row["sensor_current_na"] != "nil"]
    assert s.values_RF.shape == (52281 - 1061, 2) == (len(kept), 2)
    np.testing.assert_array_equal(s.values_RF[:, 1], [float(rows[i]["sensor_current_na"]) for i in kept])
    after_gap = np.flatnonzero(np.diff(kept) != 1) + 1
    assert (np.diff(s.segment_R)[after_gap - 1] == 1).all()


def test_the_first_column_asked_for_is_the_target():
    s = load("weather", ["wind_m_s", "temp_max_c"])
    assert (s.columns, s.target) == (("wind_m_s", "temp_max_c"), "wind_m_s")
    assert s.values_RF[0].tolist() == [4.7, 12.8]


@given(st.data())
def test_assemble_numbers_segments_as_a_plain_loop_does(data):
    n = data.draw(st.integers(2, 12))

    def draw(values):
        return np.array(data.draw(st.lists(st.sampled_from(values), min_size=n, max_size=n)))

    values_RF = draw([1.0, 2.0, 3.0, np.nan])[:, None]
    date_R, stretch_R = np.cumsum(draw([1, 1, 1, 0, -1])), np.cumsum(draw([0, 0, 0, 1]))
    kept = np.flatnonzero(~np.isnan(values_RF[:, 0])).tolist()
    if len(kept) < 2:
        with pytest.raises(ValueError, match=f"s: {len(kept)} rows without a missing value; allowed: 2"):
            assemble("s", ("x",), "x", values_RF, date_R, stretch_R, date_R)
        return
    expected = [0]
    for a, b in itertools.pairwise(kept):
        expected.append(expected[-1] + (b != a + 1 or stretch_R[a] != stretch_R[b]))
    series = assemble("s", ("x",), "x", values_RF, date_R, stretch_R, date_R)
    assert series.segment_R.tolist() == expected
    np.testing.assert_array_equal(series.values_RF, values_RF[kept])
    ranks = sorted(set(date_R[kept].tolist()))
    assert series.date_R.tolist() == [ranks.index(date_R[r]) for r in kept]


@pytest.mark.parametrize("name", SYNTHETIC)
def test_a_synthetic_series_is_one_segment_and_the_same_at_every_call(name):
    a, b = load(name), load(name)
    assert (a.values_RF.shape, a.segment_R.max()) == ((ROWS, 1), 0)
    np.testing.assert_array_equal(a.values_RF, b.values_RF)


def test_two_sines_are_predicted_exactly_by_four_lags():
    design, y = lagged(load("sines").values_RF[:, 0])
    half = len(y) // 2
    weights = np.linalg.lstsq(design[:half], y[:half])[0]
    assert np.mean((design[half:] @ weights - y[half:]) ** 2) < 1e-20 + BEST["sines"]


def test_least_squares_recovers_the_ar_coefficients_and_the_innovation_variance():
    design, y = lagged(load("ar").values_RF[:, 0], lags=2)
    weights = np.linalg.lstsq(design, y)[0]
    error = y - design @ weights
    # Asymptotic standard errors: sqrt((1 − phi2²) / n) for either coefficient, sqrt(2 / n) of the variance.
    np.testing.assert_allclose(weights[::-1], series.AR_PHI, atol=4 * math.sqrt((1 - 0.75**2) / ROWS))
    assert error.var() == pytest.approx(BEST["ar"], rel=4 * math.sqrt(2 / ROWS))
    assert abs(np.corrcoef(error[1:], error[:-1])[0, 1]) < 4 / math.sqrt(ROWS)


def test_garch_returns_are_unpredictable_and_their_squares_are_not():
    x_R = load("garch").values_RF[:, 0]
    assert x_R.var() == pytest.approx(BEST["garch"], rel=0.2)
    assert abs(np.corrcoef(x_R[1:], x_R[:-1])[0, 1]) < 4 / math.sqrt(ROWS)
    assert np.corrcoef(x_R[1:] ** 2, x_R[:-1] ** 2)[0, 1] > 4 / math.sqrt(ROWS)
    variance_R = np.empty(ROWS)
    variance_R[0] = BEST["garch"]
    for t in range(1, ROWS):
        variance_R[t] = 0.1 + 0.1 * x_R[t - 1] ** 2 + 0.85 * variance_R[t - 1]
    shock_R = (x_R / np.sqrt(variance_R))[100:]  # by then the first variance is forgotten
    assert shock_R.var() == pytest.approx(1, rel=4 * math.sqrt(2 / ROWS))
    assert abs(np.corrcoef(shock_R[1:] ** 2, shock_R[:-1] ** 2)[0, 1]) < 4 / math.sqrt(ROWS)


@pytest.mark.parametrize("steps", [2, 3, 20])
def test_adding_marks_one_value_in_each_half_and_asks_for_their_sum(steps):
    x_NTF, y_NO = adding(steps)
    assert x_NTF.shape == (ROWS, steps, 2)
    assert y_NO.shape == (ROWS, 1)
    assert (x_NTF.min() >= 0) and (x_NTF.max() <= 1)
    for values, y in zip(x_NTF, y_NO, strict=True):
        marked = np.flatnonzero(values[:, 1] == 1)
        assert np.count_nonzero(values[:, 1]) == len(marked) == 2
        assert marked[0] < steps // 2 <= marked[1]
        assert values[marked[0], 0] + values[marked[1], 0] == y[0]
    assert y_NO.var() == pytest.approx(1 / 6, rel=0.1)
    with pytest.raises(ValueError, match="adding: steps is 1; allowed: 2"):
        adding(1)


def test_the_best_forecast_is_known_of_every_synthetic_task():
    assert set(BEST) == {*SYNTHETIC, "adding"}
    assert set(NAMES) == {*BUNDLED, *BEST}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sunspot",), "data: unknown 'sunspot' .*did you mean sunspots.*allowed: sunspots, weather"),
        (("adding",), "made of samples"),
        (("weather", ["temp_max"]), "column: unknown 'temp_max' .*did you mean temp_max_c"),
        (("weather", ["kind"]), "column: unknown 'kind'"),
        (("weather", []), r"columns: \[\]; allowed: one or more"),
        (("weather", ["wind_m_s", "wind_m_s"]), "each once"),
        (("sines", ["cosines"]), "column: unknown 'cosines'.*allowed: sines"),
    ],
)
def test_an_unknown_name_or_column_is_an_error_that_says_what_is_allowed(arguments, message):
    with pytest.raises(ValueError, match=message):
        load(*arguments)
