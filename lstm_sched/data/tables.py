"""A user's own data: the columns of a file, or arrays, are checked and made into a `series.Series`.

Shapes: R rows, F columns (column 0 is the target). Messages count rows from 0, without the header.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from lstm_sched._names import check_name
from lstm_sched.data import timestamps
from lstm_sched.data.columns import as_column, group_ranks, numbers
from lstm_sched.data.files import open_table
from lstm_sched.data.series import Series, assemble

MISSING = ("refuse", "drop", "ffill")
MAX_COLUMNS = 10_000
MAX_ROWS = 2**31 - 1  # the largest number of rows that int32 can count
SHOWN = 50  # at most this many names are listed if one is unknown


@dataclass(frozen=True, kw_only=True)
class Understood:
    """How a table was read, for printing and recording (`dataclasses.asdict` makes it ready for JSON)."""

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
        counts = ((self.gaps, "gap"), (self.groups, "group"), (self.dropped, "row"), (self.filled, "value"))
        gaps, groups, dropped, filled = (f"{n} {noun}{'s' * (n != 1)}" for n, noun in counts)
        missing = f"; for missing values: {dropped} dropped, {filled} filled in"
        return (
            f"{self.name}: {self.rows} rows of {', '.join(map(repr, self.columns))}; "
            f"interval {self.interval}{' (times in UTC)' * self.utc}; {gaps}; {groups}"
            f"{missing * bool(self.dropped or self.filled)}"
        )


@dataclass(frozen=True, kw_only=True)
class Table:
    """A series, and how the table that it comes from was read."""

    series: Series
    understood: Understood


@dataclass(frozen=True, kw_only=True)
class Roles:
    """The roles of a table's columns, and the treatment of missing values."""

    target: str
    time: str | None
    features: Sequence[str]
    group: str | None
    missing: str

    def check(self, name: str, names: Sequence[str]) -> list[str]:
        """The columns to read from the table `name`. Raises ValueError if one is unknown or has two roles."""
        if not isinstance(self.target, str) or isinstance(self.features, str):
            given = f"target {self.target!r}, features {self.features!r}"
            raise TypeError(f"{name}: {given}; allowed: one column name, and a sequence of names")
        check_name("missing", self.missing, MISSING)
        if len(names) > MAX_COLUMNS:
            raise ValueError(f"{name}: {len(names)} columns; allowed: up to {MAX_COLUMNS}")
        wanted = []
        roles = {
            "target": (self.target,),
            "time": (self.time,),
            "features": self.features,
            "group": (self.group,),
        }
        for role, columns in roles.items():
            for column in columns:
                if column is None:
                    continue
                if column not in names:
                    near = difflib.get_close_matches(column, names)
                    check_name(f"{name}: {role}", column, dict.fromkeys((*near, *names[:SHOWN])))
                if column in wanted:
                    raise ValueError(
                        f"{name}: {role}: column {column!r} is named twice; allowed: one role each"
                    )
                wanted.append(column)
        return wanted


def read_table(
    path: str | Path,
    *,
    target: str,
    time: str | None = None,
    features: Sequence[str] = (),
    group: str | None = None,
    missing: str = "refuse",
) -> Table:
    """Read the series in a .csv, .csv.gz, .parquet or .npz file (there, one array of R values per column).

    Args:
        path: the file; only the columns that are named here are read.
        target: the column to predict, from its own past and that of the features.
        time: the column of time stamps, which increase within each group; `timestamps.sampling` finds the
            gaps. Without it, the rows of a group are evenly spaced from 0 on.
        features: columns that the network sees as well.
        group: the column that distinguishes several series, whose rows may be interleaved. The result has the
            groups one after another, sorted by name.
        missing: the treatment of values that are blank, null, NaN or NA. "refuse" raises; "drop" leaves out
            their rows and interrupts the series there; "ffill" repeats the last value of the same
            uninterrupted stretch, and leaves out the rows before its first value.

    Returns:
        The series, with the target in column 0, and a record of how the table was read.

    Raises:
        ValueError, TypeError, OSError: unreadable data; names column, row, value and what is allowed.
    """
    path = Path(path)
    names, load = open_table(path)
    roles = Roles(target=target, time=time, features=features, group=group, missing=missing)
    return _table(path.name, load(roles.check(path.name, names)), roles)


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
    """Make a series from arrays of R values, as `read_table` does from a file.

    Args:
        columns: arrays by name: numbers, text, dates or times, of NumPy, Python or polars.
        target, time, features, group, missing: as in `read_table`.
        name: the name of the table in messages.

    Raises:
        ValueError, TypeError: as in `read_table`.
    """
    roles = Roles(target=target, time=time, features=features, group=group, missing=missing)
    wanted = roles.check(name, list(columns))
    return _table(name, {c: as_column(columns[c], f"{name}: column {c!r}") for c in wanted}, roles)


def _table(name: str, frame: dict[str, pl.Series], roles: Roles) -> Table:
    lengths = {column: len(values) for column, values in frame.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"{name}: columns have unequal lengths {lengths}; allowed: one value per row in each"
        )
    rows, columns = lengths[roles.target], (roles.target, *roles.features)
    if not 0 < rows <= MAX_ROWS:
        raise ValueError(f"{name}: {rows or 'no'} rows; allowed: 2 to {MAX_ROWS}")
    # Columns are popped from the frame so that their memory is freed once they are read.
    values_RF = np.stack([numbers(frame.pop(c), f"{name}: column {c!r}") for c in columns], axis=1)
    missing_RF = np.isnan(values_RF)
    if roles.missing == "refuse" and missing_RF.any():
        r, f = np.argwhere(missing_RF)[0]
        raise ValueError(
            f"{name}: column {columns[f]!r}, row {r} is missing; allowed: a number, or missing=drop or ffill"
        )

    row_R = np.arange(rows, dtype=np.int32)
    same_R = row_R > 0  # of the same group as the row before
    if roles.group is not None:
        group_R = group_ranks(frame.pop(roles.group), f"{name}: group column {roles.group!r}")
        row_R = np.argsort(group_R, kind="stable")
        values_RF, group_R = values_RF[row_R], group_R[row_R]
        same_R = np.diff(group_R, prepend=-1) == 0
    if roles.time is None:
        at_R = np.arange(rows, dtype=np.int32)
        times_R = at_R - np.maximum.accumulate(np.where(same_R, 0, at_R))
        sampling, utc = timestamps.Sampling(gap_R=np.zeros_like(same_R), interval="1 row"), False
    else:
        where = f"{name}: time column {roles.time!r}"
        stamps = timestamps.read(frame.pop(roles.time), where).take(row_R)
        timestamps.check_order(stamps, same_R, row_R, where)
        times_R, utc, sampling = stamps.time_R, stamps.zoned, timestamps.sampling(stamps, same_R)

    stretch_R = np.cumsum(~same_R | sampling.gap_R, dtype=np.int32)
    if roles.missing == "ffill":
        values_RF = _ffill(values_RF, stretch_R)
    left_RF = np.isnan(values_RF)
    series = assemble(name, columns, roles.target, values_RF, times_R, stretch_R, times_R)
    return Table(
        series=series,
        understood=Understood(
            name=name,
            columns=columns,
            rows=len(series.values_RF),
            interval=sampling.interval,
            utc=utc,
            gaps=int(sampling.gap_R.sum()),
            groups=int(np.count_nonzero(~same_R)),
            dropped=int(left_RF.any(axis=1).sum()),
            filled=int(missing_RF.sum() - left_RF.sum()),
        ),
    )


def _ffill(values_RF: np.ndarray, stretch_R: np.ndarray) -> np.ndarray:
    """Replace NaN by the last value of its column in the same stretch, if there is one."""
    row_R1 = np.arange(len(values_RF))[:, None]
    last_RF = np.maximum.accumulate(np.where(np.isnan(values_RF), 0, row_R1), axis=0)
    filled_RF = np.take_along_axis(values_RF, last_RF, axis=0)
    return np.where(stretch_R[last_RF] == stretch_R[:, None], filled_RF, np.nan)
