"""Checks of a verdict. Shapes: N seeds, E epochs, K rates of the ruler."""

import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from lstm_sched.stats.paired import compare
from lstm_sched.stats.sensitivity import checks, equal_rate, first_divergence, floor

INF = math.inf
NORMAL_N = stats.norm.ppf((np.arange(64) + 0.5) / 64)  # mean 0, sd about 1

finite = st.integers(-5000, 5000).map(lambda i: i / 1024)
logloss = finite | st.just(INF)


def pairs(losses, min_size=0, max_size=20):
    """Log losses of an arm and its reference, one pair a seed."""
    return st.lists(st.tuples(losses, losses), min_size=min_size, max_size=max_size).map(
        lambda rows: (np.array([arm for arm, _ in rows]), np.array([ref for _, ref in rows]))
    )


# With ties SciPy tries all signs of up to 13 pairs, so few of these are drawn.
some_pairs = pairs(logloss, max_size=8) | pairs(logloss, min_size=14)
few = settings(deadline=None, max_examples=50)


def against_zero(d_N, family=1):
    """Checks of an arm that differs from its reference by d_N, infinite where one alone diverged."""
    d_N = np.asarray(d_N, float)
    return checks(np.maximum(d_N, 0), np.maximum(-d_N, 0), family)


def bca_by_hand(d_N, level, replications, seed):
    """Efron's bias-corrected and accelerated percentiles of the mean, with the jackknife's acceleration."""
    n, mean = len(d_N), np.mean(d_N)
    drawn = np.sort(np.random.default_rng(seed).choice(d_N, (replications, n)).mean(1))
    bias = stats.norm.ppf(np.mean(drawn < mean))
    jackknife = np.array([np.mean(np.delete(d_N, i)) for i in range(n)])
    centred = jackknife.mean() - jackknife
    acceleration = np.sum(centred**3) / (6 * np.sum(centred**2) ** 1.5)
    ends = []
    for tail in ((1 - level) / 2, (1 + level) / 2):
        z = bias + stats.norm.ppf(tail)
        ends.append(float(np.quantile(drawn, stats.norm.cdf(bias + z / (1 - acceleration * z)))))
    return tuple(ends)


@pytest.mark.parametrize("family", [1, 4])
def test_bca_is_efrons_interval_at_the_level_of_the_verdict(family):
    d_N = np.random.default_rng(0).exponential(1.0, 40)
    c = against_zero(d_N, family)
    expected = bca_by_hand(d_N, 1 - 0.05 / family, 100_000, seed=3)
    assert (c.bca_lo, c.bca_hi) == pytest.approx(expected, abs=0.05 * (expected[1] - expected[0]))
    e = compare(d_N, np.zeros(40), family)
    assert c.bca_lo > e.lo and c.bca_hi > e.hi  # skew to the right moves it there


def test_bca_and_t_are_the_same_interval_for_many_normal_differences():
    d_N = np.tile(NORMAL_N, 4)
    e, c = compare(d_N, np.zeros(256), 1), against_zero(d_N)
    assert (c.bca_lo, c.bca_hi) == pytest.approx((e.lo, e.hi), abs=0.06 * e.hi)
    assert c.disagrees == ""


def test_bca_needs_32_seeds_all_of_which_trained():
    assert not np.isnan(against_zero(NORMAL_N[:32])[:2]).any()
    assert np.isnan(against_zero(NORMAL_N[:31])[:2]).all()
    assert np.isnan(against_zero([INF, *NORMAL_N[:40]])[:2]).all()


@pytest.mark.parametrize("shift", [0.0, -0.25])
def test_differences_that_are_all_equal_are_a_point(shift):
    c = against_zero(np.full(40, shift))
    assert c[:2] == (shift, shift)
    assert c.disagrees == ""


def signed_rank_by_hand(d_N):
    """Two-sided p over all 2^N signs of the ranks, those of equal pairs dropped after ranking."""
    size = [abs(d) for d in d_N]
    rank = [sum(y < x for y in size) + (sum(y == x for y in size) + 1) / 2 for x in size]
    total = sum(r * np.sign(d) for r, d in zip(rank, d_N, strict=True))
    kept = [r for r, d in zip(rank, d_N, strict=True) if d != 0]
    sums = [
        sum(s * r for s, r in zip(signs, kept, strict=True))
        for signs in itertools.product((-1, 1), repeat=len(kept))
    ]
    return np.mean([abs(x) >= abs(total) - 1e-9 for x in sums])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(-6, 6) | st.sampled_from([INF, -INF]), min_size=1, max_size=9))
def test_wilcoxon_is_exact_with_ties_equal_pairs_and_diverged_runs(d):
    assume(any(d))
    assert against_zero(d).wilcoxon == pytest.approx(signed_rank_by_hand(d), rel=1e-9)


def test_equal_pairs_are_ranked_before_their_ranks_are_dropped():
    d_N = [0, 0, 0, -1, -2, 3, 4, 5, 6]
    p = against_zero(d_N).wilcoxon
    assert p == pytest.approx(signed_rank_by_hand(d_N))
    assert p != pytest.approx(signed_rank_by_hand(d_N[3:]))


def test_a_diverged_run_ranks_as_any_difference_larger_than_all_others():
    d_N = NORMAL_N + 0.1
    for n in (12, 30, 64):
        lost_N, large_N = np.append(d_N[:n], INF), np.append(d_N[:n], 99.0)
        assert against_zero(lost_N).wilcoxon == against_zero(large_N).wilcoxon


def test_wilcoxon_is_nan_where_no_pair_differs():
    for arm_N in ([], [0.5], [INF, INF], np.ones(8), np.ones(40)):
        assert math.isnan(checks(arm_N, arm_N, 1).wilcoxon)


@few
@given(some_pairs)
def test_superiority_is_the_share_of_pairs_with_the_lower_loss(rows):
    arm_N, ref_N = rows
    c = checks(arm_N, ref_N, 4)
    wins = [1.0 if a < b else 0.5 if a == b else 0.0 for a, b in zip(arm_N, ref_N, strict=True)]
    if wins:
        assert c.superiority == pytest.approx(sum(wins) / len(wins))
    else:
        assert math.isnan(c.superiority)


@few
@given(some_pairs, st.integers(1, 12))
def test_swapping_the_arms_mirrors_the_checks(rows, family):
    arm_N, ref_N = rows
    c, mirrored = checks(arm_N, ref_N, family), checks(ref_N, arm_N, family)
    np.testing.assert_allclose(mirrored.wilcoxon, c.wilcoxon, rtol=1e-9)
    np.testing.assert_allclose(mirrored.superiority, 1 - c.superiority, rtol=0, atol=1e-12)
    swap = {"below": "above", "above": "below"}
    words = re.sub("below|above", lambda found: swap[found[0]], c.disagrees)
    assert re.sub(r"in \d+ %", "", mirrored.disagrees) == re.sub(r"in \d+ %", "", words)


@settings(deadline=None, max_examples=20)
@given(pairs(finite, min_size=32, max_size=40), finite)
def test_a_factor_common_to_both_losses_changes_no_check(rows, shift):
    arm_N, ref_N = rows
    c = checks(arm_N, ref_N, 4)
    assert checks(arm_N + shift, ref_N + shift, 4) == c  # exact, as all losses are multiples of 1/1024
    assert c.bca_lo <= np.mean(arm_N - ref_N) <= c.bca_hi


HEAVY_N = np.concatenate([np.linspace(0.02, 0.05, 19), [-2.0]])  # 19 of 20 pairs above 0, the mean below
SKEWED_N = np.concatenate([np.linspace(0.0001, 0.0005, 31), [0.031]])

DISAGREEMENTS = [
    (0.5 + NORMAL_N, 1, ""),
    (HEAVY_N, 1, r"^Wilcoxon \(p = 0\.00\d+\) puts the change above 0, the t interval on both sides of 0$"),
    (-HEAVY_N, 1, r"^Wilcoxon \(p = 0\.00\d+\) puts the change below 0, the t interval on both sides of 0$"),
    (
        [INF, INF, INF, INF, -1, *np.linspace(1, 2, 7), -0.5, -0.7],
        1,
        r"^Wilcoxon \(p = 0\.0\d+\) puts the change above 0, the sign test on both sides of 0$",
    ),
    (
        [-0.8, -0.9, *np.linspace(0.02, 0.03, 10), INF],
        1,
        r"^Wilcoxon \(p = 0\.\d+\) puts the change on both sides of 0, the sign test above 0$",
    ),
    (
        [-1.0] * 9 + [0.01] * 11,
        1,
        r"^Wilcoxon \(p = 0\.\d+\) puts the change on both sides of 0, the t interval below 0; "
        "the loss is lower in 45 % of pairs, the t interval is below 0$",
    ),
    (
        SKEWED_N,
        1,
        r"^BCa puts the change above 0, the t interval on both sides of 0; "
        r"Wilcoxon \(p = \S+\) puts the change above 0, the t interval on both sides of 0$",
    ),
    (
        np.append(np.linspace(-0.001, 0.001, 31), 0.08),
        1,
        "^BCa puts the change not within ±1 %, the t interval within ±1 %$",
    ),
]


@pytest.mark.parametrize(("d_N", "family", "words"), DISAGREEMENTS)
def test_a_check_that_points_elsewhere_says_so(d_N, family, words):
    found = against_zero(d_N, family)
    assert re.search(words, found.disagrees) if words else found.disagrees == "", found


def test_wilcoxon_does_not_disagree_where_it_could_make_no_claim():
    d_N = 1 + 0.01 * NORMAL_N[:8]
    assert compare(d_N, np.zeros(8), 12).verdict == "worse"
    c = against_zero(d_N, 12)
    assert c.wilcoxon == 2 / 2**8 > 0.05 / 12
    assert c.disagrees == ""


def test_no_verdict_of_too_few_seeds_is_disagreed_with():
    for d_N in ([1.0] * 5, [INF] * 5, [-1.0, -2.0], []):
        assert against_zero(d_N).disagrees == ""


@few
@given(some_pairs, st.integers(1, 12), st.sampled_from([1.0, 1e-3]))
def test_no_forbidden_word_is_ever_printed(rows, family, scale):
    words = checks(scale * rows[0], scale * rows[1], family).disagrees
    assert not re.search("no effect|no difference|significant|undecided|nan|inf", words)


@pytest.mark.parametrize(
    ("arm_N", "ref_N", "family", "message"),
    [
        ([0.0] * 8, [0.0] * 7, 1, r"shapes \(8,\) and \(7,\)"),
        ([math.nan], [0.0], 1, "logloss_arm_N is"),
        ([0.0], [0.0], 0, "family is 0"),
    ],
)
def test_what_is_not_a_comparison_is_refused(arm_N, ref_N, family, message):
    with pytest.raises(ValueError, match=message):
        checks(arm_N, ref_N, family)


def test_the_floor_is_a_ratio_of_root_mean_squares():
    assert floor([3.0, -4.0], [1.0, 0.0, -1.0, 0.0]) == pytest.approx(math.sqrt(25 / 2) / math.sqrt(1 / 2))
    assert floor(NORMAL_N, -NORMAL_N) == 1
    assert floor([0.0], [0.1]) == 0


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=9), st.floats(0.01, 100))
def test_the_floor_scales_with_the_arm_and_ignores_signs(d, factor):
    ulp = [1e-3, -2e-3]
    one = floor(d, ulp)
    assert floor(factor * np.abs(d), ulp) == pytest.approx(factor * one)


def test_there_is_no_floor_where_no_ulp_run_moves_or_one_diverged():
    for arm, ulp in (([0.1], [0.0, 0.0]), ([INF], [0.1]), ([0.1], [0.1, -INF]), ([0.0], [0.0])):
        assert math.isnan(floor(arm, ulp))


@pytest.mark.parametrize(("arm", "ulp", "name"), [([], [0.1], "d_arm"), ([0.1], [math.nan], "d_ulp")])
def test_what_has_no_floor_is_refused(arm, ulp, name):
    with pytest.raises(ValueError, match=f"{name} is"):
        floor(arm, ulp)


def test_the_first_divergence_is_the_first_epoch_above_the_threshold():
    ref_NE = np.full((2, 5), 0.3)
    arm_NE = ref_NE * np.exp([[0, 1e-4, 0.0, -2e-3, 0.0], [0, 0.0, 1.4e-3, 1e-4, 1.0]])
    assert first_divergence(arm_NE, ref_NE) == 4  # rms at epoch 3 is 1.4e-3 / sqrt(2), just below 1e-3
    assert first_divergence(arm_NE, ref_NE, 0.98e-3) == 3
    assert first_divergence(arm_NE, ref_NE, 0.0) == 2
    assert first_divergence(arm_NE, ref_NE, 1.0) is None
    assert first_divergence(ref_NE, ref_NE, 0.0) is None
    assert first_divergence(np.ones((2, 0)), np.ones((2, 0))) is None


@given(st.lists(st.tuples(*[st.floats(0.1, 10)] * 6), min_size=1, max_size=12), st.floats(0, 1))
def test_the_first_divergence_is_that_of_a_loop_and_symmetric(rows, threshold):
    arm_NE, ref_NE = np.array(rows)[:, :3], np.array(rows)[:, 3:]
    expected = None
    for epoch in (3, 2, 1):
        column = zip(arm_NE[:, epoch - 1], ref_NE[:, epoch - 1], strict=True)
        squares = [(math.log(a) - math.log(b)) ** 2 for a, b in column]
        rms = math.sqrt(sum(squares) / len(squares))
        assume(abs(rms - threshold) > 1e-9)
        expected = epoch if rms > threshold else expected
    assert first_divergence(arm_NE, ref_NE, threshold) == expected
    assert first_divergence(ref_NE, arm_NE, threshold) == expected


def test_a_diverged_curve_parts_where_it_alone_is_not_finite():
    fine_NE = np.ones((2, 4))
    for lost in (math.nan, INF):
        arm_NE = fine_NE.copy()
        arm_NE[1, 2:] = lost
        assert first_divergence(arm_NE, fine_NE) == first_divergence(fine_NE, arm_NE) == 3
        assert first_divergence(arm_NE, arm_NE) is None
    nan_NE = np.where(np.isinf(arm_NE), np.nan, arm_NE)
    assert first_divergence(arm_NE, nan_NE) is None


@pytest.mark.parametrize(
    ("arm_NE", "ref_NE", "message"),
    [
        ([[1.0]], [[1.0, 2.0]], r"shapes \(1, 1\) and \(1, 2\)"),
        ([1.0], [1.0], r"\(seeds, epochs\)"),
        (np.ones((0, 3)), np.ones((0, 3)), r"\(seeds, epochs\)"),
        ([[0.0]], [[1.0]], "curve_arm_NE holds 0.0"),
        ([[1.0, 1.0]], [[math.nan, -1.0]], "curve_ref_NE holds -1.0"),
    ],
)
def test_what_are_not_curves_is_refused(arm_NE, ref_NE, message):
    with pytest.raises(ValueError, match=message):
        first_divergence(arm_NE, ref_NE)


FACTORS_K = np.log([0.5, 0.9, 1.0, 1.1, 2.0])
RULER_K = np.array([-0.06, -0.01, 0.0, 0.02, 0.12])


@given(st.floats(math.log(0.5), math.log(2)), st.permutations(range(5)))
def test_the_equal_rate_inverts_the_ruler_in_any_order(log_factor, order):
    effect = float(np.interp(log_factor, FACTORS_K, RULER_K))
    factor, reason = equal_rate(FACTORS_K[order], RULER_K[order], effect)
    assert factor == pytest.approx(math.exp(log_factor), rel=1e-9)
    assert reason == ""
    falling, _ = equal_rate(FACTORS_K, -RULER_K, -effect)
    assert falling == pytest.approx(math.exp(log_factor), rel=1e-9)


def test_the_ruler_gives_its_own_rates_back():
    for factor, effect in zip([0.5, 0.9, 1.0, 1.1, 2.0], RULER_K, strict=True):
        assert equal_rate(FACTORS_K, RULER_K, effect) == (pytest.approx(factor), "")
    factor, _ = equal_rate(FACTORS_K, RULER_K, 0.07)  # half way between x1.1 and x2 in log factor
    assert factor == pytest.approx(math.sqrt(1.1 * 2))


@pytest.mark.parametrize(
    ("effects", "effect", "reason"),
    [
        (RULER_K, 0.13, "no rate of the ruler has so high an effect"),
        (RULER_K, -0.07, "no rate of the ruler has so low an effect"),
        ([0.03, 0.01, 0, 0.02, 0.12], 0.02, "several rates have this effect"),
        ([-0.06, 0, 0, 0.02, 0.12], 0, "several rates have this effect"),
        ([-0.06, 0, 0, 0, 0.12], 0, "several rates have this effect"),
        ([0, 0, 0, 0, 0], 0, "several rates have this effect"),
        (RULER_K, math.nan, "a run of the arm or of the ruler diverged"),
        ([-0.06, -0.01, 0, 0.02, math.nan], 0, "a run of the arm or of the ruler diverged"),
        ([-0.06, -0.01, 0, 0.02, INF], 0, "a run of the arm or of the ruler diverged"),
    ],
)
def test_an_effect_of_no_rate_or_of_several_has_no_equal_rate_and_a_reason(effects, effect, reason):
    assert equal_rate(FACTORS_K, effects, effect) == (None, reason)


def test_a_ruler_that_turns_back_is_still_read_where_one_rate_has_the_effect():
    turning = [0.03, 0.01, 0.0, 0.02, 0.12]
    factor, reason = equal_rate(FACTORS_K, turning, 0.07)
    assert (factor, reason) == (pytest.approx(math.sqrt(1.1 * 2)), "")
    assert equal_rate(FACTORS_K, turning, 0.0) == (1.0, "")


@pytest.mark.parametrize(
    ("factors", "effects", "message"),
    [
        ([0.0, 1.0], [0.0], r"shapes \(2,\) and \(1,\)"),
        ([0.0], [0.0], "two or more"),
        ([0.0, 0.0], [0.0, 1.0], "given once"),
        ([0.0, math.nan], [0.0, 1.0], "finite"),
    ],
)
def test_what_is_not_a_ruler_is_refused(factors, effects, message):
    with pytest.raises(ValueError, match=message):
        equal_rate(factors, effects, 0.5)
