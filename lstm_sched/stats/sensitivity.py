"""Sensitivity of a verdict: other tests and intervals on the same pairs, and scales for the effect's size.

None of them changes the verdict. For effects, losses are given as logs, so a difference is the log of a ratio
of losses, below 0 if the arm's loss is lower. A diverged run is +inf; two of one seed differ by zero.

Shapes: N seeds, E epochs, K rates of the ruler; W test windows in time order, S places where a block may start, K
blocks of a replication, R replications.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike

from lstm_sched.stats import paired
from lstm_sched.stats.paired import check_level

DRAWS = 2**20  # block starts that are drawn at a time, which bounds the memory
APART = 1e-3  # difference of log loss (0.1 %) beyond which two runs are apart
MIN_SEEDS_BCA = 32  # with fewer the bootstrap of a mean is too narrow: at n = 8 it rejects 12 %, not 5 %

_SIDES = {-1: "below 0", 0: "on both sides of 0", 1: "above 0"}
_WITHIN = {True: "within ±1 %", False: "not within ±1 %"}


class Checks(NamedTuple):
    """Checks of an arm's verdict on one metric; nan where a check cannot be made."""

    bca_lo: float  # ends of the BCa bootstrap interval of the mean, at the level of the verdict
    bca_hi: float
    wilcoxon: float  # two-sided p of the signed-rank test
    superiority: float  # P(arm < reference) over the pairs, a tie counting half
    disagrees: str  # where a check points to another conclusion than the verdict; "" where none does


def checks(logloss_arm_N: ArrayLike, logloss_ref_N: ArrayLike, family: int) -> Checks:
    """Check by other methods what `paired.compare` decided.

    BCa (Efron 1987) needs 32 seeds, none of them diverged. Wilcoxon ranks equal pairs and then drops their ranks
    (Pratt 1959); an infinite difference ranks highest. It is nan if no pair differs. It can disagree only if
    p can reach the level: with k pairs that differ p >= 2 / 2**k, too high for few seeds and a large family.

    Args:
        logloss_arm_N, logloss_ref_N, family: as in `paired.compare`.

    Raises:
        ValueError: as `paired.compare` does.
    """
    effect = paired.compare(logloss_arm_N, logloss_ref_N, family)
    arm_N, ref_N = np.asarray(logloss_arm_N, np.float64), np.asarray(logloss_ref_N, np.float64)
    d_N = np.subtract(arm_N, ref_N, out=np.zeros(effect.n), where=arm_N != ref_N)
    p = _wilcoxon(d_N)
    superiority = (effect.better + effect.tied / 2) / effect.n if effect.n else math.nan
    bca = _bca(d_N, effect) if effect.n >= MIN_SEEDS_BCA and np.isfinite(d_N).all() else (math.nan, math.nan)

    finite, disagreements = not math.isnan(effect.mean), []
    basis = "the t interval" if finite else "the sign test"
    side = _side(effect.lo, effect.hi) if finite else {"better": -1, "worse": 1}.get(effect.verdict, 0)
    if not math.isnan(bca[0]):
        if _side(*bca) != side:
            disagreements.append(f"BCa puts the change {_SIDES[_side(*bca)]}, {basis} {_SIDES[side]}")
        if _within(*bca) != _within(effect.lo, effect.hi):
            disagreements.append(
                f"BCa puts the change {_WITHIN[_within(*bca)]}, {basis} {_WITHIN[not _within(*bca)]}"
            )
    level = paired.ALPHA / family
    if 2.0 ** (1 - np.count_nonzero(d_N)) <= level:
        ranked = int(np.sign(np.sum(np.sign(d_N) * scipy.stats.rankdata(np.abs(d_N))))) if p <= level else 0
        if ranked != side:
            disagreements.append(
                f"Wilcoxon (p = {p:.2g}) puts the change {_SIDES[ranked]}, {basis} {_SIDES[side]}"
            )
    if side * (superiority - 0.5) > 0:
        disagreements.append(
            f"the loss is lower in {100 * superiority:.0f} % of pairs, {basis} is {_SIDES[side]}"
        )
    return Checks(*bca, p, superiority, "; ".join(disagreements))


def _wilcoxon(d_N: np.ndarray) -> float:
    if not d_N.any():
        return math.nan
    found: Any = scipy.stats.wilcoxon(d_N, zero_method="pratt")
    return float(found.pvalue)


def _bca(d_N: np.ndarray, effect: paired.Effect) -> tuple[float, float]:
    if np.ptp(d_N) == 0:  # all resamples are equal: the interval is a point, as the t interval is
        return effect.lo, effect.hi
    found = scipy.stats.bootstrap(
        (d_N,), np.mean, confidence_level=effect.level, method="BCa", rng=np.random.default_rng(0), batch=1000
    ).confidence_interval
    return float(found.low), float(found.high)


def _side(lo: float, hi: float) -> int:
    return int(lo > 0) - int(hi < 0)


def _within(lo: float, hi: float) -> bool:
    return lo > -paired.DELTA and hi < paired.DELTA


def block_interval(
    loss_arm_W: ArrayLike,
    loss_ref_W: ArrayLike,
    block: int,
    level: float,
    replications: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Interval of log(mean loss of the arm / mean loss of the reference) over test windows that depend on each other.

    The moving-block bootstrap of Künsch (1989): blocks of consecutive windows, the same ones for both arms, are drawn
    until there are W windows (the last block is cut). The ends are percentiles of the log ratio, moved by its known
    bias, since windows near the ends of the series lie in fewer blocks.

    With few blocks the interval is too narrow: at a level of 95 %, and even for independent windows, its
    coverage is 94 % with 40 blocks in W, 91 % with 10 and 84 % with 4.

    Args:
        loss_arm_W, loss_ref_W: one loss per window, averaged over seeds.
        block: windows in a block, 1 to W. It should be at least one period; 1 gives the ordinary bootstrap.
        level: of the interval, between 0 and 1.
        replications: the number of bootstrap samples.
        seed: the seed of its draws.

    Returns:
        Both ends; nan where there are fewer than two blocks or a run diverged (+inf).

    Raises:
        ValueError: for unequal shapes, losses that are not above 0, and other arguments out of range.
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
    check_level(level)
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


def _log_ratio(sums_2X: np.ndarray) -> np.ndarray:
    return np.log(sums_2X[0] / sums_2X[1])


def floor(d_arm: ArrayLike, d_ulp: ArrayLike) -> float:
    """Ratio of an arm's root-mean-square change to that of a control, where one weight was moved by one ulp.

    It is about 1 if single runs of the arm differ from the reference no more than rounding errors grow to.

    Args:
        d_arm: paired differences of log losses of the arm, one per seed.
        d_ulp: those of the control. The number of seeds may differ.

    Returns:
        The ratio; nan where the control changes nothing, or a run diverged (an infinite difference).

    Raises:
        ValueError: for no differences, or nan.
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
    """Find the first epoch at which two sets of curves are apart.

    Args:
        curve_arm_NE, curve_ref_NE: losses (not their logs), paired by seed. Those that are not finite count
            as equal to each other, and as larger than any finite loss.
        threshold: the largest rms over seeds of |Δ log loss| at which curves are not yet apart.

    Returns:
        The epoch, from 1 on; None where the curves never exceed the threshold.

    Raises:
        ValueError: for unequal shapes, no seeds, and losses that are not above 0.
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
    """Find the factor on the learning rate that has the same effect as an arm.

    The ruler is the effect of one fit at K rates; it is interpolated linearly in the log of the factor.

    Args:
        log_factors_K: logs of the factors on the rate, each finite and given once.
        effects_K: effects of one fit with these rates, as logs of ratios.
        effect: the effect of the arm.

    Returns:
        The factor and ""; or None and the reason why not exactly one factor has this effect.

    Raises:
        ValueError: for unequal shapes, fewer than two rates, and factors that are not finite and distinct.
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
    log_factors = np.concatenate([x_K[y_K == 0], between])
    if len(log_factors) == 1:
        return math.exp(log_factors[0]), ""
    if len(log_factors):
        return None, "several rates have this effect"
    return None, f"no rate of the ruler has so {'high' if y_K[0] < 0 else 'low'} an effect"
