"""From a user's table to windows: none straddles a gap, a group or a part, and no later value reaches an earlier one.

The reference below shares no code with the library: it walks through the rows of a table one by one, with the
standard library's dates, and reads its windows in the table's own units.
"""

import itertools
import statistics
from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from helpers import taking
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from lstm_sched.data.splits import PARTS, split
from lstm_sched.data.tables import from_arrays

NAMES = ["A", "b", "É", "<i>"]
# Clocks go forward on 29 March and back on 25 October 2020 in Berlin; in Sydney back on 5 April, forward on 4 October.
STARTS = [
    datetime(2020, 3, 28, 12),
    datetime(2020, 10, 24, 12),
    datetime(2020, 4, 4, 6),
    datetime(2020, 10, 3, 6),
]
ZONES = ["Europe/Berlin", "Australia/Sydney", "Asia/Kolkata", "UTC", None]

forms = (st.sampled_from([1, 3]), st.sampled_from([1, 2]), st.sampled_from([(0.5, 0.75), (0.3, 0.6)]))
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


def table_of(rows, zone):
    """Read with local time and its offset or, without a zone, UTC without a mark."""
    if zone is None:
        texts = [t.replace(tzinfo=None).isoformat() for _, t, _, _ in rows]
    else:
        texts = [t.astimezone(ZoneInfo(zone)).isoformat() for _, t, _, _ in rows]
    columns = {"g": [r[0] for r in rows], "t": texts, "x": [r[2] for r in rows], "y": [r[3] for r in rows]}
    return from_arrays(columns, target="x", features=["y"], time="t", group="g")


def reference(rows, window, horizon, cuts):
    """The windows of each part as (group, first and last instant, inputs, target); the rows of training; gaps."""
    groups = {}
    for row in rows:
        groups.setdefault(row[0], []).append(row)
    steps = [b[1] - a[1] for group in groups.values() for a, b in itertools.pairwise(group)]
    limit = 1.5 * statistics.median(step.total_seconds() for step in steps)
    instants = sorted({t for _, t, _, _ in rows})
    ends = [instants[int(cut * len(instants))] for cut in cuts]

    def part(row):
        return sum(row[1] >= end for end in ends)

    windows = [[], [], []]
    for name, group in sorted(groups.items()):
        for first in range(len(group) - window - horizon + 1):
            span = group[first : first + window + horizon]
            longest = max((b[1] - a[1]).total_seconds() for a, b in itertools.pairwise(span))
            if len({part(row) for row in span}) == 1 and longest <= limit:
                inputs = [list(row[2:]) for row in span[:window]]
                windows[part(span[0])].append((name, span[0][1], span[-1][1], inputs, span[-1][2]))
    return (
        windows,
        [row for row in rows if part(row) == 0],
        sum(step.total_seconds() > limit for step in steps),
    )


@lawful
@given(tables(), *forms)
def test_windows_are_those_of_the_reference_in_every_zone_and_order_of_groups(drawn, window, horizon, cuts):
    rows, zone = drawn
    expected, training, gaps = reference(rows, window, horizon, cuts)
    table = table_of(rows, zone)
    assert (table.understood.gaps, table.understood.groups) == (gaps, len({g for g, *_ in rows}))
    empty = [name for name, windows in zip(PARTS, expected, strict=True) if not windows]
    if empty:
        with pytest.raises(
            ValueError, match=f"part '{empty[0]}' holds no window; .* need {window + horizon}"
        ):
            split(table.series, window, horizon, cuts)
        return
    parts = split(table.series, window, horizon, cuts)
    mean_F, std_F = astuple(parts.scale)
    trained_RF = np.array([row[2:] for row in training])
    np.testing.assert_allclose(mean_F, trained_RF.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(std_F, trained_RF.std(axis=0), rtol=1e-12)
    for part, extent, windows in zip(parts.data, parts.extents, expected, strict=True):
        assert part.size == extent.windows == len(windows)
        x, y = taking.everything(part)
        x_NTF, y_N = np.array([w[3] for w in windows]), np.array([w[4] for w in windows])
        np.testing.assert_array_equal(
            x, ((x_NTF - mean_F[None, None]) / std_F[None, None]).astype(np.float32)
        )
        np.testing.assert_array_equal(y[:, 0], ((y_N - mean_F[0]) / std_F[0]).astype(np.float32))


@lawful
@given(tables(), *forms, st.data())
def test_no_later_value_reaches_an_earlier_window_target_or_scale(drawn, window, horizon, cuts, data):
    rows, zone = drawn
    windows, training, _ = reference(rows, window, horizon, cuts)
    assume(all(windows))
    now = data.draw(st.sampled_from(sorted({row[1] for row in rows})))
    changed = [(g, t, x + 7 * (t > now), y - 7 * (t > now)) for g, t, x, y in rows]
    before, after = (split(table_of(r, zone).series, window, horizon, cuts) for r in (rows, changed))
    same_scale = now >= max(row[1] for row in training)
    if same_scale:
        np.testing.assert_array_equal(astuple(after.scale), astuple(before.scale))
    for part_0, part_1, of_part in zip(before.data, after.data, windows, strict=True):
        past = [i for i, window in enumerate(of_part) if window[2] <= now]
        if same_scale:
            a, b = taking.everything(part_0), taking.everything(part_1)
        else:
            a, b = in_units(part_0, before.scale), in_units(part_1, after.scale)
        for values, again in zip(a, b, strict=True):
            np.testing.assert_allclose(again[past], values[past], rtol=0, atol=0 if same_scale else 2e-5)


def in_units(part, scale):
    """All windows and targets in the units of the table."""
    x_NTF, y_NO = taking.everything(part)
    return x_NTF * scale.std_F + scale.mean_F, y_NO * scale.std_F[:1] + scale.mean_F[:1]


@lawful
@given(tables(), st.integers(0, 2**32 - 1), st.sampled_from(ZONES[:-1]))
def test_neither_the_order_of_groups_nor_the_zone_changes_anything(drawn, seed, other_zone):
    rows, zone = drawn
    table, shuffled = table_of(rows, zone), table_of(interleaved(rows, np.random.default_rng(seed)), zone)
    assert table.understood == shuffled.understood
    elsewhere = table if zone is None else table_of(rows, other_zone)
    for again in (shuffled, elsewhere):
        for left, right in zip(astuple(table.series), astuple(again.series), strict=True):
            np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Sydney"])
@pytest.mark.parametrize("start", STARTS)
def test_hourly_local_stamps_have_no_gap_with_zones_and_an_error_or_a_gap_without(zone, start):
    instants = [start.replace(tzinfo=UTC) + timedelta(hours=h) for h in range(60)]
    local = [t.astimezone(ZoneInfo(zone)) for t in instants]
    x = np.arange(60.0)
    table = from_arrays({"x": x, "t": [t.isoformat() for t in local]}, target="x", time="t")
    assert (table.series.segment_R.max(), table.understood.gaps, table.understood.utc) == (0, 0, True)
    np.testing.assert_array_equal(table.series.times_R, np.array([t.replace(tzinfo=None) for t in instants]))
    naive = {"x": x, "t": [t.replace(tzinfo=None) for t in local]}
    jumps = local[-1].utcoffset() - local[0].utcoffset()
    if jumps < timedelta(0):
        with pytest.raises(ValueError, match=r"repeats when clocks go back needs its offset \(\+01:00\)"):
            from_arrays(naive, target="x", time="t")
    else:
        assert from_arrays(naive, target="x", time="t").understood.gaps == (jumps > timedelta(0))


@lawful
@given(st.integers(0, 2**32 - 1), st.sampled_from(["drop", "ffill"]))
def test_a_window_reads_no_missing_row_and_a_filled_value_is_of_the_past(seed, missing):
    rng = np.random.default_rng(seed)
    group_R, time_R = np.repeat(["a", "b"], 40), np.tile(np.cumsum(rng.choice([1] * 9 + [5], 40)), 2)
    x_R = np.where(rng.random(80) < 0.15, np.nan, np.arange(80.0))
    kept, segment = [], 0
    for r in range(80):
        begins = r in (0, 40) or time_R[r] - time_R[r - 1] > 1.5
        broken = r > 0 and missing == "drop" and np.isnan(x_R[r - 1])
        last = r
        while (
            missing == "ffill"
            and np.isnan(x_R[last])
            and last not in (0, 40)
            and time_R[last] - time_R[last - 1] == 1
        ):
            last -= 1
        segment += begins or broken
        if not np.isnan(x_R[last]):
            kept.append((x_R[last], time_R[r], segment))
    columns = {"x": x_R, "t": time_R, "g": group_R}
    series = from_arrays(columns, target="x", time="t", group="g", missing=missing).series
    assert series.values_RF[:, 0].tolist() == [value for value, _, _ in kept]
    assert series.times_R.tolist() == [time for _, time, _ in kept]
    pairs = itertools.pairwise([segment for _, _, segment in kept])
    assert np.diff(series.segment_R).astype(bool).tolist() == [a != b for a, b in pairs]
