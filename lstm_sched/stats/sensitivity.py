"""What stands beside a verdict and never changes it: other tests of the same pairs, scales, and several series.

Losses enter as logs where an effect is meant, so a difference is the log of a ratio of losses, below 0 where the
arm's is lower. A diverged run is +inf, and two diverged runs of a seed differ by zero.

Shapes: N seeds, E epochs, K rates of the ruler, D series.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike

from lstm_sched.stats import paired

# Bootstrap intervals of what seeds alone do not tell: over test windows in time order, and over several
# series. They stand beside a verdict and never decide one. Shapes: W test windows in time order, S places
# where a block may start, K blocks, R replications, D series, N seeds.


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


APART = 1e-3  # of log loss, 0.1 %: beyond it two runs have parted
MIN_SEEDS_BCA = 32  # below, the bootstrap of a mean is too narrow: at n = 8 it rejects 12 % for 5 %

_SIDES = {-1: "below 0", 0: "on both sides of 0", 1: "above 0"}
_WITHIN = {True: "within ±1 %", False: "not within ±1 %"}


class Checks(NamedTuple):
    """Sensitivity of one arm's verdict on one metric; nan where a check cannot be made."""

    bca_lo: float  # ends of the BCa bootstrap interval of the mean, at the level of the verdict
    bca_hi: float
    wilcoxon: float  # two-sided p of the signed-rank test
    superiority: float  # P(arm < reference) over the pairs, a tie counting half
    disagrees: str  # where a check points to another conclusion than the verdict; "" where none does


def checks(logloss_arm_N: ArrayLike, logloss_ref_N: ArrayLike, family: int) -> Checks:
    """Look again at what `paired.compare` decided, from the same arguments and with the same errors.

    BCa (Efron 1987) needs 32 seeds, none of them diverged. Wilcoxon ranks equal pairs and then drops their ranks
    (Pratt 1959), so that no pair is lost before the ranking; an infinite difference ranks highest. It is nan where
    no pair differs, and disagrees only where a claim was within its reach: k pairs that differ have
    p >= 2 / 2**k, which is above the level where seeds are few and the family is large.
    """
    effect = paired.compare(logloss_arm_N, logloss_ref_N, family)
    arm_N, ref_N = np.asarray(logloss_arm_N, np.float64), np.asarray(logloss_ref_N, np.float64)
    d_N = np.subtract(arm_N, ref_N, out=np.zeros(effect.n), where=arm_N != ref_N)
    p = _wilcoxon(d_N)
    superiority = (effect.better + effect.tied / 2) / effect.n if effect.n else math.nan
    bca = _bca(d_N, effect) if effect.n >= MIN_SEEDS_BCA and np.isfinite(d_N).all() else (math.nan, math.nan)

    finite, words = not math.isnan(effect.mean), []
    basis = "the t interval" if finite else "the sign test"
    side = _side(effect.lo, effect.hi) if finite else {"better": -1, "worse": 1}.get(effect.verdict, 0)
    if not math.isnan(bca[0]):
        if _side(*bca) != side:
            words.append(f"BCa puts the change {_SIDES[_side(*bca)]}, {basis} {_SIDES[side]}")
        if _within(*bca) != _within(effect.lo, effect.hi):
            words.append(
                f"BCa puts the change {_WITHIN[_within(*bca)]}, {basis} {_WITHIN[not _within(*bca)]}"
            )
    level = paired.ALPHA / family
    if 2.0 ** (1 - np.count_nonzero(d_N)) <= level:
        ranked = int(np.sign(np.sum(np.sign(d_N) * scipy.stats.rankdata(np.abs(d_N))))) if p <= level else 0
        if ranked != side:
            words.append(f"Wilcoxon (p = {p:.2g}) puts the change {_SIDES[ranked]}, {basis} {_SIDES[side]}")
    if side * (superiority - 0.5) > 0:
        words.append(f"the loss is lower in {100 * superiority:.0f} % of pairs, {basis} is {_SIDES[side]}")
    return Checks(*bca, p, superiority, "; ".join(words))


def _wilcoxon(d_N: np.ndarray) -> float:
    if not d_N.any():
        return math.nan
    found: Any = scipy.stats.wilcoxon(d_N, zero_method="pratt")
    return float(found.pvalue)


def _bca(d_N: np.ndarray, effect: paired.Effect) -> tuple[float, float]:
    if np.ptp(d_N) == 0:  # no resample differs from another: a point, as the t interval is
        return effect.lo, effect.hi
    found = scipy.stats.bootstrap(
        (d_N,), np.mean, confidence_level=effect.level, method="BCa", rng=np.random.default_rng(0), batch=1000
    ).confidence_interval
    return float(found.low), float(found.high)


def _side(lo: float, hi: float) -> int:
    return int(lo > 0) - int(hi < 0)


def _within(lo: float, hi: float) -> bool:
    return lo > -paired.DELTA and hi < paired.DELTA


def floor(d_arm: ArrayLike, d_ulp: ArrayLike) -> float:
    """R: root-mean-square paired change of an arm over that of one weight moved by one unit in its last place.

    About 1 where single runs of the arm differ from their aliases no more than chaos makes them. Seeds may differ
    in number. nan where no ulp run moves at all, and where any run diverged (an infinite difference).

    Raises ValueError for no differences, or nan.
    """
    arm, ulp = np.asarray(d_arm, np.float64), np.asarray(d_ulp, np.float64)
    for name, d in (("d_arm", arm), ("d_ulp", ulp)):
        if not d.size or np.isnan(d).any():
            raise ValueError(f"{name} is {d}; it must hold at least one difference, and no nan")
    if not ulp.any() or not (np.isfinite(arm).all() and np.isfinite(ulp).all()):
        return math.nan
    return float(np.sqrt(np.mean(arm**2)) / np.sqrt(np.mean(ulp**2)))


def first_divergence(
    curve_arm_NE: ArrayLike, curve_ref_NE: ArrayLike, threshold: float = APART
) -> int | None:
    """First epoch, from 1 on, at which the rms over seeds of |Δ log loss| exceeds the threshold; None if never.

    Curves are losses, not their logs. One that is not finite is larger than any other and equal to another that
    is not. Raises ValueError for shapes that differ or are not (seeds, epochs), no seeds, and a loss not above 0.
    """
    arm_NE, ref_NE = np.asarray(curve_arm_NE, np.float64), np.asarray(curve_ref_NE, np.float64)
    if arm_NE.ndim != 2 or arm_NE.shape != ref_NE.shape or not len(arm_NE):
        raise ValueError(
            f"curves have shapes {arm_NE.shape} and {ref_NE.shape}; both must be (seeds, epochs)"
        )
    for name, loss_NE in (("curve_arm_NE", arm_NE), ("curve_ref_NE", ref_NE)):
        if np.any(loss_NE <= 0):
            raise ValueError(f"{name} holds {np.nanmin(loss_NE)}; losses must be above 0")
    lost_NE, lost_ref_NE = ~np.isfinite(arm_NE), ~np.isfinite(ref_NE)
    d_NE = np.where(lost_NE == lost_ref_NE, 0.0, np.inf)
    finite_NE = ~(lost_NE | lost_ref_NE)
    d_NE[finite_NE] = np.log(arm_NE[finite_NE] / ref_NE[finite_NE])
    apart_E = np.sqrt(np.mean(d_NE**2, axis=0)) > threshold
    return int(np.argmax(apart_E)) + 1 if apart_E.any() else None


def equal_rate(log_factors_K: ArrayLike, effects_K: ArrayLike, effect: float) -> tuple[float | None, str]:
    """The factor on the rate whose effect is the one given, and ""; or None and the reason why there is none.

    The ruler, effects of one fit at K rates, is read along straight lines in the log of the factor. It gives a
    factor only if exactly one has this effect: none outside the ruler, several where it turns back or is level.
    An effect that is not finite (a run diverged) has none.

    Raises ValueError for shapes other than (K,), K below 2, and factors that are not finite and distinct.
    """
    x_K, y_K = np.asarray(log_factors_K, np.float64), np.asarray(effects_K, np.float64)
    if x_K.ndim != 1 or x_K.shape != y_K.shape or len(x_K) < 2:
        raise ValueError(
            f"the ruler has shapes {x_K.shape} and {y_K.shape}; both must be (rates,), two or more"
        )
    if not np.isfinite(x_K).all() or len(np.unique(x_K)) < len(x_K):
        raise ValueError(f"log_factors_K is {x_K}; each must be finite and given once")
    if not (np.isfinite(y_K).all() and math.isfinite(effect)):
        return None, "a run of the arm or of the ruler diverged"
    order = np.argsort(x_K)
    x_K, y_K = x_K[order], y_K[order] - effect
    i = np.flatnonzero(np.sign(y_K[:-1]) * np.sign(y_K[1:]) < 0)  # crossed between i and i + 1
    between = x_K[i] - y_K[i] * (x_K[i + 1] - x_K[i]) / (y_K[i + 1] - y_K[i])
    found = np.concatenate([x_K[y_K == 0], between])
    if len(found) == 1:
        return math.exp(found[0]), ""
    if len(found):
        return None, "several rates have this effect"
    return None, f"no rate of the ruler has so {'high' if y_K[0] < 0 else 'low'} an effect"


def pooled(
    effects_mean_D: ArrayLike, effects_se_D: ArrayLike, level: float = 1 - paired.ALPHA
) -> tuple[float, float, float]:
    """Mean effect over series like these D, and its interval: random effects, for series not seen.

    DerSimonian and Laird's (1986) variance between series, and the interval of Hartung and Knapp (2001), t with
    D - 1 degrees of freedom. It is of the mean over such series: one new series scatters about that.

    Raises ValueError for shapes other than (D,), D below 2, a mean that is not finite, a standard error that is not
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
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it must be between 0 and 1")
    df, fixed_D = len(y_D) - 1, se_D**-2
    q = np.sum(fixed_D * (y_D - np.average(y_D, weights=fixed_D)) ** 2)
    tau2 = max(0.0, (q - df) / (fixed_D.sum() - np.sum(fixed_D**2) / fixed_D.sum()))
    weight_D = 1 / (se_D**2 + tau2)
    mean = np.average(y_D, weights=weight_D)
    se = math.sqrt(np.sum(weight_D * (y_D - mean) ** 2) / (df * weight_D.sum()))
    half = scipy.stats.t.ppf((1 + level) / 2, df) * se
    return float(mean), float(mean - half), float(mean + half)
