"""A user's table becomes the series that it says, or an error that names column, row and value."""

import gzip
import json
import tracemalloc
from dataclasses import asdict, astuple, replace
from operator import attrgetter

import numpy as np
import polars as pl
import pytest

from lstm_sched.data import tables
from lstm_sched.data.series import DATASETS, load
from lstm_sched.data.splits import split
from lstm_sched.data.tables import MAX_COLUMNS, from_arrays, read_table

NAN = float("nan")
DAYS = [f"2020-01-{day:02}" for day in range(1, 9)]


def csv(tmp_path, text):
    path = tmp_path / "own.csv"
    path.write_text(text, encoding="utf-8")
    return path


def numbers(n=8):
    return [float(i) for i in range(n)]


@pytest.mark.parametrize(
    ("name", "time"), [("sunspots", "month"), ("weather", "date"), ("co2", "date"), ("air", "time")]
)
def test_a_bundled_file_is_read_as_the_bundled_series_is(name, time):
    expected = load(name)
    table = read_table(DATASETS / f"{name}.csv.gz", target=expected.columns[0], time=time, missing="drop")
    for field in ("columns", "values_RF", "segment_R", "date_R", "times_R"):
        np.testing.assert_array_equal(getattr(table.series, field), getattr(expected, field))


def test_stocks_keep_the_dates_and_tickers_of_the_bundled_series():
    expected = load("stocks")
    path = DATASETS / "stocks.csv.gz"
    series = read_table(path, target="adjusted_close", time="date", group="ticker").series
    kept = np.flatnonzero(series.segment_R == np.roll(series.segment_R, 1))
    returns = np.log(series.values_RF[kept, 0] / series.values_RF[kept - 1, 0])
    np.testing.assert_allclose(returns, expected.values_RF[:, 0], atol=1e-13)
    np.testing.assert_array_equal(series.times_R[kept], expected.times_R)


def test_bad_order_in_the_glucose_file_is_refused():
    with pytest.raises(ValueError, match=r"row 14\d\d\d: .* is not after .* of row 14"):
        read_table(DATASETS / "glucose.csv.gz", target="glucose_mg_dl", time="time", missing="drop")


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet", ".npz", None])
def test_all_forms_of_one_table_give_one_series(tmp_path, ending):
    rng = np.random.default_rng(0)
    columns = {
        "when": np.tile(np.arange("2020-01-01", "2020-01-21", dtype="datetime64[D]"), 2),
        "close": rng.normal(size=40),
        "volume": rng.integers(0, 9, 40),
        "ticker": np.repeat(["B", "A"], 20),
        "unread": np.repeat(["x"], 40),
    }
    asked = {"target": "close", "time": "when", "features": ["volume"], "group": "ticker"}
    frame, path = pl.DataFrame(columns), tmp_path / f"own{ending}"
    if ending == ".parquet":
        frame.write_parquet(path)
    elif ending == ".npz":
        np.savez(path, **columns)
    elif ending is not None:
        text = frame.write_csv().encode()
        path.write_bytes(gzip.compress(text) if ending == ".csv.gz" else text)
    table = from_arrays(columns, **asked) if ending is None else read_table(path, **asked)
    series, order = table.series, np.r_[20:40, 0:20]
    np.testing.assert_array_equal(series.values_RF, np.stack([columns["close"], columns["volume"]], 1)[order])
    np.testing.assert_array_equal(series.times_R, columns["when"])
    assert series.segment_R.tolist() == [0] * 20 + [1] * 20
    assert series.date_R.tolist() == [*range(20), *range(20)]
    assert (series.columns, series.target) == (("close", "volume"), "close")
    name = "arrays" if ending is None else path.name
    assert astuple(table.understood) == (name, ("close", "volume"), 40, "1 day", False, 0, 2, 0, 0)


def test_the_way_a_table_was_read_prints_in_a_line_and_is_json(tmp_path):
    path = csv(tmp_path, 't,"<b>\n"\n2020-01-01T00:00Z,0\n2020-01-01T01:00Z,1\n')
    understood = read_table(path, target="<b>\n", time="t").understood
    facts = ("own.csv", "2 rows", "'<b>\\n'", "interval 1 h", "UTC", "0 gaps", "1 group")
    assert [fact for fact in facts if fact not in str(understood)] == []
    assert "\n" not in str(understood) and "missing" not in str(understood)
    assert "missing values: 1 row dropped, 2 values filled" in str(replace(understood, dropped=1, filled=2))
    assert json.loads(json.dumps(asdict(understood)))["columns"] == ["<b>\n"]


def test_without_time_rows_are_taken_in_order_group_by_group():
    table = from_arrays({"x": numbers(5), "g": [9, 10, 9, 9, 10]}, target="x", group="g")
    assert table.series.values_RF[:, 0].tolist() == [1, 4, 0, 2, 3]  # sorted as text
    assert table.series.times_R.tolist() == table.series.date_R.tolist() == [0, 1, 0, 1, 2]
    assert table.series.segment_R.tolist() == [0, 0, 1, 1, 1]
    assert table.understood.interval == "1 row"


X = [1.0, NAN, NAN, 4.0, 5.0, NAN, 7.0, 8.0]
Y = [NAN, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
MISSING = {"x": X, "y": Y, "g": [*"aaaabbbb"], "t": [*DAYS[:4], *DAYS[4:7], "2020-02-01"]}
COUNTS = attrgetter("rows", "dropped", "filled", "gaps")


@pytest.mark.parametrize("form", ["arrays", "csv", "null"])
def test_missing_values_are_refused_dropped_or_carried_forward(tmp_path, form):
    path, columns = tmp_path / "own.csv", MISSING
    if form == "csv":
        pl.DataFrame(MISSING).with_columns(pl.col("x").fill_nan(None)).write_csv(path)
    if form == "null":
        columns = MISSING | {"x": [None if v != v else v for v in X], "y": pl.Series(Y).fill_nan(None)}
    asked = {"target": "x", "features": ["y"], "time": "t", "group": "g"}

    def read(**more):
        return read_table(path, **asked, **more) if form == "csv" else from_arrays(columns, **asked, **more)

    with pytest.raises(
        ValueError, match="column 'y', row 0 is missing; allowed: a number, or missing=drop or"
    ):
        read()
    table = read(missing="drop")
    assert table.series.values_RF.tolist() == [[4, 3], [5, 4], [7, 6], [8, 7]]
    assert table.series.segment_R.tolist() == [0, 1, 2, 3]  # another group; a dropped row; a gap in time
    assert COUNTS(table.understood) == (4, 4, 0, 1)
    table = read(missing="ffill")
    assert table.series.values_RF.tolist() == [[1, 1], [1, 2], [4, 3], [5, 4], [5, 5], [7, 6], [8, 7]]
    assert table.series.segment_R.tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert COUNTS(table.understood) == (7, 1, 3, 1)


@pytest.mark.parametrize("missing", tables.MISSING)
def test_a_value_that_is_no_number_is_named_whatever_becomes_of_missing_ones(tmp_path, missing):
    path = csv(tmp_path, "a,x\n1,1\n1,twelve\n")
    with pytest.raises(ValueError, match=r"own.csv: column 'x', row 1 is 'twelve'"):
        read_table(path, target="x", missing=missing)
    assert read_table(path, target="a", missing=missing).series.values_RF.tolist() == [[1], [1]]


COLUMNS = {"close": numbers(), "open": numbers(), "date": DAYS, "flag": pl.Series([True] * 8)}


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"target": "clse"}, ValueError, "arrays: target.*'clse'.*did you mean close.*allowed: close, open"),
        ({"time": "dat"}, ValueError, "arrays: time.*'dat'.*did you mean date"),
        ({"features": ["opn"]}, ValueError, "arrays: features.*'opn'"),
        ({"group": "x"}, ValueError, "arrays: group.*'x'.*allowed"),
        ({"features": ["close"]}, ValueError, "features: column 'close' is named twice"),
        ({"features": ["open", "open"]}, ValueError, "column 'open' is named twice"),
        ({"time": "close"}, ValueError, "time: column 'close' is named twice"),
        ({"missing": "fill"}, ValueError, "missing.*'fill'.*refuse, drop, ffill"),
        ({"features": "open"}, TypeError, "features 'open'; allowed: .* a sequence"),
        ({"target": None}, TypeError, "target None, features .*; allowed: one column name"),
        ({"target": "flag"}, TypeError, "column 'flag' holds Boolean; allowed: numbers"),
        ({"group": "flag"}, TypeError, "group column 'flag' holds Boolean; allowed: text or whole"),
        ({"target": "date"}, ValueError, "column 'date', row 0 is '2020-01-01'; allowed: a number"),
        ({"time": "flag"}, TypeError, "time column 'flag' holds Boolean"),
    ],
)
def test_a_wrong_request_is_an_error_that_names_it(asked, error, message):
    with pytest.raises(error, match=message):
        from_arrays(COLUMNS, **{"target": "close"} | asked)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": []}, "no rows; allowed: 2"),
        ({"x": [1.0]}, "1 rows without a missing value; allowed: 2"),
        ({"x": [1.0, 2.0], "g": ["a", ""]}, "group column 'g', row 1 is ''; every row needs a group"),
        ({"x": [1.0, 2.0], "g": ["a", "b", "c"]}, "columns have unequal lengths {'x': 2, 'g': 3}"),
        ({"x": [[1.0], [2.0]]}, r"column 'x' has shape \(2, 1\)"),
    ],
)
def test_arrays_of_a_wrong_form_are_an_error(columns, message):
    with pytest.raises(ValueError, match=f"^arrays: {message}"):
        from_arrays(columns, target="x", group="g" if "g" in columns else None)


def test_more_rows_than_can_be_numbered_are_an_error(monkeypatch):
    monkeypatch.setattr(tables, "MAX_ROWS", 4)
    assert from_arrays({"x": numbers(4)}, target="x").understood.rows == 4
    with pytest.raises(ValueError, match="arrays: 5 rows; allowed: 2 to 4"):
        from_arrays({"x": numbers(5)}, target="x")


def test_a_long_table_takes_a_few_times_the_memory_of_its_values():
    rows = 500_000
    columns = {"x": pl.Series(np.random.default_rng(0).normal(size=rows))}
    tracemalloc.start()
    try:
        series = from_arrays(columns, target="x").series
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert series.values_RF.nbytes == 8 * rows
    assert kept < 2.6 * 8 * rows  # and three numbers of 4 bytes per row
    assert peak < 8 * 8 * rows


def test_too_many_columns_fail_at_once_and_a_wide_table_names_few(tmp_path):
    many = [f"c{i}" for i in range(MAX_COLUMNS + 1)]
    with pytest.raises(ValueError, match=r"own.csv: 10001 columns; allowed: up to 10000"):
        read_table(csv(tmp_path, ",".join(many) + "\n1\n"), target="c0")
    with pytest.raises(ValueError, match="did you mean c9998") as caught:
        read_table(csv(tmp_path, ",".join(many[:-1]) + "\n"), target="c9998x")
    assert len(str(caught.value)) < 1000


def test_stamps_out_of_order_name_the_rows_of_the_file_and_other_groups_do_not_matter():
    columns = {"x": numbers(6), "t": DAYS[:6], "g": [*"babaab"]}
    assert from_arrays(columns, target="x", time="t", group="g").understood.groups == 2
    columns["t"] = [*DAYS[:2], DAYS[0], DAYS[3], DAYS[3], DAYS[5]]  # wrong in both: first in b
    with pytest.raises(ValueError, match="row 2: 2020-01-01 is not after 2020-01-01 of row 0"):
        from_arrays(columns, target="x", time="t", group="g")


def test_a_group_too_short_for_a_window_is_no_error():
    n = 100
    columns = {"x": numbers(n + 2), "t": [*range(n), 3, 4], "g": ["long"] * n + ["short"] * 2}
    parts = split(from_arrays(columns, target="x", time="t", group="g").series, 5).data
    assert [part.size for part in parts] == [65, 10, 10]
