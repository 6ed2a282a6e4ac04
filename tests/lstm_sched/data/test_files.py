"""Files are what their ending says or an error in one sentence, and only the columns asked for are read."""

import gzip
import io
import pickle
import zipfile
from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_sched.data.tables import MAX_HEADER, as_column, open_table, read_samples

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(64)
STRANGE = ["^.*$", "*", "<b>a</b>", 'quote"d', "new\nline", "comma,", "ünï", ""]


class Trap:
    """Pickled so that loading it would write the file `path`."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def write(path, content):
    path.write_bytes(content)
    return path


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def csv_of(frame):
    return frame.write_csv().encode()


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet", ".CSV"])
def test_strange_names_come_back_as_they_are_with_their_own_columns(tmp_path, ending):
    frame = pl.DataFrame({name: [10 * i, 10 * i + 1] for i, name in enumerate(STRANGE)})
    path = tmp_path / f"own{ending}"
    if ending == ".parquet":
        frame.write_parquet(path)
    else:
        path.write_bytes(gzip.compress(csv_of(frame)) if ending == ".csv.gz" else csv_of(frame))
    names, load = open_table(path)
    assert names == STRANGE
    for i, name in enumerate(STRANGE):
        (found,) = load([name]).items()
        assert (found[0], found[1].cast(pl.Int64).to_list()) == (name, [10 * i, 10 * i + 1])
    assert list(map(list, load(STRANGE[::-1]).values())) == list(map(list, load(STRANGE).values()))


def test_a_csv_may_have_a_byte_order_mark_windows_line_ends_and_blank_lines_at_its_end(tmp_path):
    path = write(tmp_path / "own.csv", b'\xef\xbb\xbfa,b\r\n1,"x\r\ny"\r\n2,z\r\n\r\n\r\n')
    names, load = open_table(path)
    assert names == ["a", "b"]
    assert load(["a", "b"])["b"].to_list() == ["x\r\ny", "z"]


def test_all_members_of_a_gzip_file_are_read(tmp_path):
    path = write(tmp_path / "own.csv.gz", gzip.compress(b"a,b\n1,2\n") + gzip.compress(b"3,4\n"))
    assert open_table(path)[1](["a"])["a"].to_list() == ["1", "3"]


def test_a_name_with_glob_characters_is_a_name(tmp_path):
    (tmp_path / "k=1").mkdir()
    for ending in (".csv", ".parquet"):
        path = tmp_path / "k=1" / f"own[1]*{ending}"
        frame = pl.DataFrame({"a": [1, 2]})
        frame.write_csv(path) if ending == ".csv" else path.write_bytes(parquet(frame))
        names, load = open_table(path)
        assert names == ["a"]
        assert load(names)["a"].len() == 2


def parquet(frame):
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


WRONG = {
    "picture": PNG,
    "empty": b"",
    "zip": b"PK\x03\x04" + PNG,
    "pickle": pickle.dumps([1, 2]),
    "utf-16": "a,b\n1,2\n".encode("utf-16"),
    "gzip cut short": gzip.compress(bytes(range(256)) * 9)[:-9],
}


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet", ".npz"])
@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
def test_a_file_that_is_not_what_its_ending_says_is_one_sentence(tmp_path, ending, content):
    path = write(tmp_path / f"own{ending}", content)
    with pytest.raises(ValueError, match=rf"own{ending}: cannot be read as {ending}: ") as caught:
        open_table(path)
    assert "\n" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_text_is_neither_parquet_nor_npz_nor_gzip(tmp_path):
    for ending in (".csv.gz", ".parquet", ".npz"):
        with pytest.raises(ValueError, match=f"cannot be read as {ending}"):
            open_table(write(tmp_path / f"own{ending}", b"a,b\n1,2\n"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,2\n1,5,2\n", "row 1 has more fields than the 2 of its header"),
        (b"a,b\n1,2\n1,5,2,8,9\n", "row 1 has more fields than the 2 of its header"),
        (b"a,b\n" + b"1,2\n" * MAX_HEADER + b"1,\xff\n", "invalid utf-8"),
        (b"a,a\n1,2\n", "its header has column 'a' 2 times"),
    ],
)
def test_a_csv_whose_rows_are_wrong_is_one_sentence(tmp_path, content, message):
    load = open_table(write(tmp_path / "own.csv", content))[1]
    with pytest.raises(ValueError, match=f"own.csv: cannot be read as .csv: .*{message}"):
        load(["a"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n\na,b\n1,2\n", "its first line is blank"),
        (b"a,\0\n1,2\n", "NUL characters"),
        (b"a,\xff\n1,2\n", "'utf-8' codec can't decode"),
        (b"a," * MAX_HEADER + b"\n", "its first line is longer than 1048576 characters"),
        (b"a" * 2**18 + b"\n1\n", "field larger than field limit"),
    ],
)
def test_a_header_that_names_no_columns_or_too_much_is_refused_at_once(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        open_table(write(tmp_path / "own.csv", content))


def test_paths_that_are_no_file_or_of_another_kind_are_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.csv: no such file"):
        open_table(tmp_path / "nowhere.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(IsADirectoryError, match=r"folder.csv: not a file; allowed: .* .csv, .csv.gz"):
        open_table(tmp_path / "folder.csv")
    with pytest.raises(ValueError, match=r"unknown ending '.txt'; allowed: .csv, .csv.gz, .parquet, .npz"):
        open_table(write(tmp_path / "own.txt", b"a\n1\n"))
    with pytest.raises(ValueError, match=r"unknown ending '.csv'; allowed: .npz"):
        read_samples(write(tmp_path / "own.csv", b"a\n1\n"))


def test_a_pickled_object_is_refused_and_never_run(tmp_path):
    mark = tmp_path / "executed"
    array = np.empty(2, object)
    array[:] = Trap(mark)
    path = write(tmp_path / "own.npz", npz(x=array, y=np.zeros((2, 1)), good=np.arange(2)))
    names, load = open_table(path)
    assert load(["good"])["good"].to_list() == [0, 1]  # what is not asked for is not read
    for read in (lambda: load(["x"]), lambda: read_samples(path)):
        with pytest.raises(ValueError, match=r"cannot be read as \.npz: Object arrays"):
            read()
    assert names == ["x", "y", "good"]
    assert not mark.exists()


def test_a_member_that_is_no_array_is_refused(tmp_path):
    path = tmp_path / "own.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a", "text")
    with pytest.raises(ValueError, match="'a' is no array"):
        open_table(path)[1](["a"])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_npz_is_read_right_or_refused(tmp_path_factory, data):
    content = bytearray(npz(a=np.arange(5.0)))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    path = write(tmp_path_factory.getbasetemp() / "damaged.npz", bytes(content))
    try:
        names, load = open_table(path)
        column = load(names).get("a")
    except ValueError as error:
        assert "cannot be read as .npz" in str(error)
    else:
        assert column is None or column.to_list() == [0, 1, 2, 3, 4]


def test_samples_come_back_in_float64(tmp_path):
    x_NTF = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    y_NO = np.arange(4)[:, None]
    x, y = read_samples(write(tmp_path / "own.npz", npz(x=x_NTF, y=y_NO)))
    assert x.dtype == y.dtype == np.float64
    np.testing.assert_array_equal(x, x_NTF)
    np.testing.assert_array_equal(y, y_NO)


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        ({"x": np.zeros((2, 2, 1))}, ValueError, "own.npz: samples.*'y'.*; allowed: x"),
        ({"x": np.full((1, 1, 1), np.nan), "y": [[1]]}, ValueError, r"x\[0, 0, 0\] is nan; allowed: finite"),
        ({"x": [[[1.0]]], "y": [[1e39]]}, ValueError, r"y\[0, 0\] is 1e\+39; .* to 3e\+38"),
        ({"x": [[["a"]]], "y": [[1.0]]}, TypeError, "x holds <U1; numbers are allowed"),
    ],
)
def test_samples_that_are_not_numbers_of_float32_are_an_error(tmp_path, arrays, error, message):
    with pytest.raises(error, match=message):
        read_samples(write(tmp_path / "own.npz", npz(**arrays)))


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
        (np.zeros((2, 1)), ValueError, r"c has shape \(2, 1\); one value a row"),
        (np.array([1j]), TypeError, "c holds complex128"),
        (np.array([True]), TypeError, "c holds bool"),
        (np.ma.masked_array([1, 2], [True, False]), TypeError, "c is a masked array; allowed: NaN"),
        (np.array([1, "a"], object), TypeError, "c mixes types"),
        ([datetime(2020, 1, 1), datetime(2020, 1, 1, tzinfo=UTC)], ValueError, "with a zone and without"),
    ],
)
def test_what_cannot_be_a_column_is_an_error(values, error, message):
    with pytest.raises(error, match=message):
        as_column(values, "c")
