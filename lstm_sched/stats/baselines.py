"""Forecasts that a network has to beat: float64 predictions and targets, so that any loss can be applied.

Shapes: N windows of T steps and F columns, O outputs; P coefficients of the linear model, Q = P + O.
"""

import functools
from collections.abc import Callable, Iterator, Mapping

import jax
import numpy as np
from jax.typing import ArrayLike

from lstm_sched.data.windows import Part

CHUNK = 2048  # windows read at once, so that memory does not grow with the series
FLOOR = 1e-13  # relative to the largest eigenvalue of AᵀA: smaller ones are rounding errors
COLLINEAR = 1e-13  # relative to the largest singular value: smaller ones count as 0

Forecast = Callable[[np.ndarray], np.ndarray]  # x_NTF -> prediction_NO


def losses(
    forecasts: Mapping[str, Forecast],
    part: Part,
    loss: Callable[[np.ndarray, np.ndarray], ArrayLike],
) -> dict[str, float]:
    """Evaluate forecasts on a part of the data, chunk by chunk, so that memory does not grow with the series.

    Args:
        forecasts: by name, for example `{"AR": fit_linear_ar(train), "persistence": persistence}`.
        part: of the data.
        loss: (prediction_NO, y_NO) -> a loss for each number.

    Returns:
        The mean loss of each forecast.
    """
    total = dict.fromkeys(forecasts, 0.0)
    for x_NTF, y_NO in _chunks(part):
        for name, forecast in forecasts.items():
            loss_NO = np.asarray(loss(forecast(x_NTF), y_NO), np.float64)
            total[name] += float(loss_NO.mean()) * len(y_NO) / part.size
    return total


def persistence(x_NTF: np.ndarray) -> np.ndarray:
    """Forecast that the target repeats its last value: column 0 of the last row of `Windows` (not of `Samples`)."""
    # A view would keep the whole chunk in memory.
    return x_NTF[:, -1, :1].copy()


def fit_mean(train: Part) -> Forecast:
    """Fit a forecast of the mean of the training targets, whatever the window."""
    mean_O = functools.reduce(np.add, (y_NO.sum(axis=0) for _, y_NO in _chunks(train))) / train.size
    return lambda x_NTF: np.broadcast_to(mean_O, (len(x_NTF), mean_O.size))


def fit_linear_ar(train: Part) -> Forecast:
    """Fit least squares with intercept on the T × F values of a window.

    It is the solution of least norm where windows are fewer than coefficients, or collinear.
    """

    def rows() -> Iterator[np.ndarray]:
        return (np.hstack((_design(x_NTF), y_NO)) for x_NTF, y_NO in _chunks(train))

    x_1TF, y_1O = train.take(np.zeros(1, np.int32))
    short = train.size <= 1 + x_1TF.size + y_1O.size  # then the matrix is no larger than its root
    root_XQ = np.vstack(list(rows())) if short else _root(rows)
    weights_PO = np.linalg.lstsq(root_XQ[:, : -y_1O.size], root_XQ[:, -y_1O.size :], rcond=COLLINEAR)[0]
    return lambda x_NTF: _design(x_NTF) @ weights_PO


def _root(rows: Callable[[], Iterator[np.ndarray]]) -> np.ndarray:
    """R_QQ with RᵀR = AᵀA, for a matrix A with Q columns whose rows are read twice, chunk by chunk.

    AᵀA itself squares the condition number of A: its eigenvalues below FLOOR are noise. But it gives a basis
    in which the columns are of one size and nearly orthogonal, and there AᵀA is precise. This is CholeskyQR2
    (Fukaya et al. 2014) with eigenvectors, which need no full rank: the error is that of a QR decomposition,
    and nearly all work is matrix products.
    """
    gram_QQ = functools.reduce(np.add, map(_product, rows()))
    scale_Q = np.sqrt(np.diag(gram_QQ))
    scale_Q[scale_Q == 0] = 1
    value_Q, vector_QQ = np.linalg.eigh(gram_QQ / scale_Q / scale_Q[:, None])
    size_Q = np.sqrt(np.maximum(value_Q, FLOOR * value_Q[-1]))
    basis_QQ = vector_QQ / size_Q / scale_Q[:, None]

    gram_QQ = functools.reduce(np.add, (_product(a_NQ, basis_QQ) for a_NQ in rows()))
    value_Q, turn_QQ = np.linalg.eigh(gram_QQ)
    root_QQ = np.sqrt(np.maximum(value_Q, 0))[:, None] * turn_QQ.T
    return root_QQ @ (size_Q[:, None] * vector_QQ.T * scale_Q)


def _product(a_NQ: np.ndarray, basis_QQ: np.ndarray | None = None) -> np.ndarray:
    """AᵀA, or (AB)ᵀAB, by JAX: NumPy's threads spin, and take 10 × the time on cores that are shared."""
    with jax.enable_x64(True):
        return np.asarray(_float64_product(a_NQ, basis_QQ))


@jax.jit
def _float64_product(a_NQ: jax.Array, basis_QQ: jax.Array | None) -> jax.Array:
    b_NQ = a_NQ if basis_QQ is None else a_NQ @ basis_QQ
    return b_NQ.T @ b_NQ


_take = jax.jit(lambda part, i_B: part.take(i_B))


def _chunks(part: Part) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, part.size, CHUNK):
        x_NTF, y_NO = _take(part, np.arange(start, min(start + CHUNK, part.size), dtype=np.int32))
        yield np.asarray(x_NTF, np.float64), np.asarray(y_NO, np.float64)


def _design(x_NTF: np.ndarray) -> np.ndarray:
    return np.hstack((np.ones((len(x_NTF), 1)), x_NTF.reshape(len(x_NTF), -1)))
