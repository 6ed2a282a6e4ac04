"""Paired effects of an arm against a reference: an interval, the verdict that follows from it, and sentences.

Losses are given as logs, so a difference is the log of a ratio of losses; it is printed as a change in %.
There are two metrics, the log test loss after the last epoch and that at the epoch of lowest validation loss;
they are decided together.

Shapes: N seeds, X any leading axes.
"""

import math
from enum import StrEnum
from typing import Literal, NamedTuple

import numpy as np
import scipy  # it loads its parts when they are first used, so no training waits for them
from numpy.typing import ArrayLike

DELTA = math.log(1.01)  # margin of equivalence: 1 % of the loss, never estimated from runs
ALPHA = 0.05  # chance of any false claim in a family of comparisons
MIN_SEEDS = 6
DIVERGED_RATIO = 10.0  # final train loss over that of predicting the mean


class Metric(StrEnum):
    """The epoch at which a run's test loss is taken, as tables and sentences name it."""

    END = "after the last epoch"
    SELECTED = "at its best epoch"  # the epoch of lowest validation loss


Verdict = Literal["identical", "equivalent", "better", "worse", "undecided"]


class Effect(NamedTuple):
    """The effect of an arm on one metric, as logs of loss ratios (below 0: its loss is lower), or nan."""

    n: int  # seeds, each one pair
    mean: float
    lo: float  # ends of the interval from which the verdict is read
    hi: float
    sd: float  # of the paired differences
    level: float  # of the interval or test: 1 - ALPHA / family
    worse: int  # seeds in which the arm's loss is higher, or only the arm diverged
    better: int
    tied: int  # equal losses, or both diverged
    diverged: int  # runs of the arm
    diverged_ref: int
    verdict: Verdict
    qualifier: Literal["", "small but detectable", "too few seeds"]

    @property
    def excluded(self) -> float:
        """A change of more than this, in either direction, is excluded."""
        return max(-self.lo, self.hi)


def check_level(level: float) -> None:
    """Raise ValueError unless the level of an interval is between 0 and 1."""
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it must be between 0 and 1")


def interval(d_XN: ArrayLike, family: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and both ends (X each) of the t interval of the mean of d_XN at level 1 - ALPHA / family; N > 1.

    If all d are equal, the interval is a point.
    """
    d_XN = np.asarray(d_XN, np.float64)
    n = d_XN.shape[-1]
    mean_X = d_XN.mean(-1)
    half_X = scipy.stats.t.ppf(1 - ALPHA / (2 * family), n - 1) * d_XN.std(-1, ddof=1) / math.sqrt(n)
    return mean_X, mean_X - half_X, mean_X + half_X


def compare(
    logloss_arm_N: ArrayLike, logloss_ref_N: ArrayLike, family: int, identical: bool = False
) -> Effect:
    """Compare an arm with its reference on one metric; every experiment uses this procedure.

    Losses are paired by seed, and no pair is dropped. A diverged run is +inf, and two diverged runs of a seed
    differ by zero. If any run diverged, there is no mean and no interval; a sign test then asks whether the
    arm was worse, or better, in more than half of all seeds (a tie counts for neither).

    `family` is the number of comparisons decided together: treatments that can differ, times two metrics.
    `identical` says that the runs themselves, not only these losses, are equal bit for bit in every seed.

    Raises ValueError for losses of unlike shapes, nan or -inf, for a family below 1, and for identical runs
    whose losses differ.
    """
    arm_N, ref_N = np.asarray(logloss_arm_N, np.float64), np.asarray(logloss_ref_N, np.float64)
    if arm_N.ndim != 1 or arm_N.shape != ref_N.shape:
        raise ValueError(f"log losses have shapes {arm_N.shape} and {ref_N.shape}; both must be (seeds,)")
    for name, x_N in (("logloss_arm_N", arm_N), ("logloss_ref_N", ref_N)):
        if not np.all(np.isfinite(x_N) | np.isposinf(x_N)):
            raise ValueError(f"{name} is {x_N}; each must be finite, or +inf where the run diverged")
    if family < 1:
        raise ValueError(f"family is {family}; it must be at least 1")
    if identical and not np.array_equal(arm_N, ref_N):
        raise ValueError("identical is True, but the log losses differ; they must be equal in every seed")

    n, level = len(arm_N), 1 - ALPHA / family
    lost_N, lost_ref_N = np.isinf(arm_N), np.isinf(ref_N)
    d_N = np.subtract(arm_N, ref_N, out=np.zeros(n), where=~(lost_N & lost_ref_N))
    worse, better = int(np.sum(d_N > 0)), int(np.sum(d_N < 0))
    mean = lo = hi = sd = math.nan
    verdict, qualifier = "undecided", ""
    if identical:
        verdict = "identical"
    elif n < MIN_SEEDS:
        qualifier = "too few seeds"
    elif (lost_N | lost_ref_N).any():
        one_sided = scipy.stats.binomtest(max(worse, better), n, alternative="greater").pvalue
        if 2 * one_sided <= ALPHA / family:
            verdict = "worse" if worse > better else "better"
    else:
        mean, lo, hi = (float(x) for x in interval(d_N, family))
        sd = float(d_N.std(ddof=1))
        if lo > -DELTA and hi < DELTA:  # first: inside the margin is equivalent even if 0 is outside
            verdict = "equivalent"
            qualifier = "small but detectable" if lo > 0 or hi < 0 else ""
        elif hi < 0:
            verdict = "better"
        elif lo > 0:
            verdict = "worse"
    counts = worse, better, n - worse - better, int(lost_N.sum()), int(lost_ref_N.sum())
    return Effect(n, mean, lo, hi, sd, level, *counts, verdict, qualifier)


def percent(x: float) -> float:
    """Log of a ratio -> change in %."""
    return 100 * float(np.expm1(x))


def _signed(x: float) -> str:
    """A log ratio as a change in %, with one decimal or as many as show its side of 0 and of the margin."""

    def side(change: float) -> tuple[bool, ...]:
        return change < 0, change > 0, change > percent(-DELTA), change < 1

    change, text = percent(x), ""
    for decimals in range(1, 20):
        text = f"{change:+.{decimals}f} %"
        if side(float(text[:-2])) == side(change):
            break
    return text.replace("-", "−") if change else "0.0 %"


def sentence(effect: Effect) -> str:
    """One metric in words, with the interval or the counts that decided its verdict."""
    e = effect
    if e.verdict == "identical":
        return "the same bits"
    lost = f" (diverged: {e.diverged} of {e.n} runs, and {e.diverged_ref} of the reference)"
    lost = lost if e.diverged or e.diverged_ref else ""
    if e.qualifier == "too few seeds":
        return f"n = {e.n}: too few seeds to call{lost}"
    if math.isnan(e.mean):  # the sign test
        if e.verdict == "undecided":
            return f"worse in {e.worse} and better in {e.better} of {e.n} seeds: too few to call{lost}"
        return f"{e.verdict} in {max(e.worse, e.better)} of {e.n} seeds{lost}"
    lo, hi = _signed(e.lo), _signed(e.hi)
    if e.verdict == "undecided":
        return f"between {lo} and {hi}: too wide to call{lost}"
    words = "within ±1 %" if e.verdict == "equivalent" else e.verdict
    return f"{words}: from {lo} to {hi}" + (f", {e.qualifier}" if e.qualifier else "") + lost


_TOGETHER = {
    ("identical", "identical"): "the same bits",
    ("better", "better"): f"better both {Metric.END} and {Metric.SELECTED}",
    ("worse", "worse"): f"worse both {Metric.END} and {Metric.SELECTED}",
    ("better", "worse"): f"better {Metric.END}, worse {Metric.SELECTED}: it overfits later, not less",
    ("worse", "better"): f"worse {Metric.END}, better {Metric.SELECTED}: it overfits more",
}


def combine(end: Effect, selected: Effect) -> tuple[Verdict | Literal["mixed"], str]:
    """The verdict on which both metrics agree, or "mixed", and a sentence that names each metric.

    Raises ValueError where only one metric is identical: runs are equal bit for bit, or they are not.
    """
    verdicts = end.verdict, selected.verdict
    agree = end.verdict == selected.verdict
    if "identical" in verdicts and not agree:
        raise ValueError(f"verdicts are {verdicts}; identical runs are identical on both metrics")
    all_finite = not any(e.diverged or e.diverged_ref for e in (end, selected))
    if verdicts in _TOGETHER and (all_finite or "identical" in verdicts):
        words = _TOGETHER[verdicts]
    else:
        words = f"{Metric.END} {sentence(end)}; {Metric.SELECTED} {sentence(selected)}"
    return end.verdict if agree else "mixed", words


def diverged(final_train_loss: float, mean_prediction_loss: float, *curves: ArrayLike) -> bool:
    """Whether a run diverged: a loss is not finite, or the final one above 10 × that of predicting the mean.

    Both losses are on the training part; `curves` are any other losses, one per epoch that was run. Raises
    ValueError for a mean_prediction_loss that is not finite and positive.
    """
    if not (math.isfinite(mean_prediction_loss) and mean_prediction_loss > 0):
        raise ValueError(f"mean_prediction_loss is {mean_prediction_loss}; it must be finite and positive")
    finite = all(np.isfinite(losses).all() for losses in (final_train_loss, *curves))
    return not finite or bool(final_train_loss > DIVERGED_RATIO * mean_prediction_loss)
