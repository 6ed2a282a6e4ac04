"""The series that a run is asked for: bundled, synthetic, a user's own file, or arrays given from Python."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.harness.setting import Setting
from lstm_sched._names import check_name
from lstm_sched.data import series as se
from lstm_sched.data.series import Series, adding
from lstm_sched.data.splits import Split, samples, split
from lstm_sched.data.tables import ENDINGS, read_samples, read_table

BLOCK = 2**16  # rows of which a copy is made at a time
BINS = 100_000  # in a picture, where each of them is narrower than a pixel
PERIODS = {"sunspots": 132, "weather": 365, "co2": 52, "glucose": 288, "stocks": 5, "air": 24}  # rows


class Source(NamedTuple):
    """Data of one run, and what was understood of it."""

    name: str
    split: Split
    series: Series | None  # of its rows those to draw; None where the data are ready-made samples
    understood: dict[str, Any]  # rows, columns, interval, gaps, groups: as JSON takes it
    digest: str  # of the values, so that a run goes on with the data that it began with
    period: int  # rows of a season


def open_source(setting: Setting, name: str, given: Series | None = None) -> Source:
    """The data that `name` stands for, split; `given` stands for itself. ValueError before any compilation."""
    if given is not None:
        return _of_series(
            setting, name, given, {"rows": len(given.values_RF), "columns": list(given.columns)}
        )
    if name in se.NAMES:
        for field in ("time", "group"):
            if getattr(setting, field) is not None:
                raise ValueError(f"{field}: {getattr(setting, field)!r}; {name} is bundled and has its own")
        return _bundled(setting, name)
    path = Path(name)
    if not any(name.lower().endswith(ending) for ending in ENDINGS):
        check_name("data", name, [*se.NAMES, *(f"a path ending in {ending}" for ending in ENDINGS)])
    if setting.target is None:
        if not name.lower().endswith(".npz"):
            raise ValueError(f"target: none given; {path.name} needs the name of the column to predict")
        return _of_samples(path.stem, read_samples(path), setting)
    table = read_table(
        path,
        target=setting.target,
        time=setting.time,
        features=setting.features,
        group=setting.group,
        missing=setting.missing,
    )
    return _of_series(setting, path.stem, table.series, table.understood._asdict())


def _bundled(setting: Setting, name: str) -> Source:
    if name == "adding":
        if setting.target is not None or setting.features or setting.horizon != 1:
            raise ValueError("data: adding has neither target nor features nor horizon to choose")
        return _of_samples(name, adding(setting.window), setting)
    columns = None
    if setting.target is not None or setting.features:
        default = se.BUNDLED[name].column if name in se.BUNDLED else name
        columns = (setting.target or default, *setting.features)
    loaded = se.load(name, columns)
    stretches = len(np.unique(loaded.segment_R))
    understood = {
        "target": loaded.target if setting.target is None else setting.target,
        "columns": list(loaded.columns),
        "rows": len(loaded.values_RF),
        "uninterrupted stretches": stretches,
    }
    return _of_series(setting, name, loaded, understood)


def _of_series(setting: Setting, name: str, series: Series, understood: dict[str, Any]) -> Source:
    parts = split(series, setting.window, setting.horizon, setting.split)
    period = setting.period or PERIODS.get(name, setting.window)
    digest = _digest(series.values_RF, series.segment_R)
    return Source(name, parts, outline(series), understood, digest, period)


def outline(series: Series) -> Series:
    """The rows that a picture needs: the lowest and highest target of each bin, and the ends of every stretch.

    All others can be let go before training: that of a long series takes enough memory without them.
    """
    size = len(series.values_RF)
    width = -(-size // BINS)
    bins = size // width
    first_X = width * np.arange(bins)
    target_XR = series.values_RF[: bins * width, 0].reshape(bins, width)
    last_X = np.flatnonzero(np.diff(series.segment_R))
    tail_X = np.arange(bins * width - 1, size)
    extremes = (first_X + target_XR.argmin(axis=1), first_X + target_XR.argmax(axis=1))
    row_X = np.unique(np.concatenate(([0], *extremes, last_X, last_X + 1, tail_X)))
    return series._replace(
        values_RF=series.values_RF[row_X],
        segment_R=series.segment_R[row_X],
        date_R=series.date_R[row_X],
        times_R=series.times_R[row_X],
    )


def _of_samples(name: str, arrays: tuple[np.ndarray, np.ndarray], setting: Setting) -> Source:
    parts = samples(*arrays, setting.split)
    understood = {"samples": len(arrays[0]), "shape": [list(a.shape) for a in arrays]}
    return Source(name, parts, None, understood, _digest(*arrays), setting.period or 1)


def _digest(*arrays: np.ndarray) -> str:
    sha = hashlib.sha256()
    for array in arrays:
        wide = np.int64 if array.dtype.kind == "i" else array.dtype
        for start in range(0, len(array), BLOCK):
            sha.update(array[start : start + BLOCK].astype(wide).tobytes())
    return sha.hexdigest()[:16]
