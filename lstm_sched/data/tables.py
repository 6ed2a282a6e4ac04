"""A user's own data: a CSV, Parquet or NPZ file, or arrays, checked and made a `series.Series`.

Shapes: R rows, F columns (column 0 is the target). Rows are counted from 0 in messages, a header not counted.
"""

import csv
import difflib
import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from lstm_sched._names import check_name
from lstm_sched.data import timestamps
from lstm_sched.data.series import Series, assemble

# The columns of a user's file: names first, then only those asked for; nothing in a file is ever executed.
# Shapes: R rows; N samples, T steps, F columns, O outputs.


ENDINGS = (".csv", ".csv.gz", ".parquet", ".npz")
MAX_HEADER = 2**20  # characters of a CSV's first line
BLOCK = 2**24  # bytes read at a time
NUL = "it holds NUL characters: not text, or not in UTF-8"
LARGEST = 3e38  # float32 ends at 3.4e38
RANGE = f"allowed: finite numbers from -{LARGEST:g} to {LARGEST:g} (float32)"

Load = Callable[[Sequence[str]], dict[str, pl.Series]]
"""Reads the columns named; those of a CSV as text."""


def open_table(path: Path) -> tuple[list[str], Load]:
    """A file's column names, and what loads some of them.

    FileNotFoundError, IsADirectoryError; ValueError: an ending other than `ENDINGS`, contents that are not what
    the ending says. `load` raises that too, and for a name that a CSV's header repeats.
    """
    _check_path(path, ENDINGS)
    name = path.name.lower()
    if name.endswith(".npz"):
        return _npz_names(path), partial(_npz, path)
    if name.endswith(".parquet"):
        with _reading(path):
            names = pl.scan_parquet(path, glob=False, hive_partitioning=False).collect_schema().names()
        return names, partial(_parquet, path, names)
    names, start = _csv_names(path)
    return names, partial(_csv, path, names, start)


def read_samples(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Ready-made x_NTF and y_NO, keys `x` and `y` of an .npz file, in float64, for `split.samples`.

    Errors as `open_table`; ValueError: a missing key, a value that float32 cannot hold; TypeError: not numbers.
    Shapes are checked by `split.samples`.
    """
    path = Path(path)
    _check_path(path, (".npz",))
    names = _npz_names(path)
    arrays = []
    for key in ("x", "y"):
        check_name(f"{path.name}: samples", key, names)
        array = _npz_array(path, key)
        if array.dtype.kind not in "iuf":
            raise TypeError(f"{path.name}: {key} holds {array.dtype}; numbers are allowed")
        array = array.astype(np.float64)
        bad = np.argwhere(~(np.abs(array) <= LARGEST))
        if bad.size:
            at = tuple(bad[0].tolist())
            raise ValueError(f"{path.name}: {key}{list(at)} is {array[at]}; {RANGE}")
        arrays.append(array)
    return arrays[0], arrays[1]


def as_column(values: ArrayLike | pl.Series, where: str) -> pl.Series:
    """A polars column of one value a row. TypeError and ValueError begin with `where`."""
    if isinstance(values, pl.Series):
        return values
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError(f"{where} is a masked array; allowed: NaN for what is missing")
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{where} has shape {array.shape}; one value a row is allowed")
    if array.dtype.kind == "f":
        array = array.astype(np.float64, copy=False)
    if array.dtype.kind == "M":
        unit = np.datetime_data(array.dtype.str)[0]
        array = array.astype(f"datetime64[{'D' if unit in 'YMWD' else 'ns' if unit == 'ns' else 'us'}]")
    if array.dtype.kind not in "iufMUO":
        raise TypeError(f"{where} holds {array.dtype}; numbers, dates, times and text are allowed")
    objects = array.tolist() if array.dtype.kind == "O" else []
    if len({v.tzinfo is None for v in objects if isinstance(v, datetime)}) > 1:  # polars would take UTC
        raise ValueError(f"{where} has time stamps with a zone and without; all or none is allowed")
    try:  # objects are Python's dates, or values among which some are None
        return pl.Series(array.tolist() if array.dtype.kind in "UO" else array, strict=True)
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise TypeError(
            f"{where} mixes types; allowed: one of number, date, time, text ({_line(error)})"
        ) from None


def _check_path(path: Path, endings: Sequence[str]) -> None:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if not path.is_file():
        raise IsADirectoryError(f"{path}: not a file; allowed: a file ending in {', '.join(endings)}")
    if not path.name.lower().endswith(tuple(endings)):
        raise ValueError(f"{path}: unknown ending {path.suffix!r}; allowed: {', '.join(endings)}")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """What a reader raises on bytes that are not what the file's ending says, in one sentence."""
    try:
        yield
    except (
        *(ValueError, OSError, EOFError, RuntimeError, csv.Error, zlib.error, zipfile.BadZipFile),
        *(pl.exceptions.PolarsError, pl.exceptions.PanicException),
    ) as error:
        ending = next(e for e in ENDINGS if path.name.lower().endswith(e))
        raise ValueError(f"{path}: cannot be read as {ending}: {_line(error)}") from None


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _csv_names(path: Path) -> tuple[list[str], int]:
    """The names, and the byte at which the rows begin."""
    with _reading(path):
        opened = gzip.open if path.suffix.lower() == ".gz" else open
        with opened(path, "rt", encoding="utf-8", newline="") as file:
            head = file.read(MAX_HEADER)
        buffer = io.StringIO(head, newline="")
        buffer.seek(head.startswith("\ufeff"))  # beyond a byte order mark
        names = next(csv.reader(buffer), [])
        start = len(head[: buffer.tell()].encode())
        if "\0" in head:
            raise ValueError(NUL)
        if len(head) == MAX_HEADER and buffer.tell() == MAX_HEADER:
            raise ValueError(f"its first line is longer than {MAX_HEADER} characters")
        if not any(names):
            raise ValueError("its first line is blank; it has to name the columns")
    return names, start


def _csv(path: Path, names: list[str], start: int, wanted: Sequence[str]) -> dict[str, pl.Series]:
    with _reading(path):
        for name in wanted:
            if names.count(name) > 1:
                raise ValueError(f"its header has column {name!r} {names.count(name)} times")
        # Reading some columns, polars ignores fields beyond the header's: one column more catches them.
        header = ",".join(map(str, range(len(names) + 1))).encode()
        at = [*sorted(map(names.index, wanted)), len(names)]
        *columns, beyond = pl.read_csv(_renamed(path, header, start), columns=at, infer_schema=False)
        long = beyond.is_not_null().arg_true()
        if len(long):
            raise ValueError(f"row {long[0]} has more fields than the {len(names)} of its header")
    return {names[i]: column for i, column in zip(at, columns, strict=False)}


def _renamed(path: Path, header: bytes, start: int) -> bytes:
    """The file under another header, in blocks: the nothing in a sparse file is refused, not held in memory."""
    data = bytearray()
    with (gzip.open if path.suffix.lower() == ".gz" else open)(path, "rb") as file:
        while block := file.read(BLOCK):
            if b"\0" in block:
                raise ValueError(NUL)
            data += block
    end = len(data.rstrip(b"\r\n"))  # blank lines at the end are no rows
    return b"\n".join((header, memoryview(data)[start:end]))


def _parquet(path: Path, names: list[str], wanted: Sequence[str]) -> dict[str, pl.Series]:
    with _reading(path):
        at = sorted(map(names.index, wanted))  # not by name: polars reads '^a.*$' and '*' as patterns
        frame = pl.scan_parquet(path, glob=False, hive_partitioning=False).select(pl.nth(at)).collect()
    return {column.name: column for column in frame}


def _npz_names(path: Path) -> list[str]:
    with _reading(path):
        if not zipfile.is_zipfile(path):  # np.load would take it for a pickle
            raise ValueError("it is no zip archive of arrays")
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return file.files


def _npz(path: Path, wanted: Sequence[str]) -> dict[str, pl.Series]:
    return {name: as_column(_npz_array(path, name), f"{path.name}: array {name!r}") for name in wanted}


def _npz_array(path: Path, name: str) -> np.ndarray:
    with _reading(path):
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            array = file[name]  # refuses arrays of pickled objects
        if not isinstance(array, np.ndarray):
            raise ValueError(f"{name!r} is no array")
    return array


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
        sampling, utc = timestamps.Sampling(np.zeros_like(same_R), "1 row"), False
    else:
        where = f"{name}: time column {roles.time!r}"
        times_R, local_R, utc = timestamps.read(frame.pop(roles.time), where)
        in_groups = timestamps.Stamps(times_R[row_R], local_R[row_R], utc)
        timestamps.check_order(in_groups, same_R, row_R, where)
        times_R, sampling = in_groups.time_R, timestamps.sampling(in_groups, same_R)

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
        timestamps.refuse(
            column, number.is_null() & text.is_not_null(), where, "a number or blank is allowed"
        )
    elif column.dtype.is_numeric() or column.dtype == pl.Null:
        number = column.cast(pl.Float64)
    else:
        raise TypeError(f"{where} holds {column.dtype}; numbers are allowed")
    timestamps.refuse(column, number.is_not_nan() & (number.abs() > LARGEST), where, RANGE)
    return number.to_numpy()


def _codes(column: pl.Series, where: str) -> np.ndarray:
    """The rank of each row's group among the sorted names."""
    if not (column.dtype in (pl.String, pl.Categorical, pl.Enum) or column.dtype.is_integer()):
        raise TypeError(f"{where} holds {column.dtype}; text or whole numbers are allowed")
    text = column.cast(pl.String)
    timestamps.refuse(column, text.is_null() | (text == ""), where, "every row needs a group")
    return text.cast(pl.Enum(text.unique().sort())).to_physical().to_numpy().astype(np.int64)


def _ffill(values_RF: np.ndarray, stretch_R: np.ndarray) -> np.ndarray:
    """NaN replaced by the last value of its column in the same stretch, where there is one."""
    row_R1 = np.arange(len(values_RF))[:, None]
    last_RF = np.maximum.accumulate(np.where(np.isnan(values_RF), 0, row_R1), axis=0)
    filled_RF = np.take_along_axis(values_RF, last_RF, axis=0)
    return np.where(stretch_R[last_RF] == stretch_R[:, None], filled_RF, np.nan)
