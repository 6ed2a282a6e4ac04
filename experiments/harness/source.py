"""The data of a run: a bundled or synthetic series, a user's own file, or a series given from Python."""

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.harness.setting import Setting
from lstm_sched._names import check_name
from lstm_sched.data import series as se
from lstm_sched.data.files import ENDINGS, open_table, read_samples
from lstm_sched.data.series import Series, adding
from lstm_sched.data.splits import Split, samples, split
from lstm_sched.data.tables import SHOWN, read_table

BLOCK = 2**16  # rows per copy
BINS = 100_000  # in a picture, where each of them is narrower than a pixel
PERIODS = {"sunspots": 132, "weather": 365, "co2": 52, "glucose": 288, "stocks": 5, "air": 24}  # rows


@dataclass(frozen=True, kw_only=True)
class Source:
    """The data of one run, and how they were read."""

    name: str
    split: Split
    series: Series | None  # only the rows that a picture needs; None where the data are ready-made samples
    understood: dict[str, Any]  # rows, columns, interval, gaps, groups: ready for JSON
    summary: str  # the same as a sentence
    digest: str  # hash of the values, so that a run continues with the data that it began with
    period: int  # rows of a season


def open_source(setting: Setting, name: str, given: Series | None = None) -> Source:
    """Read and split the data called `name`, or `given` in their place. Raises ValueError, TypeError, OSError."""
    if given is not None:
        columns, rows = list(given.columns), len(given.values_RF)
        return _of_series(setting, name, given, {"rows": rows, "columns": columns}, _rows(name, given))
    if name in se.NAMES:
        for field in ("time", "group"):
            if getattr(setting, field) is not None:
                raise ValueError(
                    f"{field}: {getattr(setting, field)!r}; allowed: none, as {name} is bundled and has its own"
                )
        return _bundled(setting, name)
    path = Path(name)
    if not name.lower().endswith(ENDINGS):
        check_name("data", name, [*se.NAMES, *(f"a path ending in {ending}" for ending in ENDINGS)])
    if setting.target is None:
        if name.lower().endswith(".npz"):
            return _of_samples(path.stem, read_samples(path), setting)
        columns = ", ".join(open_table(path)[0][:SHOWN])
        raise ValueError(f"target: none given; allowed: a column of {path.name} to predict: {columns}")
    table = read_table(
        path,
        target=setting.target,
        time=setting.time,
        features=setting.features,
        group=setting.group,
        missing=setting.missing,
    )
    understood = table.understood
    return _of_series(setting, path.stem, table.series, dataclasses.asdict(understood), str(understood))


def _bundled(setting: Setting, name: str) -> Source:
    if name == "adding":
        if setting.target is not None or setting.features or setting.horizon != 1:
            raise ValueError("data: adding; allowed with it: no target, no features, horizon 1")
        return _of_samples(name, adding(setting.window), setting)
    columns = None
    if setting.target is not None or setting.features:
        default = se.BUNDLED[name].column if name in se.BUNDLED else name
        columns = (setting.target or default, *setting.features)
    loaded = se.load(name, columns)
    stretches = len(np.unique(loaded.segment_R))
    target = loaded.target if setting.target is None else setting.target
    understood = {
        "target": target,
        "columns": list(loaded.columns),
        "rows": len(loaded.values_RF),
        "uninterrupted stretches": stretches,
    }
    summary = f"{_rows(name, loaded)}; {stretches} uninterrupted stretch{'es' * (stretches != 1)}"
    return _of_series(setting, name, loaded, understood, summary)


def _rows(name: str, series: Series) -> str:
    columns = ", ".join(map(repr, series.columns))
    return f"{name}: {len(series.values_RF)} rows of {columns}; the target is {series.target}"


def _of_series(
    setting: Setting, name: str, series: Series, understood: dict[str, Any], summary: str
) -> Source:
    return Source(
        name=name,
        split=split(series, setting.window, setting.horizon, setting.split),
        series=outline(series),
        understood=understood,
        summary=summary,
        digest=_digest(series.values_RF, series.segment_R),
        period=setting.period or PERIODS.get(name, setting.window),
    )


def outline(series: Series) -> Series:
    """The rows that a picture needs: the lowest and highest target of each bin, and both ends of a stretch.

    All other rows can be freed before training, which needs the memory if the series is long.
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
    return dataclasses.replace(
        series,
        values_RF=series.values_RF[row_X],
        segment_R=series.segment_R[row_X],
        date_R=series.date_R[row_X],
        times_R=series.times_R[row_X],
    )


def _of_samples(name: str, arrays: tuple[np.ndarray, np.ndarray], setting: Setting) -> Source:
    parts = samples(*arrays, setting.split)  # checks the shapes
    (size, steps, features), outputs = arrays[0].shape, arrays[1].shape[1]
    return Source(
        name=name,
        split=parts,
        series=None,
        understood={"samples": size, "shape": [list(a.shape) for a in arrays]},
        summary=f"{name}: {size} ready-made samples; steps {steps}, features {features}, outputs {outputs}",
        digest=_digest(*arrays),
        period=setting.period or 1,
    )


def _digest(*arrays: np.ndarray) -> str:
    sha = hashlib.sha256()
    for array in arrays:
        wide = np.int64 if array.dtype.kind == "i" else array.dtype
        for start in range(0, len(array), BLOCK):
            sha.update(array[start : start + BLOCK].astype(wide).tobytes())
    return sha.hexdigest()[:16]
