"""The data that a compiled step reads: the windows of a series, or ready-made samples, in three parts.

Shapes: R rows (time steps), F columns (column 0 is the target), S uninterrupted stretches of rows; N samples,
B of them in a batch, T steps of a window, O outputs. Arrays have JAX's default float type.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Windows:
    """All windows of one part, numbered in row order. Only the rows are stored; `take` cuts windows out of them.

    The target of a window is column 0, `horizon` rows after the window's last row.
    """

    rows_RF: jax.Array  # of this part alone, scaled
    first_S: jax.Array  # int32: the row at which a stretch begins
    begin_S: jax.Array  # int32: the number of the stretch's first window
    window: int = field(metadata={"static": True})
    horizon: int = field(metadata={"static": True})
    size: int = field(metadata={"static": True})  # number of windows

    def take(self, i_B: ArrayLike) -> tuple[jax.Array, jax.Array]:
        """x_BTF and targets y_BO (O = 1) of windows `i_B`, each in 0 … size − 1, which is not checked."""
        i_B = jnp.asarray(i_B, jnp.int32)
        s_B = jnp.searchsorted(self.begin_S, i_B, side="right") - 1
        row_B = self.first_S[s_B] + i_B - self.begin_S[s_B]
        x_BTF = jax.vmap(lambda row: jax.lax.dynamic_slice_in_dim(self.rows_RF, row, self.window))(row_B)
        return x_BTF, self.rows_RF[row_B + (self.window - 1 + self.horizon), :1]

    def weigh(self, i_B: ArrayLike, loss_B: jax.Array) -> jax.Array:
        """The losses of windows `i_B`, unchanged: all windows have weight 1."""
        return loss_B


class Samples(NamedTuple):
    """Ready-made inputs and targets, read in the same way as `Windows`."""

    x_NTF: jax.Array
    y_NO: jax.Array
    weight_N: Any = ()  # weight of each sample's loss; () if all are 1

    @property
    def size(self) -> int:
        return self.x_NTF.shape[0]

    def take(self, i_B: ArrayLike) -> tuple[jax.Array, jax.Array]:
        """x_BTF and targets y_BO of samples `i_B`, each in 0 … size − 1, which is not checked."""
        i_B = jnp.asarray(i_B, jnp.int32)
        return self.x_NTF[i_B], self.y_NO[i_B]

    def weigh(self, i_B: ArrayLike, loss_B: jax.Array) -> jax.Array:
        """The losses of samples `i_B` times their weights. As in Keras, a mean divides by the number of samples."""
        return loss_B if isinstance(self.weight_N, tuple) else loss_B * self.weight_N[jnp.asarray(i_B)]


Part = Windows | Samples


class Data(NamedTuple):
    """The three parts. No two parts share a row, so nothing leaks between them."""

    train: Part
    val: Part
    test: Part


def as_windows(rows_RF: np.ndarray, length_S: np.ndarray, window: int, horizon: int) -> Windows:
    """Make the windows of rows that fall into stretches of `length_S` rows; a stretch too short for one is skipped."""
    first_S = np.cumsum(length_S) - length_S
    windows_S = length_S - (window + horizon - 1)
    first_S, windows_S = first_S[windows_S > 0], windows_S[windows_S > 0]
    begin_S = np.cumsum(windows_S) - windows_S
    return Windows(
        rows_RF=jnp.asarray(rows_RF, float),
        first_S=jnp.asarray(first_S, jnp.int32),
        begin_S=jnp.asarray(begin_S, jnp.int32),
        window=window,
        horizon=horizon,
        size=int(windows_S.sum()),
    )


def as_samples(x_NTF: np.ndarray, y_NO: np.ndarray, weight_N: np.ndarray | None = None) -> Samples:
    """Make one part of ready-made arrays.

    Args:
        x_NTF: inputs.
        y_NO: targets.
        weight_N: weight of each sample's loss, 0 or more; None if all are 1.

    Raises:
        ValueError: wrong shapes, unequal lengths, or a value that is not finite or not allowed.
    """
    x_NTF, y_NO = np.asarray(x_NTF), np.asarray(y_NO)
    if x_NTF.ndim != 3 or y_NO.ndim != 2 or len(x_NTF) != len(y_NO) or 0 in x_NTF.shape + y_NO.shape:
        given = f"x has shape {x_NTF.shape}, y {y_NO.shape}"
        raise ValueError(f"samples: {given}; allowed: (N, T, F) and (N, O), none of them 0")
    for name, array in (("x", x_NTF), ("y", y_NO)):
        bad = np.argwhere(~np.isfinite(array))
        if bad.size:
            at = tuple(bad[0].tolist())
            raise ValueError(f"samples: {name}{list(at)} is {array[at]}; allowed: finite values")
    if weight_N is None:
        return Samples(jnp.asarray(x_NTF, float), jnp.asarray(y_NO, float))
    weight_N = np.asarray(weight_N)
    if weight_N.shape != (len(x_NTF),) or not (np.isfinite(weight_N) & (weight_N >= 0)).all():
        raise ValueError(
            f"samples: weight of shape {weight_N.shape}; allowed: ({len(x_NTF)},), finite, 0 or more"
        )
    return Samples(jnp.asarray(x_NTF, float), jnp.asarray(y_NO, float), jnp.asarray(weight_N, float))


def lanes(rows_RF: np.ndarray, lanes: int, window: int, horizon: int) -> Samples:
    """Make samples for a network whose state is carried from batch to batch (a stateful LSTM).

    A lane is an uninterrupted run of rows, cut into windows that follow one another; the lanes follow one another
    too. Sample k·lanes + j is the k-th window of lane j, so that each batch of `lanes` samples continues the one
    before. Rows at the end that do not fill a window in each lane are left out.

    Args:
        rows_RF: uninterrupted rows; column 0 is the target.
        lanes: sequences that are read side by side: the batch size.
        window: T, the rows of each sample.
        horizon: rows from the last row of a window to its target.

    Raises:
        ValueError: a number below 1, rows that are not (R, F), or too few of them.
    """
    rows_RF = np.asarray(rows_RF)
    if rows_RF.ndim != 2:
        raise ValueError(f"rows_RF: shape {rows_RF.shape}; allowed: (rows, columns)")
    for name, count in (("lanes", lanes), ("window", window), ("horizon", horizon)):
        if count < 1:
            raise ValueError(f"{name}: {count}; allowed: 1 or more")
    least, windows = lanes * window + horizon, (len(rows_RF) - horizon) // (lanes * window)
    if windows < 1:
        needs = f"a window of {window} in each of {lanes} lanes, and the horizon"
        raise ValueError(f"rows_RF: {len(rows_RF)} rows; allowed: {least} or more, {needs}")
    first_N = (np.arange(windows)[:, None] + windows * np.arange(lanes)[None]).ravel() * window
    rows_NT = first_N[:, None] + np.arange(window)[None]
    return as_samples(rows_RF[rows_NT], rows_RF[rows_NT[:, -1] + horizon, :1])
