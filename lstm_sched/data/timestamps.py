"""The time stamps of a user's table: how they are read, compared in UTC, and searched for gaps in sampling.

Shapes: R rows, sorted by group, and within a group in their given order.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from lstm_sched.data.columns import refuse_rows

ALLOWED = "YYYY-MM, YYYY-MM-DD, YYYY-MM-DDThh:mm[:ss[.f]] with or without Z or ±hh:mm, or numbers"
MONTH, DAY = "%Y-%m", "%Y-%m-%d"
CLOCKS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M")
SHAPE = r"^\d{4}-\d\d(-\d\d([T ]\d\d:\d\d.*)?)?$"  # otherwise 05-12-20 would be a day of the year 5
ZONE = r"\s?(Z|[+-][0-9:]+)$"
GAP = 1.5  # × the median step: a longer step is a gap
OPEN_DAYS = 5  # if days of the week are closed, a step of more open days is a gap; holidays are not


@dataclass(frozen=True, kw_only=True)
class Timestamps:
    """One time stamp per row."""

    time_R: np.ndarray  # datetime64 (in UTC where the stamps have zones), int64 or float64
    local_R: np.ndarray  # the same on the local clock, which decides where days and months begin
    zoned: bool = False

    def take(self, row_R: np.ndarray) -> "Timestamps":
        """Select or reorder rows."""
        return Timestamps(time_R=self.time_R[row_R], local_R=self.local_R[row_R], zoned=self.zoned)


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a table was sampled."""

    gap_R: np.ndarray  # bool: a gap lies between the row before and this one
    interval: str  # median step, for printing


def read(column: pl.Series, where: str) -> Timestamps:
    """Read the time stamps of a column of text, dates, times or numbers.

    Text is ISO 8601, read to the microsecond; either all stamps have a zone or none has. Numbers stay
    numbers: 20240131 is not a date.

    Args:
        column: R values, none of them missing.
        where: the beginning of every message.

    Raises:
        TypeError: a column of another type.
        ValueError: a row holds no time stamp; the message counts rows from 0.
    """
    dtype = column.dtype
    if dtype == pl.String:
        column = column.str.strip_chars()
        column = column.set(column == "", None)
    elif not (dtype == pl.Date or dtype == pl.Datetime or dtype.is_integer() or dtype.is_float()):
        raise TypeError(f"{where} holds {dtype}; allowed: {ALLOWED}")
    refuse_rows(column, column.is_null(), where, "every row needs a time stamp")
    if dtype == pl.Date:
        return Timestamps(time_R=column.to_numpy(), local_R=column.to_numpy())
    if isinstance(dtype, pl.Datetime):
        return _timestamps(column, column.dt.replace_time_zone(None), dtype.time_zone is not None)
    if dtype == pl.String and column.head(1).cast(pl.Float64, strict=False).null_count():
        return _from_text(column, where)
    number = column.cast(pl.Int64, strict=False)
    if number.null_count() or dtype.is_float():
        number = column.cast(pl.Float64, strict=False)
        refuse_rows(
            column,
            number.is_null() | ~number.is_finite(),
            where,
            "allowed: a finite number, as in other rows",
        )
    refuse_rows(column, number.abs() > 2**62, where, "allowed: numbers up to 2^62")
    return Timestamps(time_R=number.to_numpy(), local_R=number.to_numpy())


def _from_text(column: pl.Series, where: str) -> Timestamps:
    text = column.set(~column.str.contains(SHAPE), None).str.replace("T", " ", literal=True)
    month = _parsed(text, [MONTH])
    if not month.null_count():
        month_R = month.to_numpy().astype("datetime64[M]")
        return Timestamps(time_R=month_R, local_R=month_R)
    utc = _parsed(text, [f"{clock}%#z" for clock in CLOCKS])
    clock = pl.select(pl.when(utc.is_null()).then(text).otherwise(text.str.replace(ZONE, ""))).to_series()
    local = _parsed(clock, [*CLOCKS, DAY, MONTH])
    refuse_rows(column, local.is_null(), where, f"allowed: {ALLOWED}")
    zoned = utc.null_count() < len(utc)
    if zoned:
        refuse_rows(column, utc.is_null(), where, "allowed: a zone (Z or ±hh:mm), as in other rows")
    return _timestamps(utc if zoned else local, local, zoned)


def _parsed(text: pl.Series, formats: list[str]) -> pl.Series:
    """Parse each text by the first format that fits it, in UTC if formats have a zone; null if none fits."""
    zone = "UTC" if formats[0].endswith("z") else None
    times = [text.str.to_datetime(f, strict=False, time_unit="us", time_zone=zone) for f in formats]
    return pl.select(pl.coalesce(times)).to_series()


def _timestamps(time: pl.Series, local: pl.Series, zoned: bool) -> Timestamps:
    utc = time.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if zoned else local
    return Timestamps(time_R=_coarsest(utc.to_numpy()), local_R=_coarsest(local.to_numpy()), zoned=zoned)


def _coarsest(time_R: np.ndarray) -> np.ndarray:
    """The same times in the coarsest unit that holds them, as they print best."""
    for unit in ("D", "m", "s"):
        coarse_R = time_R.astype(f"datetime64[{unit}]")
        if (coarse_R == time_R).all():
            return coarse_R
    return time_R


def check_order(timestamps: Timestamps, same_R: np.ndarray, row_R: np.ndarray, where: str) -> None:
    """Check that time increases within each group.

    Args:
        timestamps: of R rows, group after group.
        same_R: whether a row belongs to the same group as the row before.
        row_R: the rows' numbers in the file, for the message.
        where: the beginning of the message.

    Raises:
        ValueError: a stamp is not later than the one before; the message names both.
    """
    time_R = timestamps.time_R
    bad = 1 + np.flatnonzero(same_R[1:] & ~(time_R[1:] > time_R[:-1]))
    if not bad.size:
        return
    i = bad[np.argmin(row_R[bad])]
    hint = ""
    if time_R.dtype.kind == "M" and not timestamps.zoned:
        back = time_R[i - 1] - time_R[i]
        if back <= np.timedelta64(1, "h") and (time_R != time_R.astype("datetime64[D]")).any():
            hint = ": a local time that repeats when clocks go back needs its offset (+01:00), or UTC"
    raise ValueError(
        f"{where}, row {row_R[i]}: {time_R[i]} is not after {time_R[i - 1]} of row {row_R[i - 1]}; "
        f"within a group, time stamps increase without repeats{hint}"
    )


def sampling(timestamps: Timestamps, same_R: np.ndarray) -> Sampling:
    """Find the gaps within groups: steps longer than 1.5 × the median of all steps within groups.

    Windows of one length then span one duration. Two calendars have steps of another unit:

    - stamps all on one day of the month, or all on its last, at least 28 days apart: steps are months;
    - one stamp per day, with one or two days of the week closed (less than a tenth of the rows of the busiest day):
      steps are open days. Only a step of more than 5 is a gap, so holidays, and single missing days, are not.

    Args:
        timestamps: of R rows, group after group.
        same_R: whether a row and the one before it are of one group.
    """
    time_R, local_R = timestamps.time_R, timestamps.local_R
    if not same_R.any():
        return Sampling(gap_R=np.zeros_like(same_R), interval="none")
    if time_R.dtype == np.dtype("datetime64[M]"):  # whose unit has no length
        time_R = time_R.astype("datetime64[D]")
    step_R, median = _steps(time_R, same_R)
    limit, interval = GAP * median, f"{median:g}"
    if time_R.dtype.kind == "M":
        interval = _duration(median, time_R.dtype)
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
    return Sampling(gap_R=same_R & (step_R > limit), interval=interval)


def _steps(time_R: np.ndarray, same_R: np.ndarray) -> tuple[np.ndarray, float]:
    """Step before each row, and the median of those within a group."""
    step_R = np.diff(time_R, prepend=time_R[:1])
    step_R = step_R.astype(np.int64) if time_R.dtype.kind == "M" else step_R
    return step_R, float(np.median(step_R[same_R]))


def _duration(steps: float, dtype: np.dtype) -> str:
    """Write a number of steps of a datetime64 type in the longest unit that they fill."""
    seconds = steps * float(np.timedelta64(1, np.datetime_data(dtype)[0]) / np.timedelta64(1, "s"))  # pyright: ignore
    if seconds >= 86400:
        return _plural(seconds / 86400, "day")
    size, unit = next((s, u) for s, u in ((3600, "h"), (60, "min"), (0, "s")) if seconds >= s)
    return f"{seconds / (size or 1):g} {unit}"


def _plural(count: float, unit: str) -> str:
    return f"{count:g} {unit}{'s' * (count != 1)}"
