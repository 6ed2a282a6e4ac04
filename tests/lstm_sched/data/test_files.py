"""Files are what their ending says or an error in one sentence, and only the columns asked for are read."""

import gzip
import io
import pickle
import zipfile

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_sched.data.files import MAX_HEADER, open_table, read_samples

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


def content(frame, ending):
    buffer = io.BytesIO()
    frame.write_parquet(buffer) if ending == ".parquet" else frame.write_csv(buffer)
    return gzip.compress(buffer.getvalue()) if ending == ".csv.gz" else buffer.getvalue()


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet", ".CSV"])
def test_strange_names_come_back_as_they_are_with_their_own_columns(tmp_path, ending):
    frame = pl.DataFrame({name: [10 * i, 10 * i + 1] for i, name in enumerate(STRANGE)})
    (tmp_path / "k=1").mkdir()
    names, load = open_table(write(tmp_path / "k=1" / f"own[1]*{ending}", content(frame, ending)))
    assert names == STRANGE
    for i, name in enumerate(STRANGE):
        ((key, column),) = load([name]).items()
        assert (key, column.cast(pl.Int64).to_list()) == (name, [10 * i, 10 * i + 1])
    assert list(map(list, load(STRANGE[::-1]).values())) == list(map(list, load(STRANGE).values()))


@pytest.mark.parametrize(
    ("name", "content", "columns"),
    [
        (
            "own.csv",
            b'\xef\xbb\xbfa,b\r\n1,"x\r\ny"\r\n2,z\r\n\r\n\r\n',
            {"a": ["1", "2"], "b": ["x\r\ny", "z"]},
        ),
        (
            "own.csv.gz",
            gzip.compress(b"a,b\n1,2\n") + gzip.compress(b"3,4\n"),
            {"a": ["1", "3"], "b": ["2", "4"]},
        ),
    ],
)
def test_byte_order_marks_windows_line_ends_blank_ends_and_members_of_gzip_are_read(
    tmp_path, name, content, columns
):
    names, load = open_table(write(tmp_path / name, content))
    assert {key: column.to_list() for key, column in load(names).items()} == columns


PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(64)
TEXT = b"a,b\n1,2\n"
WRONG = {
    "picture": PNG,
    "empty": b"",
    "zip": b"PK\x03\x04" + PNG,
    "pickle": pickle.dumps([1, 2]),
    "utf-16": TEXT.decode().encode("utf-16"),
    "gzip cut short": gzip.compress(bytes(range(256)) * 9)[:-9],
    "text": TEXT,
}


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet", ".npz"])
@pytest.mark.parametrize("kind", WRONG)
def test_a_file_that_is_not_what_its_ending_says_is_one_sentence(tmp_path, ending, kind):
    if (kind, ending) == ("text", ".csv"):
        return
    path = write(tmp_path / f"own{ending}", WRONG[kind])
    with pytest.raises(ValueError, match=rf"own{ending}: cannot be read as {ending}: ") as caught:
        open_table(path)
    assert "\n" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,2\n1,5,2\n", "row 1 has more fields than the 2 of its header"),
        (b"a,b\n1,2\n1,5,2,8,9\n", "row 1 has more fields than the 2 of its header"),
        (b"a,b\n" + b"1,2\n" * MAX_HEADER + b"1,\xff\n", "invalid utf-8"),
        (b"a,a\n1,2\n", "its header has column 'a' 2 times"),
        (b"\n\na,b\n1,2\n", "its first line is blank"),
        (b"a,\0\n1,2\n", "NUL characters"),
        (b"a,\xff\n1,2\n", "'utf-8' codec can't decode"),
        (b"a," * MAX_HEADER + b"\n", "its first line is longer than 1048576 characters"),
        (b"a" * 2**18 + b"\n1\n", "field larger than field limit"),
    ],
)
def test_a_csv_whose_header_or_rows_are_wrong_is_one_sentence(tmp_path, content, message):
    path = write(tmp_path / "own.csv", content)
    with pytest.raises(ValueError, match=f"own.csv: cannot be read as .csv: .*{message}"):
        open_table(path)[1](["a"])


@pytest.mark.parametrize(
    ("name", "read", "error", "message"),
    [
        ("nowhere.csv", open_table, FileNotFoundError, "nowhere.csv: no such file"),
        ("folder.csv", open_table, IsADirectoryError, "folder.csv: not a file; allowed: .* .csv, .csv.gz"),
        ("own.txt", open_table, ValueError, "ending '.txt'; allowed: .csv, .csv.gz, .parquet, .npz"),
        ("own.csv", read_samples, ValueError, "ending '.csv'; allowed: .npz"),
    ],
)
def test_paths_that_are_no_file_or_of_another_kind_are_errors(tmp_path, name, read, error, message):
    (tmp_path / "folder.csv").mkdir()
    for existing in ("own.txt", "own.csv"):
        write(tmp_path / existing, b"a\n1\n")
    with pytest.raises(error, match=message):
        read(tmp_path / name)


def test_a_pickled_object_is_refused_and_never_run(tmp_path):
    mark = tmp_path / "executed"
    array = np.empty(2, object)
    array[:] = Trap(mark)
    path = write(tmp_path / "own.npz", npz(x=array, y=np.zeros((2, 1)), good=np.arange(2)))
    names, load = open_table(path)
    assert names == ["x", "y", "good"]
    assert load(["good"])["good"].to_list() == [0, 1]  # only what is asked for is read
    for read in (lambda: load(["x"]), lambda: read_samples(path)):
        with pytest.raises(ValueError, match=r"cannot be read as \.npz: Object arrays"):
            read()
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
    damaged = bytearray(npz(a=np.arange(5.0)))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = write(tmp_path_factory.getbasetemp() / "damaged.npz", bytes(damaged))
    try:
        names, load = open_table(path)
        column = load(names).get("a")
    except ValueError as error:
        assert "cannot be read as .npz" in str(error)
    else:
        assert column is None or column.to_list() == [0, 1, 2, 3, 4]


def test_samples_come_back_in_float64(tmp_path):
    x_NTF, y_NO = np.arange(24, dtype=np.float32).reshape(4, 3, 2), np.arange(4)[:, None]
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
        ({"x": [[["a"]]], "y": [[1.0]]}, TypeError, "x holds <U1; allowed: numbers"),
    ],
)
def test_samples_that_are_not_numbers_of_float32_are_an_error(tmp_path, arrays, error, message):
    with pytest.raises(error, match=message):
        read_samples(write(tmp_path / "own.npz", npz(**arrays)))
