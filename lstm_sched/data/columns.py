"""Columns of a user's table: made from anything with one value per row, and checked row by row.

Shapes: R rows. Messages count rows from 0, without the header.
"""

from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

BLANKS = ("", "na", "n/a", "nan", "null", "none", "nil")  # text that means a missing number, in either case
LARGEST = 3e38  # float32 ends at 3.4e38
RANGE = f"allowed: finite numbers from -{LARGEST:g} to {LARGEST:g} (float32)"


def as_column(values: ArrayLike | pl.Series, where: str) -> pl.Series:
    """Make a polars column from an array or a sequence.

    Args:
        values: R numbers, texts, dates or times, of NumPy, Python or polars; None and NaN are missing values.
        where: the beginning of every error message.

    Returns:
        The column; floats become float64.

    Raises:
        TypeError: masked arrays, mixed types, and types that no table has.
        ValueError: more than one dimension, or time stamps with and without a zone.
    """
    if isinstance(values, pl.Series):
        return values
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError(f"{where} is a masked array; allowed: NaN for missing values")
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{where} has shape {array.shape}; allowed: one value per row")
    if array.dtype.kind == "f":
        array = array.astype(np.float64, copy=False)
    if array.dtype.kind == "M":
        unit = np.datetime_data(array.dtype.str)[0]
        array = array.astype(f"datetime64[{'D' if unit in 'YMWD' else 'ns' if unit == 'ns' else 'us'}]")
    if array.dtype.kind not in "iufMUO":
        raise TypeError(f"{where} holds {array.dtype}; allowed: numbers, dates, times and text")
    objects = array.tolist() if array.dtype.kind == "O" else []
    if len({v.tzinfo is None for v in objects if isinstance(v, datetime)}) > 1:  # polars would take UTC
        raise ValueError(f"{where} has time stamps with a zone and without; allowed: all or none with a zone")
    try:  # objects are Python's dates, or values and None
        return pl.Series(array.tolist() if array.dtype.kind in "UO" else array, strict=True)
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        reason = first_line(error)
        raise TypeError(f"{where} mixes types; allowed: one of number, date, time, text ({reason})") from None


def numbers(column: pl.Series, where: str) -> np.ndarray:
    """Read values as float64, NaN where they are missing. Raises TypeError, or ValueError naming the row."""
    if column.dtype == pl.String:
        text = column.str.strip_chars()
        text = text.set(text.str.to_lowercase().is_in(BLANKS), None)
        number = text.cast(pl.Float64, strict=False)
        refuse_rows(column, number.is_null() & text.is_not_null(), where, "allowed: a number, or blank")
    elif column.dtype.is_numeric() or column.dtype == pl.Null:
        number = column.cast(pl.Float64)
    else:
        raise TypeError(f"{where} holds {column.dtype}; allowed: numbers")
    refuse_rows(column, number.is_not_nan() & (number.abs() > LARGEST), where, RANGE)
    return number.to_numpy()


def group_ranks(column: pl.Series, where: str) -> np.ndarray:
    """Rank each row's group among the sorted names. Raises TypeError, or ValueError naming the row."""
    if not (column.dtype in (pl.String, pl.Categorical, pl.Enum) or column.dtype.is_integer()):
        raise TypeError(f"{where} holds {column.dtype}; allowed: text or whole numbers")
    text = column.cast(pl.String)
    refuse_rows(column, text.is_null() | (text == ""), where, "every row needs a group")
    return text.cast(pl.Enum(text.unique().sort())).to_physical().to_numpy().astype(np.int64)


def refuse_rows(column: pl.Series, bad: pl.Series, where: str, allowed: str) -> None:
    """Raise ValueError naming the first row in which `bad` is true, if there is one."""
    rows = bad.arg_true()
    if len(rows):
        value = column[rows[0]]
        shown = "blank" if value is None else repr(value)[:80]
        raise ValueError(f"{where}, row {rows[0]} is {shown}; {allowed}")


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the name of its type if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
