"""A series, or ready-made samples, split in time into train, val and test, and scaled by the training part.

Shapes: R rows (time steps), F columns (column 0 is the target), S uninterrupted stretches of rows; N samples,
T steps, O outputs.
"""

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lstm_sched.data.series import Series, adding, load
from lstm_sched.data.windows import Data, Samples, as_samples, as_windows

PARTS = Data._fields
CUTS = (0.7, 0.85)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """scaled = (value − mean_F) / std_F, in float64; fitted on the rows of the training part alone."""

    mean_F: np.ndarray
    std_F: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Extent:
    """The size of one part and its place in time, for printing."""

    name: str
    rows: int
    windows: int
    first: str  # its earliest time
    last: str


@dataclass(frozen=True, kw_only=True)
class Split:
    """The three parts as data to train on, their common scale, and the extent of each."""

    data: Data
    scale: Scale
    extents: tuple[Extent, ...]


def prepare(
    name: str,
    window: int,
    horizon: int = 1,
    cuts: tuple[float, float] = CUTS,
    columns: Sequence[str] | None = None,
) -> Split:
    """Load a bundled or synthetic data set and split it.

        >>> import lstm_sched as ls
        >>> split = ls.prepare("sunspots", window=24)
        >>> [part.windows for part in split.extents]
        [2164, 445, 445]

    Args:
        name: one of `series.NAMES`.
        window: rows that the network sees; for `adding`, the steps of each sequence.
        horizon: rows from the last row of a window to its target.
        cuts: where training and validation end, as fractions of the rows.
        columns: the target first; by default the series' own target alone.

    Raises:
        ValueError: as `series.load`, `split` and `samples`; a horizon or columns for `adding`.
    """
    if name != "adding":
        return split(load(name, columns), window, horizon, cuts)
    if horizon != 1 or columns is not None:
        raise ValueError(
            f"data 'adding': horizon {horizon}, columns {columns}; allowed: horizon 1, no columns"
        )
    return samples(*adding(window), cuts)


def split(series: Series, window: int, horizon: int = 1, cuts: tuple[float, float] = CUTS) -> Split:
    """Cut a series in time, scale it by the training part, and make its windows.

    Parts end at `int(cut * D)` of the D dates of the series. In a single group each row is a date; several
    groups are split at common dates. A window and its target lie inside one part and one segment. A column
    that is constant in training is only centred, with a warning.

    Args:
        series: a series of finite values.
        window: rows that the network sees.
        horizon: rows from the last row of a window to its target.
        cuts: where training and validation end, as fractions a < b between 0 and 1.

    Raises:
        ValueError: a window or horizon below 1, cuts out of order, a value that is not finite, a part without a
            window.
    """
    for name, value in (("window", window), ("horizon", horizon)):
        if value != int(value) or value < 1:
            raise ValueError(f"{name} is {value}; allowed: a whole number, 1 or more")
    _check_cuts(cuts)
    bad = np.argwhere(~np.isfinite(series.values_RF))
    if bad.size:
        r, f = bad[0]
        where = f"column {series.columns[f]!r} at row {r} ({series.times_R[r]})"
        raise ValueError(f"{series.name}: {where} is {series.values_RF[r, f]}; allowed: finite values")

    dates = int(series.date_R.max()) + 1
    part_R = np.zeros(len(series.date_R), np.int8)
    for cut in cuts:
        part_R += series.date_R >= int(cut * dates)
    new_R = (np.diff(series.segment_R) != 0) | (np.diff(part_R) != 0)  # between a row and the next
    start_S = np.concatenate(([0], 1 + np.flatnonzero(new_R)))
    length_S, part_S = np.diff(start_S, append=part_R.size), part_R[start_S]
    for p, part in enumerate(PARTS):
        longest = length_S[part_S == p].max(initial=0)
        if longest < window + horizon:
            raise ValueError(
                f"{series.name}: part {part!r} holds no window; window {window} + horizon {horizon} need "
                f"{window + horizon} uninterrupted rows, but its longest stretch has {longest}"
            )

    scale = fit_scale(series.values_RF[part_R == 0], series.columns)
    windows, extents = [], []
    for p, part in enumerate(PARTS):
        rows_RF = (series.values_RF[part_R == p] - scale.mean_F) / scale.std_F
        times_R = series.times_R[part_R == p]
        windows.append(as_windows(rows_RF, length_S[part_S == p], int(window), int(horizon)))
        first, last = str(times_R.min()), str(times_R.max())
        extents.append(Extent(name=part, rows=len(rows_RF), windows=windows[p].size, first=first, last=last))
    return Split(data=Data(*windows), scale=scale, extents=tuple(extents))


def fit_scale(train_RF: np.ndarray, columns: Sequence[str]) -> Scale:
    """Fit mean and standard deviation (divisor R) of each column; a constant column warns and gets 1."""
    constant_F = np.ptp(train_RF, axis=0) == 0
    for column in np.asarray(columns)[constant_F]:
        warnings.warn(f"column {str(column)!r} is constant in the training part: only centred", stacklevel=3)
    return Scale(mean_F=train_RF.mean(axis=0), std_F=np.where(constant_F, 1.0, train_RF.std(axis=0)))


def samples(x_NTF: np.ndarray, y_NO: np.ndarray, cuts: tuple[float, float] = CUTS) -> Split:
    """Split ready-made arrays at `int(cut * N)`, in their order. They are not scaled (mean 0, std 1).

    Args:
        x_NTF: inputs.
        y_NO: targets.
        cuts: where training and validation end, as fractions a < b between 0 and 1.

    Raises:
        ValueError: as `windows.as_samples`; cuts out of order, a part without a sample.
    """
    _check_cuts(cuts)
    whole = as_samples(x_NTF, y_NO)
    spans = list(itertools.pairwise((0, *(int(cut * whole.size) for cut in cuts), whole.size)))
    parts, extents = [], []
    for name, (lo, hi) in zip(PARTS, spans, strict=True):
        if lo == hi:
            raise ValueError(f"cuts are {cuts}; part {name!r} would hold none of the {whole.size} samples")
        parts.append(Samples(whole.x_NTF[lo:hi], whole.y_NO[lo:hi]))
        first, last = f"sample {lo}", f"sample {hi - 1}"
        extents.append(Extent(name=name, rows=hi - lo, windows=hi - lo, first=first, last=last))
    features = whole.x_NTF.shape[2]
    scale = Scale(mean_F=np.zeros(features), std_F=np.ones(features))
    return Split(data=Data(*parts), scale=scale, extents=tuple(extents))


def _check_cuts(cuts: tuple[float, float]) -> None:
    if len(cuts) != 2 or not 0 < cuts[0] < cuts[1] < 1:
        raise ValueError(f"cuts are {cuts}; allowed: two fractions a, b with 0 < a < b < 1")
