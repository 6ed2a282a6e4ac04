"""A series, or ready-made samples, split in time into train, val and test, and scaled by the training part.

Shapes: R rows (time steps), F columns (column 0 is the target), S uninterrupted stretches of rows; N samples,
T steps, O outputs.
"""

import itertools
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lstm_sched.data.series import Series, adding, load
from lstm_sched.data.windows import Data, Samples, as_samples, as_windows

PARTS = Data._fields
CUTS = (0.7, 0.85)


class Scale(NamedTuple):
    """scaled = (value − mean_F) / std_F, in float64; fitted on the rows of the training part alone."""

    mean_F: np.ndarray
    std_F: np.ndarray


class Extent(NamedTuple):
    """One part in numbers, for printing."""

    name: str
    rows: int
    windows: int
    first: str  # its earliest time
    last: str


class Split(NamedTuple):
    """Data, the scale that they are in, and the extent of each part."""

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
    """What `--data name` trains on, for each of `series.NAMES`; `adding` has sequences of `window` steps.

    ValueError: as `series.load`, `split` and `samples`; a horizon or columns for `adding`.
    """
    if name != "adding":
        return split(load(name, columns), window, horizon, cuts)
    if horizon != 1 or columns is not None:
        raise ValueError(f"data 'adding' has neither horizon nor columns (given: {horizon}, {columns})")
    return samples(*adding(window), cuts)


def split(series: Series, window: int, horizon: int = 1, cuts: tuple[float, float] = CUTS) -> Split:
    """Scaled windows of a series, split in time at `int(cut * D)` of its D dates.

    Each row of one group is a date; several groups are split at common dates. Windows and their targets lie
    inside one part and one segment. A column that is constant in training warns and is only centred.
    ValueError: window or horizon below 1, cuts out of order, a value that is not finite, a part of no window.
    """
    for name, value in (("window", window), ("horizon", horizon)):
        if value != int(value) or value < 1:
            raise ValueError(f"{name} is {value}; a whole number from 1 on is allowed")
    _check_cuts(cuts)
    bad = np.argwhere(~np.isfinite(series.values_RF))
    if bad.size:
        r, f = bad[0]
        where = f"column {series.columns[f]!r} at row {r} ({series.times_R[r]})"
        raise ValueError(f"{series.name}: {where} is {series.values_RF[r, f]}; it must be finite")

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
                f"{window + horizon} uninterrupted rows, its longest stretch has {longest}"
            )

    scale = fit_scale(series.values_RF[part_R == 0], series.columns)
    windows, extents = [], []
    for p, part in enumerate(PARTS):
        rows_RF = (series.values_RF[part_R == p] - scale.mean_F) / scale.std_F
        times_R = series.times_R[part_R == p]
        windows.append(as_windows(rows_RF, length_S[part_S == p], int(window), int(horizon)))
        extents.append(Extent(part, len(rows_RF), windows[p].size, str(times_R.min()), str(times_R.max())))
    return Split(Data(*windows), scale, tuple(extents))


def fit_scale(train_RF: np.ndarray, columns: Sequence[str]) -> Scale:
    """Mean and standard deviation (divisor R) of each column; a constant one warns and gets the scale 1."""
    constant_F = np.ptp(train_RF, axis=0) == 0
    for column in np.asarray(columns)[constant_F]:
        warnings.warn(f"column {str(column)!r} is constant in the training part: only centred", stacklevel=3)
    return Scale(train_RF.mean(axis=0), np.where(constant_F, 1.0, train_RF.std(axis=0)))


def samples(x_NTF: np.ndarray, y_NO: np.ndarray, cuts: tuple[float, float] = CUTS) -> Split:
    """Ready-made arrays, split at `int(cut * N)` in the order given; not scaled, so the scale is 0 and 1.

    ValueError: as `data.as_samples`; cuts out of order, a part without a sample.
    """
    _check_cuts(cuts)
    whole = as_samples(x_NTF, y_NO)
    spans = list(itertools.pairwise((0, *(int(cut * whole.size) for cut in cuts), whole.size)))
    parts, extents = [], []
    for name, (lo, hi) in zip(PARTS, spans, strict=True):
        if lo == hi:
            raise ValueError(f"cuts {cuts} leave part {name!r} without any of the {whole.size} samples")
        parts.append(Samples(whole.x_NTF[lo:hi], whole.y_NO[lo:hi]))
        extents.append(Extent(name, hi - lo, hi - lo, f"sample {lo}", f"sample {hi - 1}"))
    features = whole.x_NTF.shape[2]
    return Split(Data(*parts), Scale(np.zeros(features), np.ones(features)), tuple(extents))


def _check_cuts(cuts: tuple[float, float]) -> None:
    if len(cuts) != 2 or not 0 < cuts[0] < cuts[1] < 1:
        raise ValueError(f"cuts are {cuts}; two fractions a, b with 0 < a < b < 1 are allowed")
