"""The mean effect over these series (by a bootstrap of seeds), or over series like these (by random effects).

Shapes: D series, N seeds.
"""

import math
from collections.abc import Sequence

import numpy as np
import scipy
from numpy.typing import ArrayLike

from lstm_sched.stats import paired
from lstm_sched.stats.paired import check_level


def stratified_mean(
    d_DN: Sequence[ArrayLike], level: float, seed: int = 0, replications: int = 9999
) -> tuple[float, float, float]:
    """Mean over these series of their mean effects, and a percentile interval of it.

    Every series has the same weight, and seeds are drawn within each (Agarwal et al. 2021). With 8 seeds and
    5 series, an interval at 95 % has a coverage of 92 %.

    Args:
        d_DN: paired differences of each series, one per seed; their numbers may differ.
        level: of the interval, between 0 and 1.
        seed, replications: of the bootstrap.

    Returns:
        The mean and both ends; all nan where any run diverged (an infinite difference).

    Raises:
        ValueError: for no series, fewer than two differences in one, nan, and a level outside (0, 1).
    """
    series = [np.asarray(d_N, np.float64) for d_N in d_DN]
    if not series:
        raise ValueError("d_DN is empty; it must hold at least one series")
    for i, d_N in enumerate(series):
        if d_N.ndim != 1 or len(d_N) < 2 or np.isnan(d_N).any():
            raise ValueError(f"d_DN[{i}] is {d_N}; it must be (seeds,), two or more, without nan")
    check_level(level)
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


def _mean_of_means(*series_D: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.mean([d_XN.mean(axis) for d_XN in series_D], axis=0)


def pooled(
    effects_mean_D: ArrayLike, effects_se_D: ArrayLike, level: float = 1 - paired.ALPHA
) -> tuple[float, float, float]:
    """Mean effect over series like these, and its interval, by a model of random effects.

    The variance between series is DerSimonian and Laird's (1986), and the t interval with D - 1 degrees of
    freedom is Hartung and Knapp's (2001). It is for the mean; a single new series scatters around that.

    Args:
        effects_mean_D: mean effect of each series, two or more.
        effects_se_D: their standard errors.
        level: of the interval, between 0 and 1.

    Returns:
        The mean and both ends.

    Raises:
        ValueError: for unequal shapes, fewer than two series, a mean that is not finite, a standard error that is not
            finite and above 0, and a level outside (0, 1).
    """
    y_D, se_D = np.asarray(effects_mean_D, np.float64), np.asarray(effects_se_D, np.float64)
    if y_D.ndim != 1 or y_D.shape != se_D.shape or len(y_D) < 2:
        raise ValueError(
            f"effects have shapes {y_D.shape} and {se_D.shape}; both must be (series,), two or more"
        )
    if not np.isfinite(y_D).all():
        raise ValueError(f"effects_mean_D is {y_D}; each must be finite")
    if not (np.isfinite(se_D).all() and np.all(se_D > 0)):
        raise ValueError(f"effects_se_D is {se_D}; each must be finite and above 0")
    check_level(level)
    df, fixed_D = len(y_D) - 1, se_D**-2
    q = np.sum(fixed_D * (y_D - np.average(y_D, weights=fixed_D)) ** 2)
    tau2 = max(0.0, (q - df) / (fixed_D.sum() - np.sum(fixed_D**2) / fixed_D.sum()))
    weight_D = 1 / (se_D**2 + tau2)
    mean = np.average(y_D, weights=weight_D)
    se = math.sqrt(np.sum(weight_D * (y_D - mean) ** 2) / (df * weight_D.sum()))
    half = scipy.stats.t.ppf((1 + level) / 2, df) * se
    return float(mean), float(mean - half), float(mean + half)
