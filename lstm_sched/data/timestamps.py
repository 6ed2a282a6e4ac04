"""The time stamps of a user's table: read, compared in UTC, and cut where sampling is interrupted.

Shapes: R rows, sorted by group and within a group as given.
"""

from typing import Any, NamedTuple

import numpy as np
import polars as pl

ALLOWED = "YYYY-MM, YYYY-MM-DD, YYYY-MM-DDThh:mm[:ss[.f]] with or without Z or ±hh:mm, or numbers"
ISO = (
    r"^(?<month>\d{4}-\d{2})(?:(?<day>-\d{2})(?:[T ](?<clock>\d{2}:\d{2})(?<second>:\d{2}(?:\.\d{1,9})?)?"
    r"\s?(?<zone>Z|[+-][01]\d(?::?[0-5]\d)?)?)?)?$"
)
GAP = 1.5  # × the median step: a longer step is a gap
OPEN_DAYS = 5  # where days of the week are closed, a longer step, in open days, is a gap: holidays are none


class Stamps(NamedTuple):
    """One time stamp a row."""

    time_R: np.ndarray  # datetime64 (in UTC where the stamps have zones), int64 or float64
    local_R: np.ndarray  # the same on the local clock, by which days and months are told apart
    zoned: bool


class Sampling(NamedTuple):
    """How a table was sampled."""

    gap_R: np.ndarray  # bool: a gap lies between the row before and this one
    interval: str  # median step, for printing


def read(column: pl.Series, where: str) -> Stamps:
    """The stamps of a column of text, dates or numbers; numbers stay numbers (20240131 is no date).

    Text is ISO 8601, to the microsecond; all stamps have a zone or none has. ValueError and TypeError begin
    with `where` and name the row, counted from 0.
    """
    dtype = column.dtype
    if dtype == pl.String:
        column = column.str.strip_chars()
        column = column.set(column == "", None)
    elif not (dtype == pl.Date or dtype == pl.Datetime or dtype.is_integer() or dtype.is_float()):
        raise TypeError(f"{where} holds {dtype}; allowed: {ALLOWED}")
    refuse(column, column.is_null(), where, "every row needs a time stamp")
    if dtype == pl.Date:
        return Stamps(column.to_numpy(), column.to_numpy(), False)
    if isinstance(dtype, pl.Datetime):
        local_R = column.dt.replace_time_zone(None).to_numpy()
        time_R = local_R if dtype.time_zone is None else column.dt.convert_time_zone("UTC").to_numpy()
        return Stamps(
            _coarsest(time_R.astype(local_R.dtype)), _coarsest(local_R), dtype.time_zone is not None
        )
    if dtype == pl.String and column.head(1).cast(pl.Float64, strict=False).null_count():
        return _iso(column, where)
    whole = column.cast(pl.Int64, strict=False)
    if whole.null_count() or dtype.is_float():
        whole = column.cast(pl.Float64, strict=False)
        refuse(column, whole.is_null() | ~whole.is_finite(), where, "as others, a finite number is allowed")
    refuse(column, whole.abs() > 2**62, where, "a number up to 2^62 is allowed")
    return Stamps(whole.to_numpy(), whole.to_numpy(), False)


def check_order(stamps: Stamps, same_R: np.ndarray, row_R: np.ndarray, where: str) -> None:
    """ValueError where a stamp is not later than the one before; `same_R`: both rows are of one group.

    `row_R` are the rows of the file, for the message.
    """
    time_R = stamps.time_R
    bad = 1 + np.flatnonzero(same_R[1:] & ~(time_R[1:] > time_R[:-1]))
    if not bad.size:
        return
    i = bad[np.argmin(row_R[bad])]
    hint = ""
    if time_R.dtype.kind == "M" and not stamps.zoned:
        back = time_R[i - 1] - time_R[i]
        if back <= np.timedelta64(1, "h") and (time_R != time_R.astype("datetime64[D]")).any():
            hint = ": a local time that repeats when clocks go back needs its offset (+01:00), or UTC"
    raise ValueError(
        f"{where}, row {row_R[i]}: {time_R[i]} is not after {time_R[i - 1]} of row {row_R[i - 1]}; "
        f"within a group, time stamps increase without repeats{hint}"
    )


def sampling(stamps: Stamps, same_R: np.ndarray) -> Sampling:
    """Gaps within groups: steps above 1.5 × the median of all steps within groups, since a window's length
    means one duration. Two calendars have steps of their own:

    - stamps all on one day of the month, or all on its last, at least 28 days apart: steps in months;
    - one stamp a day, one or two days of the week closed (with less than a tenth of the busiest day's rows):
      steps in open days. Above 5 is a gap, so that holidays are none; nor, then, is a missing day.
    """
    time_R, local_R = stamps.time_R, stamps.local_R
    if not same_R.any():
        return Sampling(np.zeros_like(same_R), "none")
    if time_R.dtype == np.dtype("datetime64[M]"):  # whose unit has no length
        time_R = time_R.astype("datetime64[D]")
    step_R, median = _steps(time_R, same_R)
    limit, interval = GAP * median, f"{median:g}"
    if time_R.dtype.kind == "M":
        name: Any = np.datetime_data(time_R.dtype)[0]
        unit = np.timedelta64(1, name)
        interval = _words(float(median * (unit / np.timedelta64(1, "s"))))
        day_R, month_R = local_R.astype("datetime64[D]"), local_R.astype("datetime64[M]")
        days = _steps(day_R, same_R)[1]
        tomorrow_R = day_R + np.timedelta64(1, "D")
        same_day = np.ptp((day_R - month_R.astype("datetime64[D]")).astype(np.int64)) == 0
        rows_7 = np.bincount((day_R.astype(np.int64) + 3) % 7, minlength=7)  # Monday first
        open_7 = rows_7 > rows_7.max() / 10
        if days >= 28 and (same_day or (tomorrow_R.astype("datetime64[M]") > month_R).all()):
            step_R, median = _steps(month_R, same_R)
            limit, interval = GAP * median, _plural(median, "month")
        elif days == 1 and 5 <= open_7.sum() < 7:
            step_R[1:] = np.busday_count(day_R[:-1], day_R[1:], weekmask=open_7)
            limit, interval = OPEN_DAYS, f"1 day, {open_7.sum()} days a week"
    return Sampling(same_R & (step_R > limit), interval)


def _words(seconds: float) -> str:
    if seconds >= 86400:
        return _plural(seconds / 86400, "day")
    size, unit = next((s, u) for s, u in ((3600, "h"), (60, "min"), (0, "s")) if seconds >= s)
    return f"{seconds / (size or 1):g} {unit}"


def _plural(count: float, unit: str) -> str:
    return f"{count:g} {unit}{'s' * (count != 1)}"


def _steps(time_R: np.ndarray, same_R: np.ndarray) -> tuple[np.ndarray, float]:
    """Step before each row, and the median of those within a group."""
    step_R = np.diff(time_R, prepend=time_R[:1])
    step_R = step_R.astype(np.int64) if time_R.dtype.kind == "M" else step_R
    return step_R, float(np.median(step_R[same_R]))


def _iso(column: pl.Series, where: str) -> Stamps:
    part = column.str.extract_groups(ISO).struct
    clock = part.field("clock").fill_null("00:00") + part.field("second").fill_null(":00")
    text = part.field("month") + part.field("day").fill_null("-01") + "T" + clock
    local = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", strict=False, time_unit="us")
    refuse(column, local.is_null(), where, f"allowed: {ALLOWED}")
    local_R, zone = local.to_numpy(), part.field("zone")
    if part.field("day").null_count() == len(column):
        local_R = local_R.astype("datetime64[M]")
    if zone.null_count() == len(column):
        return Stamps(_coarsest(local_R), _coarsest(local_R), False)
    refuse(column, zone.is_null(), where, "as others, it needs a zone (Z or ±hh:mm)")
    minutes = {z: _minutes(z) for z in zone.unique()}
    offset_R = zone.replace_strict(minutes, return_dtype=pl.Int64).to_numpy()
    return Stamps(_coarsest(local_R - offset_R.astype("timedelta64[m]")), _coarsest(local_R), True)


def _minutes(zone: str) -> int:
    """'-03:30' -> -210."""
    digits = zone[1:].replace(":", "").ljust(4, "0")
    return 0 if zone == "Z" else (-1 if zone[0] == "-" else 1) * (60 * int(digits[:2]) + int(digits[2:]))


def _coarsest(time_R: np.ndarray) -> np.ndarray:
    """The same times in the coarsest unit that holds them, as they print best."""
    if time_R.dtype == "datetime64[M]":
        return time_R
    for unit in ("D", "m", "s"):
        coarse_R = time_R.astype(f"datetime64[{unit}]")
        if (coarse_R == time_R).all():
            return coarse_R
    return time_R


def refuse(column: pl.Series, bad: pl.Series, where: str, allowed: str) -> None:
    """ValueError naming the first row that is `bad`, if any is."""
    rows = bad.arg_true()
    if len(rows):
        value = column[rows[0]]
        raise ValueError(
            f"{where}, row {rows[0]} is {'blank' if value is None else repr(value)[:80]}; {allowed}"
        )
