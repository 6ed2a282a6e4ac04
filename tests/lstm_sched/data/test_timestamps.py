"""Time stamps of every form are read, ordered in UTC, and broken where a calendar would break them."""

from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_sched.data.timestamps import Timestamps, check_order, read, sampling

ZONES = [None, ZoneInfo("UTC"), timezone(timedelta(hours=-3, minutes=-30)), ZoneInfo("Europe/Berlin")]
moments = st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1))


def read_texts(texts):
    return read(pl.Series(texts), "t")


def sampled(time_R):
    """Sampling of one group on a local clock that is UTC."""
    return sampling(Timestamps(time_R=time_R, local_R=time_R), np.arange(len(time_R)) > 0)


def gaps(time_R):
    return np.flatnonzero(sampled(time_R).gap_R).tolist()


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
        (["2020-02", "2020-03-01"], "datetime64[D]", "2020-02-01"),
        (["2020-01-01T00:00", "2020-01-02"], "datetime64[D]", "2020-01-01"),
        (["2020-01-01 05:30", "2020-01-02"], "datetime64[m]", "2020-01-01T05:30"),
        (["2020-01-01T00:00:01Z", "2020-01-01T00:00:02+0000"], "datetime64[s]", "2020-01-01T00:00:01"),
        (["2020-01-01T01:00+01", "2020-01-01T01:00 Z"], "datetime64[m]", "2020-01-01T00:00"),
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
        (["2020-01-01", "05-12-20"], "row 1 is '05-12-20'"),
        (["2020-01-01", "2020- 1- 2"], "row 1 is '2020- 1- 2'"),
        (["2020-01-01", "2021-02-29"], "row 1 is '2021-02-29'"),
        (["2020-01-01", "2021-02-28Z"], "row 1 is '2021-02-28Z'"),
        (["2020-01-01", "3"], "row 1 is '3'"),
        (["2020-01-01", "now"], "row 1 is 'now'"),
        (["2020-01-01T25:00", "2020-01-02"], "row 0 is '2020-01-01T25:00'"),
        (["2020-01-01T00:00Z", "2020-01-02T00:00"], "row 1 is '2020-01-02T00:00'; allowed: a zone"),
        (["2020-01-01", None], "row 1 is blank; every row needs a time stamp"),
        (["2020-01-01", "  "], "row 1 is blank"),
        (["1", "two"], "row 1 is 'two'; allowed: a finite number"),
        (["1", "inf"], "row 1 is 'inf'"),
        ([0.5, float("nan")], "row 1 is nan"),
        ([1, 2**63 - 1], r"row 1 is 9223372036854775807; allowed: numbers up to 2\^62"),
        ([True, False], "t holds Boolean; allowed: YYYY-MM"),
    ],
)
def test_a_value_that_is_no_stamp_is_an_error_that_names_the_first_row(texts, message):
    with pytest.raises(TypeError if texts[0] is True else ValueError, match=message):
        read_texts(texts)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["2020-01-01", "2020-01-03", "2020-01-02"], "t, row 2: 2020-01-02 is not after 2020-01-03 of row 1"),
        (["2020-01-01", "2020-01-01"], "row 1: 2020-01-01 is not after 2020-01-01 of row 0.*repeats$"),
        (["1", "3", "3"], "row 2: 3 is not after 3 of row 1"),
        (["2020-10-25T02:30", "2020-10-25T02:00"], r"when clocks go back needs its offset \(\+01:00\)"),
        (["2020-10-25T02:00", "2020-10-25T02:00"], "when clocks go back"),
    ],
)
def test_stamps_that_do_not_increase_are_an_error_that_names_both(texts, message):
    with pytest.raises(ValueError, match=message):
        check_order(read_texts(texts), np.arange(len(texts)) > 0, np.arange(len(texts)), "t")


@given(st.integers(10, 120), st.integers(0, 7))
def test_business_days_break_at_long_closures_alone(first, closed):
    days = [date(2020, 1, 1) + timedelta(days=d) for d in range(200)]
    open_ = [day for day in days if day.weekday() < 5 or day in (date(2020, 1, 4), date(2020, 7, 11))]
    kept = np.array(open_[:first] + open_[first + closed :], "datetime64[D]")
    assert sampled(kept).interval == "1 day, 5 days a week"  # whatever rare sessions there are at weekends
    assert gaps(kept) == ([first] if closed >= 5 else [])


def test_every_missing_day_is_a_gap_where_all_days_of_the_week_occur():
    days = np.arange("2020-01-01", "2020-03-01", dtype="datetime64[D]")
    assert gaps(np.delete(days, [20, 30])) == [20, 29]
    assert sampled(days).interval == "1 day"


@pytest.mark.parametrize(
    ("zone", "first"), [("Australia/Sydney", "2020-03-01T13"), ("Europe/London", "2020-03-02")]
)
def test_business_days_are_those_of_the_local_clock(zone, first):
    midnight = datetime(2020, 3, 2, tzinfo=ZoneInfo(zone))
    week = [midnight + timedelta(days=d) for d in range(60) if d % 7 < 5]
    stamps = read_texts([t.isoformat() for t in week])
    sampled_there = sampling(stamps, np.arange(len(week)) > 0)
    assert not sampled_there.gap_R.any()
    assert sampled_there.interval == "1 day, 5 days a week"
    assert stamps.time_R[0] == np.datetime64(first)


@pytest.mark.parametrize(("months", "label"), [(1, "1 month"), (3, "3 months"), (12, "12 months")])
@pytest.mark.parametrize("form", ["month", "first day", "last day"])
def test_months_quarters_and_years_are_even_and_break_where_one_is_missing(months, label, form):
    time_R = np.arange("1999-01", "2019-01", months, dtype="datetime64[M]")
    if form == "last day":
        time_R = (time_R + np.timedelta64(1, "M")).astype("datetime64[D]") - np.timedelta64(1, "D")
    elif form == "first day":
        time_R = time_R.astype("datetime64[D]")
    assert sampled(time_R).interval == label
    assert gaps(time_R) == []
    assert gaps(np.delete(time_R, 5)) == [5]


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
    assert sampled(time_R).interval == interval
