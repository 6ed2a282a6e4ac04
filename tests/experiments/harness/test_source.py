"""The data of a run: files, arrays and bundled series, read alike, and every bad one refused."""

import dataclasses
import hashlib
import json

import jax
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.harness import experiment
from experiments.harness import source as so
from experiments.harness.setting import check
from experiments.harness.source import open_source, outline
from experiments.refit import run as refit
from experiments.refit.config import Config
from lstm_sched import from_arrays, load
from lstm_sched.data.series import Series

ROWS = 400
SMALL = Config(window=4, hidden=3, batch=128, epochs=2, seeds=1, arms=("one_fit", "keras_loop"))
OWN = dataclasses.replace(SMALL, target="close", time="date", features=("volume",))


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    days = pl.date_range(pl.date(2020, 1, 1), pl.date(2020, 1, 1) + pl.duration(days=ROWS - 1), eager=True)
    columns = {"date": days, "close": rng.normal(size=ROWS).cumsum(), "volume": rng.uniform(1, 2, ROWS)}
    return pl.DataFrame(columns | {"kind": ["a"] * ROWS})


def written(frame, path):
    if path.suffix == ".csv":
        frame.write_csv(path)
    elif path.suffix == ".parquet":
        frame.write_parquet(path)
    else:
        np.savez(path, close=frame["close"].to_numpy(), volume=frame["volume"].to_numpy())
    return str(path)


def same(a, b):
    """Whether two sources have the same bits to train on."""
    leaves = [jax.tree.leaves(source.split.data) for source in (a, b)]
    return a.digest == b.digest and all(map(np.array_equal, *leaves))


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".npz"])
def test_the_same_values_are_the_same_data_from_every_kind_of_file(ending, frame, tmp_path):
    config = dataclasses.replace(OWN, time=None)
    source = open_source(config, written(frame, tmp_path / f"own{ending}"))
    arrays = from_arrays(frame.to_dict(), target="close", features=("volume",)).series
    assert same(source, open_source(config, "arrays", arrays))
    assert source.understood["rows"] == ROWS
    assert source.split.scale.mean_F.shape == (2,)


def test_a_series_from_python_is_the_same_data_as_the_bundled_one():
    assert same(open_source(SMALL, "own", load("ar")), open_source(SMALL, "ar"))


def test_a_csv_of_ones_own_is_trained_on_and_described_and_goes_on_with_the_same_values_only(
    frame, tmp_path, capsys
):
    path, out = written(frame, tmp_path / "own.csv"), str(tmp_path / "run")
    (results,) = refit.main(dataclasses.replace(OWN, data=(path,), out=out))
    assert results.differing == {"one_fit": 0, "keras_loop": 0}
    printed = capsys.readouterr().out
    for fact in ("400 rows", "interval 1 day", "0 gaps", "train", "2020-01-01"):
        assert fact in printed
    stored = json.loads((tmp_path / "run" / "config.json").read_text())
    assert stored["data"]["understood"]["columns"] == ["close", "volume"]
    written(frame.with_columns(pl.col("close") * 2), tmp_path / "own.csv")
    with pytest.raises(ValueError, match="begun with another data"):
        experiment.prepare(refit.EXPERIMENT, Config(resume=out))


def test_ready_made_samples_are_pooled_and_each_series_has_a_folder_that_stays_inside(tmp_path, capsys):
    x_NTF = np.random.default_rng(1).normal(size=(300, 5, 2))
    data, out = tuple(str(tmp_path / name) for name in ("..x y;.npz", "b.npz")), tmp_path / "two"
    for path, scale in zip(data, (1, 2), strict=True):
        np.savez(path, x=x_NTF, y=scale * x_NTF.sum((1, 2))[:, None])
    config = dataclasses.replace(SMALL, data=data, arms=("one_fit", "keras_recompile"), seeds=6, out=str(out))
    results, _ = refit.main(config)
    assert results.windows["after the last epoch"].shape == (12, 45)
    assert {path.name for path in out.iterdir()} >= {"x_y_", "b", "config.json", "pooled.csv"}
    assert "over series like these" in capsys.readouterr().out
    before = (out / "pooled.csv").read_bytes()
    refit.main(Config(resume=str(out)))
    assert (out / "pooled.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"target": None}, "target: none given; allowed: .* own.csv .*: date, close, volume, kind"),
        ({"target": "clse"}, "'clse'.*did you mean close"),
        ({"features": ("close",)}, "column 'close' is named twice"),
        ({}, "'date', row 50: .* is not after .* of row 49"),
        ({"time": None, "group": "close"}, "column 'close' is named twice"),
        ({"time": None, "window": 300}, "holds no window"),
    ],
)
def test_a_bad_file_or_request_is_refused(asked, message, frame, tmp_path):
    path = written(pl.concat([frame[:50], frame[49:]]), tmp_path / "own.csv")
    with pytest.raises(ValueError, match=message):
        open_source(dataclasses.replace(OWN, **asked), path)


@pytest.mark.parametrize(
    ("asked", "message"),
    [({"missing": "dorp"}, "did you mean drop"), ({"period": 0}, "period: 0; allowed: 1 or more")],
)
def test_a_setting_of_the_data_is_refused(asked, message):
    with pytest.raises(ValueError, match=message):
        check(dataclasses.replace(OWN, **asked))


def test_a_bundled_series_takes_other_columns_but_no_other_time():
    config = dataclasses.replace(SMALL, target="wind_m_s", features=("temp_max_c",))
    assert open_source(config, "weather").understood["columns"] == ["wind_m_s", "temp_max_c"]
    with pytest.raises(ValueError, match="time: 'date'; allowed: none"):
        open_source(dataclasses.replace(config, time="date"), "weather")
    with pytest.raises(ValueError, match=r"data: unknown 'wether' .*did you mean weather"):
        open_source(config, "wether")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.csv"):
        open_source(config, "nowhere.csv")


@given(st.integers(1, 400), st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_an_outline_has_every_stretch_and_the_extremes_of_each_bin(rows, seed, bins):
    rng = np.random.default_rng(seed)
    values_RF, row_R = rng.normal(size=(rows, 2)), np.arange(rows)
    segment_R = np.cumsum(rng.random(rows) < 0.05)
    fields = {"values_RF": values_RF, "segment_R": segment_R, "date_R": row_R, "times_R": row_R}
    series = Series(name="long", columns=("x", "y"), target="x", **fields)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(so, "BINS", bins)
        drawn = outline(series)
    width = -(-rows // bins)
    kept = drawn.times_R.tolist()
    assert kept == sorted(set(kept))
    for field, value in fields.items():
        np.testing.assert_array_equal(getattr(drawn, field), value[kept])
    for start in range(0, rows, width):
        bin_R = values_RF[start : start + width, 0]
        assert {start + int(bin_R.argmin()), start + int(bin_R.argmax())} <= set(kept)
    for segment in set(segment_R.tolist()):
        stretch = np.flatnonzero(segment_R == segment)
        assert {int(stretch[0]), int(stretch[-1])} <= set(kept)
    assert len(kept) <= 2 * (bins + segment_R[-1] + 1) + width
    assert width > 1 or len(kept) == rows


def test_a_source_of_a_long_series_keeps_no_more_than_is_trained_on_and_drawn():
    rows = 500_000
    series = from_arrays({"x": np.sin(np.arange(rows))}, target="x").series
    drawn = open_source(SMALL, "x", series).series
    assert drawn is not None
    assert len(drawn.values_RF) <= 2 * so.BINS + 10
    assert (drawn.times_R[0], drawn.times_R[-1]) == (0, rows - 1)


def test_the_digest_is_that_of_the_bytes_whatever_the_width_of_whole_numbers(monkeypatch):
    monkeypatch.setattr(so, "BLOCK", 7)
    series = load("co2")
    wide = dataclasses.replace(series, segment_R=series.segment_R.astype(np.int64))
    expected = hashlib.sha256(wide.values_RF.tobytes() + wide.segment_R.tobytes()).hexdigest()[:16]
    assert [open_source(SMALL, "x", of).digest for of in (series, wide)] == [expected] * 2
