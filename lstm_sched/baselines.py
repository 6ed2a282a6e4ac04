"""Forecasts that a network has to beat: float64 predictions and targets, so that any loss can be applied.

Shapes: N windows of T steps and F columns, O outputs, P coefficients of the linear model.
"""

import functools
from collections.abc import Iterator

import jax
import numpy as np

from lstm_sched.data import Part, Windows

CHUNK = 2048  # windows read at once: memory does not grow with the series


def persistence(part: Part) -> tuple[np.ndarray, np.ndarray]:
    """The target repeats its last value in the window: prediction_NO, y_NO with O = 1. TypeError: Samples."""
    if not isinstance(part, Windows):  # column 0 of a sample need not be the target
        raise TypeError(f"persistence: part is {type(part).__name__}; Windows are allowed")
    # The copy lets go of the chunk that the last step was read from.
    return _stack((x_NTF[:, -1, :1].copy(), y_NO) for x_NTF, y_NO in _chunks(part))


def mean(train: Part, part: Part) -> tuple[np.ndarray, np.ndarray]:
    """The mean of the training targets, for every window: prediction_NO, y_NO."""
    mean_O = sum(y_NO.sum(axis=0) for _, y_NO in _chunks(train)) / train.size
    return _stack((np.broadcast_to(mean_O, y_NO.shape), y_NO) for _, y_NO in _chunks(part))


def linear_ar(train: Part, part: Part) -> tuple[np.ndarray, np.ndarray]:
    """Least squares with intercept on the T × F values of a window, fitted on `train`: prediction_NO, y_NO.

    Beyond one chunk, design and targets are reduced to the triangular factor of their QR decomposition, which
    has the same least-squares solution and the same condition number (normal equations would square it).
    Where windows are fewer than coefficients, or collinear, the solution of least norm is taken.
    """
    chunks = (np.hstack((_design(x_NTF), y_NO)) for x_NTF, y_NO in _chunks(train))
    reduced = functools.reduce(_triangle, chunks)
    outputs = train.take(np.zeros(1, np.int32))[1].shape[1]
    weights_PO = np.linalg.lstsq(reduced[:, :-outputs], reduced[:, -outputs:])[0]
    return _stack((_design(x_NTF) @ weights_PO, y_NO) for x_NTF, y_NO in _chunks(part))


_take = jax.jit(lambda part, i_B: part.take(i_B))


def _chunks(part: Part) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, part.size, CHUNK):
        x_NTF, y_NO = _take(part, np.arange(start, min(start + CHUNK, part.size), dtype=np.int32))
        yield np.asarray(x_NTF, np.float64), np.asarray(y_NO, np.float64)


def _triangle(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.qr(np.vstack((above, below)), mode="r"))


def _design(x_NTF: np.ndarray) -> np.ndarray:
    return np.hstack((np.ones((len(x_NTF), 1)), x_NTF.reshape(len(x_NTF), -1)))


def _stack(chunks: Iterator[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    prediction, y = zip(*chunks, strict=True)
    return np.concatenate(prediction), np.concatenate(y)
