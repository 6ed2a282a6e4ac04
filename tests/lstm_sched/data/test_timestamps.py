"""Time stamps of every form are read, ordered in UTC, and broken where a calendar would break them."""

import itertools
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_sched.data.timestamps import Stamps, check_order, read, sampling

ZONES = [None, ZoneInfo("UTC"), timezone(timedelta(hours=-3, minutes=-30)), ZoneInfo("Europe/Berlin")]
moments = st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1))


def read_texts(texts):
    return read(pl.Series(texts), "t")


def one_group(time_R):
    """Sampling of one group on a local clock that is its own."""
    return sampling(Stamps(time_R, time_R, False), np.arange(len(time_R)) > 0)


def gaps(time_R):
    return np.flatnonzero(one_group(np.asarray(time_R)).gap_R).tolist()


def days(*texts):
    return np.array(texts, dtype="datetime64[D]")


@given(st.lists(moments, min_size=1), st.sampled_from(ZONES), st.sampled_from(["T", " "]))
def test_iso_text_is_read_as_the_standard_library_reads_it(times, zone, separator):
    times = [t.replace(tzinfo=zone) for t in times]
    if zone is not None:  # offsets of a whole minute, as ISO has them; local mean time has seconds
        times = [t for t in times if t.utcoffset() % timedelta(minutes=1) == timedelta(0)]
    if not times:
        return
    stamps = read_texts([t.isoformat(separator) for t in times])
    local = [t.replace(tzinfo=None) for t in times]
    utc = [(t - t.utcoffset()).replace(tzinfo=None) if zone else t for t in times]
    assert stamps.time_R.astype("datetime64[us]").tolist() == utc
    assert stamps.local_R.astype("datetime64[us]").tolist() == local
    assert stamps.zoned == (zone is not None)


@given(st.lists(moments, min_size=1), st.sampled_from(["us", "ns"]), st.sampled_from([None, "Asia/Kolkata"]))
def test_a_column_of_times_is_read_as_its_text_is(times, unit, zone):
    column = pl.Series(times, dtype=pl.Datetime(unit)).dt.replace_time_zone(zone, non_existent="null")
    text = column.dt.strftime("%Y-%m-%dT%H:%M:%S%.f" + "%:z" * (zone is not None))
    if zone is not None:  # local mean time has seconds
        keep = column.dt.year() > 1950
        column, text = column.filter(keep), text.filter(keep)
    if len(column) == 0:
        return
    a, b = read(column, "t"), read(text, "t")
    np.testing.assert_array_equal(a.time_R, b.time_R)
    np.testing.assert_array_equal(a.local_R, b.local_R)


@pytest.mark.parametrize(
    ("texts", "dtype", "first"),
    [
        (["1749-01", "1749-02"], "datetime64[M]", "1749-01"),
        (["2020-02-29", " 2020-03-01 "], "datetime64[D]", "2020-02-29"),
        (["2020-01-01T00:00", "2020-01-02"], "datetime64[D]", "2020-01-01"),
        (["2020-01-01 05:30", "2020-01-02"], "datetime64[m]", "2020-01-01T05:30"),
        (["2020-01-01T00:00:01Z", "2020-01-01T00:00:02+0000"], "datetime64[s]", "2020-01-01T00:00:01"),
        (["2020-01-01T01:00+01", "2020-01-01T01:00Z"], "datetime64[m]", "2020-01-01T00:00"),
        (["2020-01-01T00:00:00.5", "2020-01-02"], "datetime64[us]", "2020-01-01T00:00:00.500000"),
        (["2001", "2002"], "int64", "2001"),
        (["0", "0.5"], "float64", "0.0"),
    ],
)
def test_a_stamp_prints_no_finer_than_it_was_given(texts, dtype, first):
    time_R = read_texts(texts).time_R
    assert (time_R.dtype, str(time_R[0])) == (np.dtype(dtype), first)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["2020-01-01", "01/02/2020"], "t, row 1 is '01/02/2020'; allowed: YYYY-MM,"),
        (["2020-01-01", "2021-02-29"], "row 1 is '2021-02-29'"),
        (["2020-01-01", "3"], "row 1 is '3'"),
        (["2020-01-01", "now"], "row 1 is 'now'"),
        (["2020-01-01T25:00", "2020-01-02"], "row 0 is '2020-01-01T25:00'"),
        (
            ["2020-01-01T00:00Z", "2020-01-02T00:00"],
            "row 1 is '2020-01-02T00:00'; as others, it needs a zone",
        ),
        (["2020-01-01", None], "row 1 is blank; every row needs a time stamp"),
        (["2020-01-01", "  "], "row 1 is blank"),
        (["1", "two"], "row 1 is 'two'; as others, a finite number"),
        (["1", "inf"], "row 1 is 'inf'"),
        ([0.5, float("nan")], "row 1 is nan"),
        ([1, 2**63 - 1], r"row 1 is 9223372036854775807; a number up to 2\^62"),
    ],
)
def test_what_is_no_stamp_is_an_error_that_names_the_first_row(texts, message):
    with pytest.raises(ValueError, match=message):
        read_texts(texts)


def test_a_column_of_another_type_is_an_error():
    with pytest.raises(TypeError, match="t holds Boolean; allowed: YYYY-MM"):
        read_texts([True, False])


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["2020-01-01", "2020-01-03", "2020-01-02"], "t, row 2: 2020-01-02 is not after 2020-01-03 of row 1"),
        (["2020-01-01", "2020-01-01"], "row 1: 2020-01-01 is not after 2020-01-01 of row 0.*repeats$"),
        (["1", "3", "3"], "row 2: 3 is not after 3 of row 1"),
        (
            ["2020-10-25T02:30", "2020-10-25T02:00"],
            r"a local time that repeats .* needs its offset \(\+01:00\)",
        ),
        (["2020-10-25T02:00", "2020-10-25T02:00"], "when clocks go back"),
    ],
)
def test_stamps_that_do_not_increase_are_an_error_that_names_both(texts, message):
    with pytest.raises(ValueError, match=message):
        check_order(read_texts(texts), np.arange(len(texts)) > 0, np.arange(len(texts)), "t")


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-3, 3)), min_size=2, max_size=9))
def test_order_is_asked_for_within_groups_alone(rows):
    rows = sorted(rows, key=lambda row: row[0])
    pairs = list(itertools.pairwise(rows))
    wrong = any(a[0] == b[0] and b[1] <= a[1] for a, b in pairs)
    same_R = np.array([False, *(a[0] == b[0] for a, b in pairs)])
    time_R = np.array([time for _, time in rows])
    try:
        check_order(Stamps(time_R, time_R, False), same_R, np.arange(len(rows)), "t")
    except ValueError:
        assert wrong
    else:
        assert not wrong


def test_the_hour_of_a_change_of_clocks_is_neither_gap_nor_repeat():
    hours = np.arange("2020-03-20", "2020-11-10", dtype="datetime64[h]")
    zone = ZoneInfo("America/New_York")
    texts = [t.replace(tzinfo=ZoneInfo("UTC")).astimezone(zone).isoformat() for t in hours.tolist()]
    stamps = read_texts(texts)
    same_R = np.arange(len(texts)) > 0
    check_order(stamps, same_R, np.arange(len(texts)), "t")
    np.testing.assert_array_equal(stamps.time_R, hours)
    assert not sampling(stamps, same_R).gap_R.any()


def test_weekends_and_holidays_are_no_gaps_of_business_days():
    weekdays = [
        d for d in np.arange("2020-01-01", "2020-12-31", dtype="datetime64[D]").tolist() if d.weekday() < 5
    ]
    easter = {date(2020, 4, 10), date(2020, 4, 13)}
    kept = [d for d in weekdays if d not in easter]
    assert one_group(np.array(kept, "datetime64[D]")).interval == "1 day, 5 days a week"
    assert gaps(np.array(kept, "datetime64[D]")) == []
    closed = [d for d in weekdays if not date(2020, 9, 7) <= d <= date(2020, 9, 11)]
    at = closed.index(date(2020, 9, 14))
    assert gaps(np.array(closed, "datetime64[D]")) == [at]


def test_rare_sessions_at_weekends_leave_business_days_what_they_are():
    every = np.arange("2020-01-01", "2020-12-31", dtype="datetime64[D]").tolist()
    kept = [d for d in every if d.weekday() < 5 or d in (date(2020, 11, 14), date(2020, 5, 10))]
    assert gaps(np.array(kept, "datetime64[D]")) == []


def test_every_missing_day_is_a_gap_where_all_days_of_the_week_occur():
    every = np.arange("2020-01-01", "2020-03-01", dtype="datetime64[D]")
    assert gaps(np.delete(every, [20, 30])) == [20, 29]
    assert one_group(every).interval == "1 day"


@pytest.mark.parametrize(
    ("zone", "first"), [("Australia/Sydney", "2020-03-01T13"), ("Europe/London", "2020-03-02")]
)
def test_business_days_are_told_by_the_local_clock(zone, first):
    midnight = datetime(2020, 3, 2, tzinfo=ZoneInfo(zone))
    week = [midnight + timedelta(days=d) for d in range(60) if d % 7 < 5]
    stamps = read_texts([t.isoformat() for t in week])
    gap_R, interval = sampling(stamps, np.arange(len(week)) > 0)
    assert not gap_R.any()
    assert interval == "1 day, 5 days a week"
    assert stamps.time_R[0] == np.datetime64(first)


@pytest.mark.parametrize(("months", "label"), [(1, "1 month"), (3, "3 months"), (12, "12 months")])
@pytest.mark.parametrize("last", [False, True])
def test_months_quarters_and_years_are_even_and_break_where_one_is_missing(months, label, last):
    first = np.arange("1999-01", "2019-01", months, dtype="datetime64[M]")
    time_R = first.astype("datetime64[D]")
    if last:
        time_R = (first + np.timedelta64(1, "M")).astype("datetime64[D]") - np.timedelta64(1, "D")
    assert one_group(time_R).interval == label
    assert gaps(time_R) == []
    assert gaps(np.delete(time_R, 5)) == [5]


def test_months_as_text_are_months():
    assert gaps(read_texts(["1999-01", "1999-02", "1999-03", "1999-05", "1999-06"]).time_R) == [3]


@pytest.mark.parametrize(
    ("time_R", "interval"),
    [
        (np.arange(5) * np.timedelta64(5, "m") + np.datetime64("2020-01-01T00:00"), "5 min"),
        (np.arange(5) * np.timedelta64(90, "m") + np.datetime64("2020-01-01T00:00"), "1.5 h"),
        (np.arange(5) * np.timedelta64(7, "D") + np.datetime64("2020-01-01"), "7 days"),
        (np.arange(5) * np.timedelta64(20, "ms") + np.datetime64("2020-01-01T00:00:00.0"), "0.02 s"),
        (np.arange(5) * 0.25, "0.25"),
        (np.arange(1), "none"),
    ],
)
def test_the_interval_is_the_median_step_in_words(time_R, interval):
    assert one_group(time_R).interval == interval


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 9)), min_size=1, max_size=20))
def test_gaps_of_numbers_are_those_of_a_plain_loop(rows):
    rows = sorted(rows, key=lambda row: row[0])
    group_R, time_R = np.array([g for g, _ in rows]), np.cumsum([t for _, t in rows])
    same = [False, *(a == b for a, b in itertools.pairwise(group_R.tolist()))]
    step = [0, *(int(b - a) for a, b in itertools.pairwise(time_R.tolist()))]
    inside = sorted(s for s, within in zip(step, same, strict=True) if within)
    half = len(inside) // 2
    median = (inside[half] + inside[-half - 1]) / 2 if inside else 0
    expected = [within and s > 1.5 * median for s, within in zip(step, same, strict=True)]
    assert sampling(Stamps(time_R, time_R, False), np.array(same)).gap_R.tolist() == expected
