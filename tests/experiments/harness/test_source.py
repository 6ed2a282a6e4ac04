"""A user's own data in the main job: files, arrays, and every bad one refused before anything is compiled."""

import dataclasses
import hashlib
import json
import sys

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.harness import cli
from experiments.harness import source as so
from experiments.harness.source import open_source, outline
from experiments.refit import run as refit
from experiments.refit.run import Config
from lstm_sched import from_arrays, load
from lstm_sched.data.series import Series

ROWS = 400
SMALL = Config(window=4, hidden=3, batch=128, epochs=2, seeds=1, arms=("one_fit", "keras_loop"))


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    days = pl.date_range(pl.date(2020, 1, 1), pl.date(2020, 1, 1) + pl.duration(days=ROWS - 1), eager=True)
    close = np.cumsum(rng.normal(size=ROWS))
    return pl.DataFrame(
        {"date": days, "close": close, "volume": rng.uniform(1, 2, ROWS), "kind": ["a"] * ROWS}
    )


def written(frame, tmp_path, ending):
    path = tmp_path / f"own{ending}"
    if ending == ".csv":
        frame.write_csv(path)
    elif ending == ".parquet":
        frame.write_parquet(path)
    else:
        np.savez(path, close=frame["close"].to_numpy(), volume=frame["volume"].to_numpy())
    return path


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".npz"])
def test_the_same_values_are_the_same_run_from_every_kind_of_file(ending, frame, tmp_path):
    path = written(frame, tmp_path, ending)
    config = dataclasses.replace(SMALL, data=(str(path),), target="close", features=("volume",))
    source = open_source(config, str(path))
    want = open_source(
        config, "arrays", from_arrays(frame.to_dict(), target="close", features=("volume",)).series
    )
    assert source.digest == want.digest
    assert source.understood["rows"] == ROWS
    assert source.split.scale.mean_F.shape == (2,)
    for one, other in zip(
        source.split.data.train.take(np.array([5])), want.split.data.train.take(np.array([5])), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_a_csv_of_ones_own_is_trained_on_and_what_was_understood_is_recorded(frame, tmp_path, capsys):
    path = written(frame, tmp_path, ".csv")
    config = dataclasses.replace(
        SMALL, data=(str(path),), target="close", time="date", features=("volume",), out=str(tmp_path / "run")
    )
    (results,) = refit.main(config)
    assert results.differing == {"one_fit": 0, "keras_loop": 0}
    printed = capsys.readouterr().out
    for words in ("400 rows", "interval", "0 gaps", "train", "2020-01-01"):
        assert words in printed
    stored = json.loads((tmp_path / "run" / "config.json").read_text())
    assert stored["data"]["understood"]["columns"] == ["close", "volume"]


def test_arrays_from_python_are_the_same_run_as_the_bundled_series(tmp_path, capsys):
    given = load("ar")
    (own,) = refit.main(dataclasses.replace(SMALL, out=str(tmp_path / "own")), given)
    (bundled,) = refit.main(dataclasses.replace(SMALL, data=("ar",), out=str(tmp_path / "bundled")))
    for metric in own.loss:
        np.testing.assert_array_equal(own.loss[metric], bundled.loss[metric])


def test_ready_made_samples_come_from_an_npz(tmp_path, capsys):
    rng = np.random.default_rng(1)
    x_NTF = rng.normal(size=(300, 5, 2))
    np.savez(tmp_path / "xy.npz", x=x_NTF, y=x_NTF.sum((1, 2))[:, None])
    config = dataclasses.replace(SMALL, data=(str(tmp_path / "xy.npz"),), out=str(tmp_path / "run"))
    (results,) = refit.main(config)
    assert results.windows["after the last epoch"].shape == (2, 45)


def test_a_run_is_not_resumed_with_other_values(frame, tmp_path, capsys):
    path = written(frame, tmp_path, ".csv")
    refit.prepare(dataclasses.replace(SMALL, data=(str(path),), target="close", out=str(tmp_path / "run")))
    frame.with_columns(pl.col("close") * 2).write_csv(path)
    with pytest.raises(ValueError, match="begun with other values of own"):
        refit.prepare(Config(resume=str(tmp_path / "run")))


def test_several_series_are_pooled_and_each_has_a_folder_that_stays_inside(frame, tmp_path, capsys):
    path = written(frame, tmp_path, ".csv").rename(tmp_path / "..own data;.csv")
    arms = ("one_fit", "keras_recompile")
    config = dataclasses.replace(SMALL, data=("ar", "sines"), seeds=6, arms=arms, out=str(tmp_path / "two"))
    refit.main(config)
    assert {p.name for p in (tmp_path / "two").iterdir()} == {"ar", "sines", "config.json", "pooled.csv"}
    assert "over series like these" in capsys.readouterr().out
    before = (tmp_path / "two" / "pooled.csv").read_bytes()
    refit.main(Config(resume=str(tmp_path / "two")))
    assert (tmp_path / "two" / "pooled.csv").read_bytes() == before
    own = dataclasses.replace(SMALL, data=(str(path), "ar"), target=None, out=str(tmp_path / "own"))
    with pytest.raises(ValueError, match="target: none given"):
        refit.prepare(own)
    from experiments.harness.run_folder import safe_names

    assert safe_names(["../../etc", "a b", "a_b", "..", ""]) == [
        "_.._etc",
        "a_b",
        "a_b-2",
        "series",
        "series-4",
    ]


def broken(frame, tmp_path, kind):
    path = tmp_path / "own.csv"
    if kind == "empty":
        path.write_text("")
    elif kind == "picture":
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    elif kind == "nan":
        frame.with_columns(close=pl.when(pl.col("close").is_not_null()).then(float("nan"))).write_csv(path)
    elif kind == "repeat":
        pl.concat([frame[:50], frame[49:]]).write_csv(path)
    elif kind == "backwards":
        frame.reverse().write_csv(path)
    else:
        frame.write_csv(path)
    return path


BAD = {
    "nothing": ([], "target: none given; allowed: a column of own.csv to predict: date, close, volume, kind"),
    "column": (["--target", "clse"], "close"),
    "text": (["--target", "kind"], "kind"),
    "empty": (["--target", "close"], "own.csv"),
    "picture": (["--target", "close"], "own.csv"),
    "nan": (["--target", "close"], "row 0"),
    "repeat": (["--target", "close", "--time", "date"], "row 50"),
    "backwards": (["--target", "close", "--time", "date"], "row 1"),
    "window": (["--target", "close", "--window", "300"], "holds no window"),
    "missing": (["--target", "close", "--missing", "dorp"], "did you mean drop"),
    "twice": (["--target", "close", "--features", "close"], "close"),
    "period": (["--target", "close", "--period", "0"], "period: 0; allowed: 1 or more"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_refused_with_exit_code_2_and_writes_nothing(
    kind, frame, tmp_path, monkeypatch, capsys
):
    flags, message = BAD[kind]
    path, out = broken(frame, tmp_path, kind), tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["refit", "--data", str(path), *flags, "--out", str(out)])
    with pytest.raises(SystemExit) as exit_:
        cli.run_plan("refit", Config, refit.prepare, refit.execute, "")
    assert exit_.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


@given(st.integers(1, 400), st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_an_outline_has_every_stretch_and_the_extremes_of_each_bin(rows, seed, bins):
    rng = np.random.default_rng(seed)
    values_RF, row_R = rng.normal(size=(rows, 2)), np.arange(rows)
    segment_R = np.cumsum(rng.random(rows) < 0.05)
    series = Series(
        name="long",
        columns=("x", "y"),
        target="x",
        values_RF=values_RF,
        segment_R=segment_R,
        date_R=row_R,
        times_R=row_R,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(so, "BINS", bins)
        drawn = outline(series)
    width = -(-rows // bins)
    kept = drawn.times_R.tolist()
    assert kept == sorted(set(kept))
    for field in ("values_RF", "segment_R", "date_R"):
        np.testing.assert_array_equal(getattr(drawn, field), getattr(series, field)[kept])
    for start in range(0, rows, width):
        bin_R = values_RF[start : start + width, 0]
        assert {start + int(bin_R.argmin()), start + int(bin_R.argmax())} <= set(kept)
    for segment in set(segment_R.tolist()):
        stretch = np.flatnonzero(segment_R == segment)
        assert {int(stretch[0]), int(stretch[-1])} <= set(kept)
    assert len(kept) <= 2 * (bins + segment_R[-1] + 1) + width
    if width == 1:
        assert len(kept) == rows


def test_a_source_of_a_long_series_keeps_no_more_than_is_trained_on_and_drawn():
    rows = 500_000
    given_ = from_arrays({"x": np.sin(np.arange(rows))}, target="x").series
    drawn = open_source(SMALL, "x", given_).series
    assert drawn is not None
    assert len(drawn.values_RF) <= 2 * so.BINS + 10
    assert (drawn.times_R[0], drawn.times_R[-1]) == (0, rows - 1)


def test_the_digest_is_that_of_the_bytes_whatever_the_width_of_whole_numbers(monkeypatch):
    monkeypatch.setattr(so, "BLOCK", 7)
    series = load("co2")
    wide = dataclasses.replace(series, segment_R=series.segment_R.astype(np.int64))
    expected = hashlib.sha256(wide.values_RF.tobytes() + wide.segment_R.tobytes()).hexdigest()[:16]
    assert [open_source(SMALL, "x", of).digest for of in (series, wide)] == [expected] * 2


def test_a_bundled_series_takes_other_columns_but_no_other_time():
    config = dataclasses.replace(SMALL, data=("weather",), target="wind_m_s", features=("temp_max_c",))
    assert open_source(config, "weather").understood["columns"] == ["wind_m_s", "temp_max_c"]
    with pytest.raises(ValueError, match="time: 'date'; allowed: none"):
        open_source(dataclasses.replace(config, time="date"), "weather")
    with pytest.raises(ValueError, match=r"data: unknown 'wether' .*did you mean weather"):
        open_source(config, "wether")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.csv"):
        open_source(config, "nowhere.csv")
