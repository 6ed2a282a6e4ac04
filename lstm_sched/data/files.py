"""The columns of a user's CSV, Parquet or NPZ file: first their names, then only the requested columns.

Nothing in a file is executed. Shapes: R rows; N samples, T steps, F columns, O outputs.
"""

import csv
import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from lstm_sched._names import check_name
from lstm_sched.data.columns import LARGEST, RANGE, as_column, first_line

ENDINGS = (".csv", ".csv.gz", ".parquet", ".npz")
MAX_HEADER = 2**20  # characters of a CSV's first line
BLOCK = 2**24  # bytes read at a time
NUL = "it holds NUL characters: not text, or not in UTF-8"
UNREADABLE = (
    *(ValueError, OSError, EOFError, RuntimeError, csv.Error, zlib.error, zipfile.BadZipFile),
    *(pl.exceptions.PolarsError, pl.exceptions.PanicException),
)

Load = Callable[[Sequence[str]], dict[str, pl.Series]]
"""A function that reads the columns of these names; those of a CSV come as text."""


def open_table(path: Path) -> tuple[list[str], Load]:
    """Read the names of a file's columns, and make a function that reads some of these columns.

    Raises:
        FileNotFoundError, IsADirectoryError: the path is no file.
        ValueError: the ending is not one of ENDINGS, or the contents do not match it. The returned function
            raises it too, as it does for a name that a CSV's header repeats.
    """
    _check_path(path, ENDINGS)
    name = path.name.lower()
    if name.endswith(".npz"):
        return _npz_names(path), partial(_npz, path)
    if name.endswith(".parquet"):
        with _reading(path):
            names = pl.scan_parquet(path, glob=False, hive_partitioning=False).collect_schema().names()
        return names, partial(_parquet, path, names)
    names, start = _csv_header(path)
    return names, partial(_csv, path, names, start)


def read_samples(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read ready-made inputs x_NTF and targets y_NO, in float64, from the keys `x` and `y` of an .npz file.

    Shapes are not checked here, but by `splits.samples`.

    Raises:
        FileNotFoundError, IsADirectoryError: the path is no file.
        ValueError: no .npz file, a missing key, or a value that float32 cannot hold.
        TypeError: an array that does not hold numbers.
    """
    path = Path(path)
    _check_path(path, (".npz",))
    names = _npz_names(path)
    arrays = []
    for key in ("x", "y"):
        check_name(f"{path.name}: samples", key, names)
        array = _npz_array(path, key)
        if array.dtype.kind not in "iuf":
            raise TypeError(f"{path.name}: {key} holds {array.dtype}; allowed: numbers")
        array = array.astype(np.float64)
        bad = np.argwhere(~(np.abs(array) <= LARGEST))
        if bad.size:
            at = tuple(bad[0].tolist())
            raise ValueError(f"{path.name}: {key}{list(at)} is {array[at]}; {RANGE}")
        arrays.append(array)
    return arrays[0], arrays[1]


def _check_path(path: Path, endings: Sequence[str]) -> None:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if not path.is_file():
        raise IsADirectoryError(f"{path}: not a file; allowed: a file ending in {', '.join(endings)}")
    if not path.name.lower().endswith(tuple(endings)):
        raise ValueError(f"{path}: unknown ending {path.suffix!r}; allowed: {', '.join(endings)}")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn any error of a reader into a ValueError with one sentence."""
    try:
        yield
    except UNREADABLE as error:
        ending = next(e for e in ENDINGS if path.name.lower().endswith(e))
        raise ValueError(f"{path}: cannot be read as {ending}: {first_line(error)}") from None


def _csv_header(path: Path) -> tuple[list[str], int]:
    """The names of the columns, and the byte at which the rows begin."""
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
        # Polars renames repeated columns, and ignores fields beyond the header if it reads only some columns.
        # So it gets another header: numbers, and one more column in which such fields show.
        header = ",".join(map(str, range(len(names) + 1))).encode()
        at = [*sorted(map(names.index, wanted)), len(names)]
        *columns, beyond = pl.read_csv(_renamed(path, header, start), columns=at, infer_schema=False)
        long = beyond.is_not_null().arg_true()
        if len(long):
            raise ValueError(f"row {long[0]} has more fields than the {len(names)} of its header")
    return {names[i]: column for i, column in zip(at, columns, strict=False)}


def _renamed(path: Path, header: bytes, start: int) -> bytes:
    """The file under another header, read in blocks: a sparse file is refused before it fills the memory."""
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
