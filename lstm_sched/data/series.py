"""Series on the host: the bundled data sets, and synthetic ones whose best possible forecast is known.

Shapes: R rows (time steps), F columns; N samples, T steps, O outputs. All values are float64, in their units.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from lstm_sched._names import check_name

DATASETS = Path(__file__).parent / "datasets"
ROWS = 3000  # of each synthetic series


class Series(NamedTuple):
    """One table in time order (group after group where there are several). Column 0 is the target."""

    name: str
    columns: tuple[str, ...]
    target: str  # what column 0 is, in words, with its unit
    values_RF: np.ndarray
    segment_R: np.ndarray  # int32: the uninterrupted stretch that a row lies in
    date_R: np.ndarray  # int32: rank of a row's date among all dates, by which several groups are split
    times_R: np.ndarray  # datetime64, or row numbers: for printing


class Source(NamedTuple):
    """Where a bundled file keeps its time and its default target."""

    time: str
    column: str
    target: str


BUNDLED = {
    "sunspots": Source("month", "sunspots", "monthly mean sunspot number"),
    "weather": Source("date", "temp_max_c", "highest temperature of the day in Seattle, °C"),
    "co2": Source("date", "co2_ppm", "weekly atmospheric CO2 at Mauna Loa, ppm"),
    "glucose": Source("time", "glucose_mg_dl", "blood glucose of one person every 5 minutes, mg/dl"),
    # The raw prices jump at splits (AAPL halves on 2005-02-28); the adjusted close does not.
    "stocks": Source("date", "adjusted_close", "daily log return of the adjusted close, five tickers"),
    "air": Source("time", "pm25_ug_m3", "hourly PM2.5 in Beijing, µg/m³"),
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

That of `garch` is the variance of its returns, as no forecast of their mean beats 0: standardised, it is 1 in
expectation. In `adding`, predicting the mean costs 1/6.
"""


def load(name: str, columns: Sequence[str] | None = None) -> Series:
    """The bundled or synthetic series `name` with `columns`, the target first (default: the target alone).

    Rows with a missing value in one of the columns are dropped. Those of `stocks` are read as log changes.
    ValueError: unknown name or column.
    """
    if name == "adding":
        raise ValueError("data 'adding' is made of samples, not of a series: `split.prepare` splits them")
    if name in SYNTHETIC:
        _check_columns(columns, (name,))
        target, make = SYNTHETIC[name]
        values_R, row_R = make(np.random.default_rng(0)), np.arange(ROWS, dtype=np.int32)
        return Series(name, (name,), target, values_R[:, None], np.zeros_like(row_R), row_R, row_R)
    check_name("data", name, NAMES)
    source = BUNDLED[name]
    frame = pl.read_csv(DATASETS / f"{name}.csv.gz", infer_schema_length=None, null_values="nil")
    _check_columns(columns, [c for c in frame.columns if frame[c].dtype.is_numeric()])
    columns = (source.column,) if columns is None else tuple(columns)
    table = frame.select(pl.col(columns).cast(pl.Float64))
    group_R = None
    if name == "stocks":
        group_R = frame["ticker"].to_numpy()
        table = frame.select(pl.col(columns).cast(pl.Float64).log().diff().over("ticker"))
    return assemble(
        name,
        columns,
        source.target if columns[0] == source.column else columns[0],
        table.to_numpy(),
        np.array(frame[source.time].to_list(), dtype="datetime64"),
        group_R,
        regular=name != "stocks",  # trading days are not evenly spaced
    )


def assemble(
    name: str,
    columns: tuple[str, ...],
    target: str,
    values_RF: np.ndarray,
    times_R: np.ndarray,
    group_R: np.ndarray | None = None,
    regular: bool = True,
) -> Series:
    """A Series of a table: rows with NaN are dropped, uninterrupted segments of the others are numbered.

    A segment ends where a row was dropped, where the group changes and, if sampling is `regular`, where time
    does not advance or advances by more than 1.5 × the median step (in calendar months where `times_R` is
    datetime64[M]). ValueError: fewer than two complete rows.
    """
    kept_R = ~np.isnan(values_RF).any(axis=1)
    rows = np.count_nonzero(kept_R)
    if rows < 2:
        raise ValueError(f"{name}: {rows} rows without a missing value; at least 2 are needed")
    values_RF, times_R = values_RF[kept_R], times_R[kept_R]
    break_R = np.diff(np.flatnonzero(kept_R)) != 1  # between a row and the next
    date_R = np.arange(rows, dtype=np.int32)
    if group_R is not None:
        group_R = group_R[kept_R]
        break_R |= group_R[1:] != group_R[:-1]
        if not (times_R[1:] > times_R[:-1]).all():  # else the rank of a date is its row
            date_R = np.unique(times_R, return_inverse=True)[1].astype(np.int32)
    if regular:
        step_R = np.diff(times_R).astype(np.int64)
        break_R |= (step_R <= 0) | (step_R > 1.5 * np.median(step_R))
    segment_R = np.cumsum(np.concatenate(([False], break_R)), dtype=np.int32)
    return Series(name, columns, target, values_RF, segment_R, date_R, times_R)


def adding(steps: int, samples: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    """The adding problem: x_NTF, values in [0, 1] and two markers; y_NO, the sum of the marked values.

    Each half of the sequence has one marker. Source: Hochreiter & Schmidhuber 1997, experiment 4, in the form
    of Arjovsky, Shah & Bengio 2016. ValueError: fewer than two steps.
    """
    if steps < 2:
        raise ValueError(f"adding: steps is {steps}; two markers need at least 2")
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
        raise ValueError(f"columns {list(columns)}: at least one, each once, of {', '.join(allowed)}")
