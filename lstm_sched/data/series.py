"""Series on the host: the bundled data sets, and synthetic ones whose best possible forecast is known.

Shapes: R rows (time steps), F columns; N samples, T steps. All values are float64, in their own units.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from lstm_sched._names import check_name
from lstm_sched.data import timestamps

DATASETS = Path(__file__).parent / "datasets"
ROWS = 3000  # of each synthetic series


@dataclass(frozen=True, kw_only=True)
class Series:
    """A table in time order (group after group where there are several). Column 0 is the target."""

    name: str
    columns: tuple[str, ...]
    target: str  # what column 0 is, in words, with its unit
    values_RF: np.ndarray
    segment_R: np.ndarray  # int32: number of the uninterrupted stretch in which a row lies
    date_R: np.ndarray  # int32: rank of a row's date among all dates; groups are split at common dates
    times_R: np.ndarray  # datetime64, or row numbers: for printing


@dataclass(frozen=True, kw_only=True)
class Bundled:
    """Where a bundled file keeps its time, its groups and its default target."""

    time: str
    column: str
    target: str
    group: str | None = None


BUNDLED = {
    "sunspots": Bundled(time="month", column="sunspots", target="monthly mean sunspot number"),
    "weather": Bundled(
        time="date", column="temp_max_c", target="highest temperature of the day in Seattle, °C"
    ),
    "co2": Bundled(time="date", column="co2_ppm", target="weekly atmospheric CO2 at Mauna Loa, ppm"),
    "glucose": Bundled(
        time="time", column="glucose_mg_dl", target="blood glucose of one person every 5 minutes, mg/dl"
    ),
    # The raw prices jump at splits (AAPL halves on 2005-02-28); the adjusted close does not.
    "stocks": Bundled(
        time="date",
        column="adjusted_close",
        target="daily log return of the adjusted close, five tickers",
        group="ticker",
    ),
    "air": Bundled(time="time", column="pm25_ug_m3", target="hourly PM2.5 in Beijing, µg/m³"),
}

AR_PHI, AR_VARIANCE = (1.5, -0.75), 0.25
GARCH_OMEGA, GARCH_ALPHA, GARCH_BETA = 0.1, 0.1, 0.85

BEST = {
    "sines": 0.0,
    "ar": AR_VARIANCE,
    "garch": GARCH_OMEGA / (1 - GARCH_ALPHA - GARCH_BETA),
    "adding": 0.0,
}
"""Expected squared error, in the series' units, of the best forecast one step ahead of each synthetic task.

For `garch` it is the variance of the returns, as no forecast of their mean beats 0; in units of standardised
returns it is 1 in expectation. For `adding`, the forecast of the mean has an error of 1/6.
"""


def load(name: str, columns: Sequence[str] | None = None) -> Series:
    """Load a bundled or synthetic series.

    Rows with a missing value in one of the columns are dropped. The columns of `stocks` are read as log changes.

    Args:
        name: one of NAMES, but not `adding`, which is made of samples.
        columns: the target first; by default the series' own target alone.

    Raises:
        ValueError: an unknown name or column.
    """
    if name == "adding":
        raise ValueError("data 'adding' is made of samples, not of a series; use `splits.prepare`")
    if name in SYNTHETIC:
        _check_columns(columns, (name,))
        target, make = SYNTHETIC[name]
        values_R, row_R = make(np.random.default_rng(0)), np.arange(ROWS, dtype=np.int32)
        return assemble(name, (name,), target, values_R[:, None], row_R, np.zeros_like(row_R), row_R)
    check_name("data", name, NAMES)
    bundled = BUNDLED[name]
    frame = pl.read_csv(DATASETS / f"{name}.csv.gz", infer_schema_length=None, null_values="nil")
    _check_columns(columns, [c for c in frame.columns if frame[c].dtype.is_numeric()])
    columns = (bundled.column,) if columns is None else tuple(columns)
    values = frame.select(pl.col(columns).cast(pl.Float64))
    times_R = np.array(frame[bundled.time].to_list(), dtype="datetime64")
    new_R = np.arange(len(frame)) == 0  # whether a row begins an uninterrupted stretch
    if bundled.group is None:
        date_R = np.arange(len(frame))  # each row counts as a date, since times may repeat
        gap_R = timestamps.sampling(timestamps.Timestamps(time_R=times_R, local_R=times_R), ~new_R).gap_R
        new_R |= gap_R | np.concatenate(([False], times_R[1:] <= times_R[:-1]))
    else:
        date_R = times_R
        new_R |= (frame[bundled.group] != frame[bundled.group].shift()).fill_null(True).to_numpy()
        values = frame.select(pl.col(columns).cast(pl.Float64).log().diff().over(bundled.group))
    target = bundled.target if columns[0] == bundled.column else columns[0]
    return assemble(name, columns, target, values.to_numpy(), times_R, np.cumsum(new_R), date_R)


def assemble(
    name: str,
    columns: tuple[str, ...],
    target: str,
    values_RF: np.ndarray,
    times_R: np.ndarray,
    stretch_R: np.ndarray,
    date_R: np.ndarray,
) -> Series:
    """Make a Series from a table: drop rows with NaN, and number the uninterrupted segments of the others.

    Args:
        name, columns, target, times_R: as in `Series`.
        values_RF: the values, with NaN where one is missing.
        stretch_R: a number that changes where a segment ends; it also ends where a row was dropped.
        date_R: increases with time; rows of the same date have the same number or time.

    Raises:
        ValueError: fewer than two complete rows.
    """
    kept_R = ~np.isnan(values_RF).any(axis=1)
    rows = np.count_nonzero(kept_R)
    if rows < 2:
        raise ValueError(f"{name}: {rows} rows without a missing value; allowed: 2 or more")
    break_R = np.diff(np.flatnonzero(kept_R)) != 1  # between a row and the next
    break_R |= np.diff(stretch_R[kept_R]) != 0
    segment_R = np.cumsum(np.concatenate(([False], break_R)), dtype=np.int32)
    date_R, rank_R = date_R[kept_R], np.arange(rows, dtype=np.int32)
    if not (date_R[1:] > date_R[:-1]).all():  # else the rank of a date is its row
        rank_R = np.unique(date_R, return_inverse=True)[1].astype(np.int32)
    return Series(
        name=name,
        columns=columns,
        target=target,
        values_RF=values_RF[kept_R],
        segment_R=segment_R,
        date_R=rank_R,
        times_R=times_R[kept_R],
    )


def adding(steps: int, samples: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    """Make the adding problem: the sum of the two marked values of a sequence.

    Source: Hochreiter & Schmidhuber 1997, experiment 4, in the form of Arjovsky, Shah & Bengio 2016.

    Args:
        steps: T, the length of each sequence; each half of it has one marker.
        samples: N.

    Returns:
        x_NTF, with a value in [0, 1] and a marker at each step, and y_NO, the sum of the marked values.

    Raises:
        ValueError: fewer than two steps.
    """
    if steps < 2:
        raise ValueError(f"adding: steps is {steps}; allowed: 2 or more, one for each marker")
    rng = np.random.default_rng(0)
    value_NT = rng.uniform(size=(samples, steps))
    marker_NT = np.zeros_like(value_NT)
    n_N = np.arange(samples)
    marker_NT[n_N, rng.integers(0, steps // 2, samples)] = 1
    marker_NT[n_N, rng.integers(steps // 2, steps, samples)] = 1
    return np.stack((value_NT, marker_NT), axis=-1), (value_NT * marker_NT).sum(axis=1, keepdims=True)


def _sines(rng: np.random.Generator) -> np.ndarray:
    t_R = 2 * np.pi * np.arange(ROWS) / 20
    return np.sin(t_R) + 0.5 * np.sin(t_R / np.sqrt(2))


def _ar(rng: np.random.Generator, burn_in: int = 500) -> np.ndarray:
    x_R = np.sqrt(AR_VARIANCE) * rng.standard_normal(burn_in + ROWS)
    for t in range(2, x_R.size):
        x_R[t] += AR_PHI[0] * x_R[t - 1] + AR_PHI[1] * x_R[t - 2]
    return x_R[burn_in:]


def _garch(rng: np.random.Generator, burn_in: int = 500) -> np.ndarray:
    x_R = rng.standard_normal(burn_in + ROWS)
    variance = BEST["garch"]
    for t in range(x_R.size):
        x_R[t] *= np.sqrt(variance)
        variance = GARCH_OMEGA + GARCH_ALPHA * x_R[t] ** 2 + GARCH_BETA * variance
    return x_R[burn_in:]


SYNTHETIC: dict[str, tuple[str, Callable[[np.random.Generator], np.ndarray]]] = {
    "sines": ("sum of two sines of periods 20 and 20√2, free of noise", _sines),
    "ar": (f"AR(2) with coefficients {AR_PHI} and innovations of variance {AR_VARIANCE}", _ar),
    "garch": ("GARCH(1,1) returns: their volatility can be forecast, their mean cannot", _garch),
}

NAMES = (*BUNDLED, *SYNTHETIC, "adding")


def _check_columns(columns: Sequence[str] | None, allowed: Sequence[str]) -> None:
    if columns is None:
        return
    for column in columns:
        check_name("column", column, allowed)
    if len(columns) == 0 or len(set(columns)) < len(columns):
        raise ValueError(
            f"columns: {list(columns)}; allowed: one or more, each once, of {', '.join(allowed)}"
        )
