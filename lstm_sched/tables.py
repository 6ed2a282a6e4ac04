"""A user's own data: a CSV, Parquet or NPZ file, or arrays, checked and made a `series.Series`.

Shapes: R rows, F columns (column 0 is the target). Rows are counted from 0 in messages, a header not counted.
"""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from lstm_sched import stamps
from lstm_sched.files import LARGEST, RANGE, as_column, open_table
from lstm_sched.names import check_name
from lstm_sched.series import Series, assemble

MISSING = ("refuse", "drop", "ffill")
BLANKS = ("", "na", "n/a", "nan", "null", "none", "nil")  # as text in a column of numbers, in either case
MAX_COLUMNS = 10_000
MAX_ROWS = 2**31 - 1  # which int32 can number
SHOWN = 50  # names listed where one is unknown


class Understood(NamedTuple):
    """What was read, for printing and recording (`_asdict()` is ready for JSON)."""

    name: str
    columns: tuple[str, ...]  # the target first
    rows: int  # used
    interval: str  # median step of the time stamps
    utc: bool  # the stamps had zones: times are in UTC
    gaps: int  # in time, within groups
    groups: int
    dropped: int  # rows, for missing values
    filled: int  # values carried forward

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.rows} rows of {', '.join(map(repr, self.columns))}; "
            f"interval {self.interval}{' (UTC)' * self.utc}; gaps {self.gaps}; groups {self.groups}; "
            f"rows dropped {self.dropped}; values filled {self.filled}"
        )


class Table(NamedTuple):
    """A series, and what was understood of the table that it comes from."""

    series: Series
    understood: Understood


class Roles(NamedTuple):
    """What the columns of a table are for."""

    target: str
    time: str | None
    features: Sequence[str]
    group: str | None
    missing: str


def read_table(
    path: str | Path,
    *,
    target: str,
    time: str | None = None,
    features: Sequence[str] = (),
    group: str | None = None,
    missing: str = "refuse",
) -> Table:
    """The series in a .csv, .csv.gz, .parquet or .npz file (an array of R values a column).

    `target` is predicted from itself and `features`. Rows are in time order within each `group`; groups may
    lie interleaved, and the series has them one after another, sorted by name. Gaps are as `stamps.sampling`
    says; without `time`, a group's rows are evenly spaced from 0 on. `missing` values (blank, null, NaN, NA):
    "refuse" raises; "drop" leaves out their rows and breaks there; "ffill" takes the last value of the same
    uninterrupted stretch, and leaves out the rows before its first.
    ValueError, TypeError or OSError, naming column, row and value and what is allowed.
    """
    path = Path(path)
    names, load = open_table(path)
    roles = Roles(target, time, features, group, missing)
    return _table(path.name, load(_check(path.name, roles, names)), roles)


def from_arrays(
    columns: Mapping[str, ArrayLike | pl.Series],
    *,
    target: str,
    time: str | None = None,
    features: Sequence[str] = (),
    group: str | None = None,
    missing: str = "refuse",
    name: str = "arrays",
) -> Table:
    """As `read_table`, of columns of R values: numbers, text, NumPy's, Python's or polars' dates and times."""
    roles = Roles(target, time, features, group, missing)
    wanted = _check(name, roles, list(columns))
    return _table(name, {c: as_column(columns[c], f"{name}: column {c!r}") for c in wanted}, roles)


def _check(name: str, roles: Roles, names: list[str]) -> list[str]:
    """The columns to read. ValueError: an unknown one, or one in two roles."""
    if not isinstance(roles.target, str) or isinstance(roles.features, str):
        given = f"target {roles.target!r}, features {roles.features!r}"
        raise TypeError(f"{name}: {given}; one column name and a sequence of names are allowed")
    check_name("missing", roles.missing, MISSING)
    if len(names) > MAX_COLUMNS:
        raise ValueError(f"{name}: {len(names)} columns; up to {MAX_COLUMNS} are allowed")
    wanted = []
    for role, columns in zip(roles._fields[:4], roles[:4], strict=True):
        for column in (columns,) if isinstance(columns, str) else columns or ():
            if column not in names:
                near = difflib.get_close_matches(column, names)
                check_name(f"{name}: {role}", column, dict.fromkeys((*near, *names[:SHOWN])))
            if column in wanted:
                raise ValueError(f"{name}: {role}: column {column!r} is named twice; each has one role")
            wanted.append(column)
    return wanted


def _table(name: str, frame: dict[str, pl.Series], roles: Roles) -> Table:
    lengths = {column: len(values) for column, values in frame.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{name}: columns have unequal lengths {lengths}")
    rows, columns = lengths[roles.target], (roles.target, *roles.features)
    if not 0 < rows <= MAX_ROWS:
        raise ValueError(f"{name}: {rows or 'no'} rows; at least 2 are needed, at most {MAX_ROWS} allowed")
    # Taken out of the frame, a column is let go once it is read.
    values_RF = np.stack([_numbers(frame.pop(c), f"{name}: column {c!r}") for c in columns], axis=1)
    blank_RF = np.isnan(values_RF)
    if roles.missing == "refuse" and blank_RF.any():
        r, f = np.argwhere(blank_RF)[0]
        raise ValueError(
            f"{name}: column {columns[f]!r}, row {r} is missing; allowed: a number, or missing=drop or ffill"
        )

    at_R = row_R = np.arange(rows, dtype=np.int32)
    same_R = at_R > 0  # of the same group as the row before
    if roles.group is not None:
        code_R = _codes(frame.pop(roles.group), f"{name}: group column {roles.group!r}")
        row_R = np.argsort(code_R, kind="stable")
        values_RF, code_R = values_RF[row_R], code_R[row_R]
        same_R = np.diff(code_R, prepend=-1) == 0
    if roles.time is None:
        times_R = at_R - np.maximum.accumulate(np.where(same_R, 0, at_R))
        sampling, utc = stamps.Sampling(np.zeros_like(same_R), "1 row"), False
    else:
        where = f"{name}: time column {roles.time!r}"
        times_R, local_R, utc = stamps.read(frame.pop(roles.time), where)
        in_groups = stamps.Stamps(times_R[row_R], local_R[row_R], utc)
        stamps.check_order(in_groups, same_R, row_R, where)
        times_R, sampling = in_groups.time_R, stamps.sampling(in_groups, same_R)

    stretch_R = np.cumsum(~same_R | sampling.gap_R, dtype=np.int32)
    if roles.missing == "ffill":
        values_RF = _ffill(values_RF, stretch_R)
    left_RF = np.isnan(values_RF)
    # To `assemble` a stretch is a group: it ends at gaps too, and dates are ranks of time stamps.
    series = assemble(name, columns, roles.target, values_RF, times_R, stretch_R, regular=False)
    gaps, groups = int(sampling.gap_R.sum()), int(np.count_nonzero(~same_R))
    dropped, filled = int(left_RF.any(axis=1).sum()), int(blank_RF.sum() - left_RF.sum())
    facts = (len(series.values_RF), sampling.interval, utc, gaps, groups, dropped, filled)
    return Table(series, Understood(name, columns, *facts))


def _numbers(column: pl.Series, where: str) -> np.ndarray:
    """float64, NaN where blank."""
    if column.dtype == pl.String:
        text = column.str.strip_chars()
        text = text.set(text.str.to_lowercase().is_in(BLANKS), None)
        number = text.cast(pl.Float64, strict=False)
        stamps.refuse(column, number.is_null() & text.is_not_null(), where, "a number or blank is allowed")
    elif column.dtype.is_numeric() or column.dtype == pl.Null:
        number = column.cast(pl.Float64)
    else:
        raise TypeError(f"{where} holds {column.dtype}; numbers are allowed")
    stamps.refuse(column, number.is_not_nan() & (number.abs() > LARGEST), where, RANGE)
    return number.to_numpy()


def _codes(column: pl.Series, where: str) -> np.ndarray:
    """The rank of each row's group among the sorted names."""
    if not (column.dtype in (pl.String, pl.Categorical, pl.Enum) or column.dtype.is_integer()):
        raise TypeError(f"{where} holds {column.dtype}; text or whole numbers are allowed")
    text = column.cast(pl.String)
    stamps.refuse(column, text.is_null() | (text == ""), where, "every row needs a group")
    return text.cast(pl.Enum(text.unique().sort())).to_physical().to_numpy().astype(np.int64)


def _ffill(values_RF: np.ndarray, stretch_R: np.ndarray) -> np.ndarray:
    """NaN replaced by the last value of its column in the same stretch, where there is one."""
    row_R1 = np.arange(len(values_RF))[:, None]
    last_RF = np.maximum.accumulate(np.where(np.isnan(values_RF), 0, row_R1), axis=0)
    filled_RF = np.take_along_axis(values_RF, last_RF, axis=0)
    return np.where(stretch_R[last_RF] == stretch_R[:, None], filled_RF, np.nan)
