"""Bootstrap intervals of what seeds alone do not tell: over test windows in time order, and over several series.

They stand beside a verdict and never decide one.

Shapes: W test windows in time order, S places where a block may start, K blocks, R replications, D series, N seeds.
"""

import math
from collections.abc import Sequence

import numpy as np
import scipy
from numpy.typing import ArrayLike

DRAWS = 2**20  # block starts that are held at a time: bounds the memory whatever W and R are


def block_interval(
    loss_arm_W: ArrayLike,
    loss_ref_W: ArrayLike,
    block: int,
    level: float,
    replications: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Interval of log(mean loss of the arm / mean loss of the reference) over test windows that depend on each other.

    Losses are one a window, averaged over seeds. Blocks of consecutive windows, the same ones for both arms, are
    drawn until W windows are (the last block is cut): the moving-block bootstrap of Künsch (1989). Percentiles
    of the log ratio, moved by its known bias, as windows near the ends lie in fewer blocks. `block` should be at
    least one period; 1 gives the ordinary bootstrap.

    With few blocks the interval is too narrow: at 95 %, and windows that are independent after all, it covers in
    94 % where W is 40 blocks, 91 % where it is 10 and 84 % where it is 4. With fewer than two there is none, nor
    where a run diverged (+inf): both ends are nan.

    Raises ValueError for shapes other than (W,), losses that are not above 0, a block outside 1 to W, a level
    outside (0, 1) and replications below 1.
    """
    arm_W, ref_W = np.asarray(loss_arm_W, np.float64), np.asarray(loss_ref_W, np.float64)
    if arm_W.ndim != 1 or arm_W.shape != ref_W.shape:
        raise ValueError(f"losses have shapes {arm_W.shape} and {ref_W.shape}; both must be (windows,)")
    for name, loss_W in (("loss_arm_W", arm_W), ("loss_ref_W", ref_W)):
        if not np.all(loss_W > 0):
            raise ValueError(f"{name} is {loss_W}; each must be above 0, or +inf where a run diverged")
    windows = len(arm_W)
    if not 1 <= block <= windows:
        raise ValueError(f"block is {block}; allowed: 1 to {windows}, the number of windows")
    if replications < 1:
        raise ValueError(f"replications is {replications}; it must be at least 1")
    _check_level(level)
    losses_2W = np.stack([arm_W, ref_W])
    if windows < 2 * block or np.isinf(losses_2W).any():
        return math.nan, math.nan

    count = -(-windows // block)
    cut = windows - (count - 1) * block
    blocks_2SB = np.lib.stride_tricks.sliding_window_view(losses_2W, block, axis=1)
    whole_2S, cut_2S = blocks_2SB.sum(-1), blocks_2SB[..., :cut].sum(-1)
    rng, sums_2R = np.random.default_rng(seed), np.empty((2, replications))
    rows = max(1, DRAWS // count)
    for r in range(0, replications, rows):
        start_RK = rng.integers(whole_2S.shape[1], size=(min(rows, replications - r), count))
        sums_2R[:, r : r + rows] = cut_2S[:, start_RK[:, 0]] + whole_2S[:, start_RK[:, 1:]].sum(-1)
    expected_2 = cut_2S.mean(1) + (count - 1) * whole_2S.mean(1)  # of the sums of a replication

    bias = _log_ratio(expected_2) - _log_ratio(losses_2W.sum(1))
    lo, hi = np.quantile(_log_ratio(sums_2R), [(1 - level) / 2, (1 + level) / 2]) - bias
    return float(lo), float(hi)


def stratified_mean(
    d_DN: Sequence[ArrayLike], level: float, seed: int = 0, replications: int = 9999
) -> tuple[float, float, float]:
    """Mean over series of their mean effects, and a percentile interval of it: a statement on these D series.

    d_DN holds each series' paired differences, one a seed; lengths may differ. Seeds are drawn anew within each
    series, and every series weighs the same (Agarwal et al. 2021). At 95 %, 8 seeds and 5 series it covers in 92 %.
    Where any run diverged (an infinite difference) all three are nan.

    Raises ValueError for no series, fewer than two differences in one, nan, and a level outside (0, 1).
    """
    series = [np.asarray(d_N, np.float64) for d_N in d_DN]
    if not series:
        raise ValueError("d_DN is empty; it must hold at least one series")
    for i, d_N in enumerate(series):
        if d_N.ndim != 1 or len(d_N) < 2 or np.isnan(d_N).any():
            raise ValueError(f"d_DN[{i}] is {d_N}; it must be (seeds,), two or more, without nan")
    _check_level(level)
    if not all(np.isfinite(d_N).all() for d_N in series):
        return math.nan, math.nan, math.nan
    found = scipy.stats.bootstrap(
        series,
        _mean_of_means,
        n_resamples=replications,
        batch=1000,
        vectorized=True,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(_mean_of_means(*series)), float(found.low), float(found.high)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it must be between 0 and 1")


def _log_ratio(sums_2X: np.ndarray) -> np.ndarray:
    return np.log(sums_2X[0] / sums_2X[1])


def _mean_of_means(*series_D: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.mean([d_XN.mean(axis) for d_XN in series_D], axis=0)
