"""From a user's table to windows: none straddles a gap, a group or a part, and no later value reaches an earlier.

The reference below shares no code with the library: it walks through the rows of a table one by one, with the
standard library's dates, and reads its windows in the table's own units.
"""

import gzip
import itertools
import statistics
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from lstm_sched.data.splits import PARTS, split
from lstm_sched.data.tables import from_arrays, read_table

CUTS = (0.5, 0.75)
MOST = 64  # windows taken at once, so that few shapes are compiled
NAMES = ["A", "b", "É", "<i>"]
# Clocks go forward on 29 March and back on 25 October 2020 in Berlin; in Sydney back on 5 April, forward on 4 October.
STARTS = [
    datetime(2020, 3, 28, 12),
    datetime(2020, 10, 24, 12),
    datetime(2020, 4, 4, 6),
    datetime(2020, 10, 3, 6),
]
ZONES = ["Europe/Berlin", "Australia/Sydney", "Asia/Kolkata", "UTC", None]

sizes = (st.sampled_from([1, 3]), st.sampled_from([1, 2]))
lawful = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])


@st.composite
def tables(draw):
    """Rows (group, instant in UTC, x, y), interleaved at will; and the zone in which the instants are written."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    zone, start = draw(st.sampled_from(ZONES)), draw(st.sampled_from(STARTS))
    minutes = draw(st.sampled_from([20, 60, 24 * 60]))
    longer = draw(st.sampled_from([[1], [1] * 9 + [2], [1] * 9 + [3, 40], [1, 1.25, 0.8], [1] * 9 + [1.6]]))
    rows = []
    groups = draw(st.integers(1, 4))
    for name in NAMES[:groups]:
        size = draw(st.sampled_from([40, 24, 2])) if groups > 1 and name != NAMES[0] else 40
        steps = rng.choice(longer, size) * minutes
        steps[0] = draw(st.sampled_from([0, minutes, 5 * minutes]))
        at = [start + timedelta(minutes=float(total)) for total in np.cumsum(steps)]
        rows += [(name, t.replace(tzinfo=UTC), *rng.normal(5, 3, 2).tolist()) for t in at]
    return interleaved(rows, rng), zone


def interleaved(rows, rng):
    """The rows in another order, in which those of each group stay in theirs."""
    queues = {name: [row for row in rows if row[0] == name] for name in {row[0] for row in rows}}
    names = [row[0] for row in rows]
    rng.shuffle(names)
    return [queues[name].pop(0) for name in names]


def written(rows, zone):
    """The columns of a table: local time with its offset, or, without a zone, UTC without a mark."""
    if zone is None:
        texts = [t.replace(tzinfo=None).isoformat() for _, t, _, _ in rows]
    else:
        texts = [t.astimezone(ZoneInfo(zone)).isoformat() for _, t, _, _ in rows]
    return {"g": [g for g, *_ in rows], "t": texts, "x": [r[2] for r in rows], "y": [r[3] for r in rows]}


def table_of(rows, zone, **more):
    return from_arrays(written(rows, zone), target="x", features=["y"], time="t", group="g", **more)


def reference(rows, window, horizon):
    """The windows of each part as (group, first instant, inputs, target); the rows of training; gaps."""
    groups = {}
    for row in rows:
        groups.setdefault(row[0], []).append(row)
    steps = [b[1] - a[1] for own in groups.values() for a, b in itertools.pairwise(own)]
    limit = 1.5 * statistics.median(step.total_seconds() for step in steps)
    instants = sorted({t for _, t, _, _ in rows})
    ends = [instants[int(cut * len(instants))] for cut in CUTS]

    def part(row):
        return sum(row[1] >= end for end in ends)

    found = [[], [], []]
    for own in groups.values():
        for first in range(len(own) - window - horizon + 1):
            span = own[first : first + window + horizon]
            longest = max((b[1] - a[1]).total_seconds() for a, b in itertools.pairwise(span))
            if len({part(row) for row in span}) == 1 and longest <= limit:
                inputs = [list(row[2:]) for row in span[:window]]
                found[part(span[0])].append((span[0][0], span[0][1], inputs, span[-1][2]))
    return found, [row for row in rows if part(row) == 0], sum(step.total_seconds() > limit for step in steps)


def windows_of(part, scale):
    """All windows and targets of a part, in the units of the table."""
    assert part.size <= 4 * MOST
    taken = [
        part.take(np.minimum(np.arange(at, at + MOST), part.size - 1)) for at in range(0, part.size, MOST)
    ]
    x, y = (
        np.concatenate([np.asarray(one, np.float64) for one in both])[: part.size]
        for both in zip(*taken, strict=True)
    )
    return x * scale.std_F[None, None] + scale.mean_F[None, None], y * scale.std_F[:1] + scale.mean_F[:1]


@lawful
@given(tables(), *sizes)
def test_windows_are_those_of_the_reference_whatever_the_zone_and_the_order_of_groups(drawn, window, horizon):
    rows, zone = drawn
    expected, training, gaps = reference(rows, window, horizon)
    series, understood = table_of(rows, zone)
    assert (understood.gaps, understood.groups) == (gaps, len({g for g, *_ in rows}))
    empty = [name for name, windows in zip(PARTS, expected, strict=True) if not windows]
    if empty:
        with pytest.raises(ValueError, match=f"part '{empty[0]}' holds no window"):
            split(series, window, horizon, CUTS)
        return
    data, scale, _ = split(series, window, horizon, CUTS)
    trained_RF = np.array([row[2:] for row in training])
    np.testing.assert_allclose(scale.mean_F, trained_RF.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(scale.std_F, trained_RF.std(axis=0), rtol=1e-12)
    for part, windows in zip(data, expected, strict=True):
        windows = sorted(windows, key=lambda w: w[:2])
        assert part.size == len(windows)
        x, y = windows_of(part, scale)
        np.testing.assert_allclose(x, [w[2] for w in windows], atol=1e-5)
        np.testing.assert_allclose(y[:, 0], [w[3] for w in windows], atol=1e-5)


@lawful
@given(tables(), *sizes, st.data())
def test_no_later_value_reaches_an_earlier_window_target_or_scale(drawn, window, horizon, data):
    rows, zone = drawn
    assume(all(reference(rows, window, horizon)[0]))
    instants = sorted({row[1] for row in rows})
    now = data.draw(st.sampled_from(instants))
    changed = [(g, t, x + 7 * (t > now), y - 7 * (t > now)) for g, t, x, y in rows]
    before, after = (split(table_of(r, zone).series, window, horizon, CUTS) for r in (rows, changed))
    last_training = instants[int(CUTS[0] * len(instants)) - 1]
    if now >= last_training:
        np.testing.assert_array_equal(after.scale, before.scale)
    for p, windows in enumerate(reference(rows, window, horizon)[0]):
        windows = sorted(windows, key=lambda w: w[:2])
        values = {(g, t): x for g, t, x, _ in rows}
        ends = [max(t for (g, t), x in values.items() if g == w[0] and x == w[3]) for w in windows]
        past = [i for i, end in enumerate(ends) if end <= now]
        for a, b in zip(
            windows_of(before.data[p], before.scale), windows_of(after.data[p], after.scale), strict=True
        ):
            np.testing.assert_allclose(b[past], a[past], atol=2e-5)
        if now >= last_training:  # on one scale, bit for bit
            i = np.minimum(np.arange(MOST), before.data[p].size - 1)
            kept = [n for n in past if n < MOST]
            for a, b in zip(before.data[p].take(i), after.data[p].take(i), strict=True):
                np.testing.assert_array_equal(np.asarray(b)[kept], np.asarray(a)[kept])


@lawful
@given(tables(), st.integers(0, 2**32 - 1), st.sampled_from(ZONES[:-1]))
def test_neither_the_order_of_groups_nor_the_zone_changes_anything(drawn, seed, other):
    rows, zone = drawn
    shuffled = interleaved(rows, np.random.default_rng(seed))
    a, b = table_of(rows, zone), table_of(shuffled, zone)
    assert a.understood == b.understood
    for left, right in zip(a.series, b.series, strict=True):
        np.testing.assert_array_equal(left, right)
    if zone is not None:
        c = table_of(rows, other)
        for left, right in zip(a.series, c.series, strict=True):
            np.testing.assert_array_equal(left, right)


@lawful
@given(tables(), st.sampled_from([".csv", ".csv.gz", ".parquet", ".npz"]))
def test_a_file_gives_what_its_arrays_give(tmp_path_factory, drawn, ending):
    rows, zone = drawn
    columns, path = written(rows, zone), tmp_path_factory.getbasetemp() / f"arrays{ending}"
    frame = pl.DataFrame(columns)
    if ending == ".npz":
        np.savez(path, g=columns["g"], t=columns["t"], x=columns["x"], y=columns["y"])
    elif ending == ".parquet":
        frame.write_parquet(path)
    else:
        text = frame.write_csv().encode()
        path.write_bytes(gzip.compress(text) if ending == ".csv.gz" else text)
    asked = {"target": "x", "features": ["y"], "time": "t", "group": "g"}
    for left, right in zip(
        read_table(path, **asked).series[1:], from_arrays(columns, **asked).series[1:], strict=True
    ):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Sydney"])
@pytest.mark.parametrize("start", STARTS)
def test_hourly_local_stamps_have_no_gap_with_zones_and_an_error_or_a_gap_without(zone, start):
    instants = [start.replace(tzinfo=UTC) + timedelta(hours=h) for h in range(60)]
    local = [t.astimezone(ZoneInfo(zone)) for t in instants]
    x = np.arange(60.0)
    series, understood = from_arrays({"x": x, "t": [t.isoformat() for t in local]}, target="x", time="t")
    assert (series.segment_R.max(), understood.gaps, understood.utc) == (0, 0, True)
    naive = {"x": x, "t": [t.replace(tzinfo=None) for t in local]}
    jumps = local[-1].utcoffset() - local[0].utcoffset()
    if jumps < timedelta(0):
        with pytest.raises(
            ValueError, match="a local time that repeats when clocks go back needs its offset"
        ):
            from_arrays(naive, target="x", time="t")
    else:
        assert from_arrays(naive, target="x", time="t").understood.gaps == (jumps > timedelta(0))


@lawful
@given(st.integers(0, 2**32 - 1), st.sampled_from(["drop", "ffill"]), *sizes)
def test_a_window_reads_no_missing_row_and_a_filled_value_is_of_the_past(seed, missing, window, horizon):
    rng = np.random.default_rng(seed)
    group_R, time_R = np.repeat(["a", "b"], 40), np.tile(np.cumsum(rng.choice([1] * 9 + [5], 40)), 2)
    x_R = np.where(rng.random(80) < 0.15, np.nan, np.arange(80.0))
    kept, segment = [], 0
    for r in range(80):
        new = r in (0, 40) or time_R[r] - time_R[r - 1] > 1.5
        broken = r > 0 and missing == "drop" and np.isnan(x_R[r - 1])
        last = r
        while (
            missing == "ffill"
            and np.isnan(x_R[last])
            and last not in (0, 40)
            and time_R[last] - time_R[last - 1] == 1
        ):
            last -= 1
        segment += new or broken
        if not np.isnan(x_R[last]):
            kept.append((x_R[last], time_R[r], segment))
    columns = {"x": x_R, "t": time_R, "g": group_R}
    series = from_arrays(columns, target="x", time="t", group="g", missing=missing).series
    assert series.values_RF[:, 0].tolist() == [value for value, _, _ in kept]
    assert series.times_R.tolist() == [time for _, time, _ in kept]
    pairs = itertools.pairwise([segment for _, _, segment in kept])
    assert np.diff(series.segment_R).astype(bool).tolist() == [a != b for a, b in pairs]


@lawful
@given(st.integers(0, 2**32 - 1), *sizes)
def test_business_days_break_at_long_closures_alone(seed, window, horizon):
    rng = np.random.default_rng(seed)
    every = [date(2020, 1, 1) + timedelta(days=d) for d in range(200)]
    open_ = [day for day in every if day.weekday() < 5]
    first = int(rng.integers(10, 120))
    closed = int(rng.integers(1, 8))  # days of holidays in a row
    kept = [day for i, day in enumerate(open_) if not first <= i < first + closed]
    columns = {"x": np.arange(float(len(kept))), "t": kept}
    series, understood = from_arrays(columns, target="x", time="t")
    assert understood.gaps == series.segment_R.max() == (closed >= 5)
    if closed >= 5:
        assert series.segment_R.tolist().index(1) == first
    data = split(series, window, horizon, CUTS).data
    ends = [0, *(int(cut * len(kept)) for cut in CUTS), len(kept)]
    unbroken = sum(b - a - (window + horizon - 1) for a, b in itertools.pairwise(ends))
    assert (sum(part.size for part in data) == unbroken) == (closed < 5 or first in ends)
