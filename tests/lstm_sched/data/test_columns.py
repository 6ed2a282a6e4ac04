"""Whatever holds one value per row becomes a column, or an error that says what is allowed."""

from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest

from lstm_sched.data.columns import as_column, group_ranks, numbers


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2], [1, 2]),
        (np.array([1, 2], np.float16), [1.0, 2.0]),
        ([1.5, None], [1.5, None]),
        (["a", "b"], ["a", "b"]),
        ([date(2020, 1, 1), None], [date(2020, 1, 1), None]),
        (np.array(["2020-01"], "datetime64[M]"), [date(2020, 1, 1)]),
        (np.array(["2020-01-01T05"], "datetime64[h]"), [datetime(2020, 1, 1, 5)]),
        ([datetime(2020, 1, 1, 5, tzinfo=UTC)], [datetime(2020, 1, 1, 5, tzinfo=UTC)]),
        (pl.Series([3]), [3]),
    ],
)
def test_arrays_and_lists_become_columns(values, expected):
    assert as_column(values, "c").to_list() == expected


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (np.zeros((2, 1)), ValueError, r"c has shape \(2, 1\); allowed: one value per row"),
        (np.array([1j]), TypeError, "c holds complex128"),
        (np.array([True]), TypeError, "c holds bool"),
        (np.ma.masked_array([1, 2], [True, False]), TypeError, "c is a masked array; allowed: NaN"),
        (np.array([1, "a"], object), TypeError, "c mixes types"),
        ([datetime(2020, 1, 1), datetime(2020, 1, 1, tzinfo=UTC)], ValueError, "with a zone and without"),
    ],
)
def test_values_that_cannot_be_a_column_are_an_error(values, error, message):
    with pytest.raises(error, match=message):
        as_column(values, "c")


@pytest.mark.parametrize("blank", ["", " ", "NA", "nan", "NaN", "null", "None", "N/A"])
def test_every_spelling_of_a_blank_is_missing(blank):
    np.testing.assert_array_equal(numbers(pl.Series(["1", blank, " 4 "]), "x"), [1, np.nan, 4])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("inf", "x, row 1 is 'inf'; allowed: finite numbers from -3e.38 to 3e.38"),
        ("-1e39", "row 1 is '-1e39'; allowed: finite"),
        ("1e999", "row 1 is '1e999'; allowed: finite"),
        ("twelve", "row 1 is 'twelve'; allowed: a number, or blank"),
        ("1,5", "row 1 is '1,5'; allowed: a number"),
        ("true", "row 1 is 'true'"),
        ("<script>" * 99, "row 1 is '<script>.{71}; allowed"),
    ],
)
def test_a_value_that_is_no_number_of_float32_is_named(value, message):
    with pytest.raises(ValueError, match=message):
        numbers(pl.Series(["1", value, "3"]), "x")


@pytest.mark.parametrize("read", [numbers, group_ranks])
def test_a_column_of_another_type_is_an_error(read):
    with pytest.raises(TypeError, match="flag holds Boolean; allowed: "):
        read(pl.Series([True]), "flag")
