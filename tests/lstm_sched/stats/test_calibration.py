"""How often the decision procedure makes a false claim. Shapes: N seeds, R replications, C comparisons."""

import math

import numpy as np
import pytest
from scipy import stats

from lstm_sched.stats.paired import ALPHA, compare, interval

INF = math.inf

# Calibration: how often the procedure claims better or worse where the truth is that nothing changed, with a
# spread so wide that no interval fits inside the margin. The standard error of the rate of a 5 % event is
# 0.5 % at 2,000 replications, too much to tell 4 % from 6 %; it is 0.1 % at 40,000.

BETWEEN_TREATMENTS = np.array([[1.0, 0.5], [0.5, 1.0]])  # they share their reference
BETWEEN_METRICS = np.array([[1.0, 0.8], [0.8, 1.0]])


def null_differences(seed, replications, n, df, correlation_CC):
    """d_RCN with mean 0, normal (df infinite) or multivariate t, correlated over the family."""
    rng = np.random.default_rng(seed)
    root_CC = np.linalg.cholesky(correlation_CC)
    normal_RNC = rng.standard_normal((replications, n, len(root_CC))) @ root_CC.T
    scale_RN1 = 1.0 if math.isinf(df) else np.sqrt(df / rng.chisquare(df, (replications, n, 1)))
    return np.moveaxis(normal_RNC * scale_RN1, 1, 2)


def claims(d_XN, family):
    _, lo_X, hi_X = interval(d_XN, family)
    return (hi_X < 0) | (lo_X > 0)


@pytest.mark.parametrize("df", [INF, 4])
@pytest.mark.parametrize("n", [8, 16, 64])
def test_a_single_contrast_rejects_at_its_level(n, df):
    replications = 40_000
    d_RN = null_differences(0, replications, n, df, np.eye(1))[:, 0]
    rate = claims(d_RN, 1).mean()
    assert 0.04 <= rate <= 0.06
    if math.isinf(df):  # exact; heavy tails make it conservative: 4.2, 4.5 and 4.8 % at n = 8, 16 and 64
        lo, hi = stats.binom.interval(0.999, replications, ALPHA)
        assert lo <= rate * replications <= hi
    else:
        assert rate < ALPHA


@pytest.mark.parametrize("df", [INF, 4])
@pytest.mark.parametrize("n", [8, 16, 64])
def test_a_family_makes_any_false_claim_in_at_most_six_percent(n, df):
    correlation_CC = np.kron(BETWEEN_TREATMENTS, BETWEEN_METRICS)
    d_RCN = null_differences(1, 40_000, n, df, correlation_CC)
    rate = claims(d_RCN, len(correlation_CC)).any(1).mean()
    assert 0 < rate <= 0.06


def test_the_verdict_is_the_claim_that_was_calibrated():
    d_RN = null_differences(2, 200, 8, INF, np.eye(1))[:, 0]
    verdicts = np.array([compare(d_N, np.zeros_like(d_N), 1).verdict for d_N in d_RN])
    np.testing.assert_array_equal(np.isin(verdicts, ["better", "worse"]), claims(d_RN, 1))
    assert set(verdicts) == {"better", "worse", "undecided"}


@pytest.mark.parametrize("lost", [0.02, 0.2])
def test_runs_that_diverge_alike_in_both_arms_raise_no_false_claims(lost):
    replications = 2_000
    rng = np.random.default_rng(3)
    losses_R2N = rng.standard_normal((replications, 2, 16))
    losses_R2N[rng.random(losses_R2N.shape) < lost] = INF
    verdicts = [compare(arm_N, ref_N, 1).verdict for arm_N, ref_N in losses_R2N]
    false_claims = sum(verdict in ("better", "worse") for verdict in verdicts)
    assert 0 < false_claims <= stats.binom.ppf(0.999, replications, ALPHA)
