"""Effects, intervals, verdicts and their words. Shapes: N seeds, R replications, C comparisons."""

import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lstm_sched.stats.paired import (
    DELTA,
    Effect,
    Metric,
    combine,
    compare,
    diverged,
    percent,
    sentence,
)

INF = math.inf
SPREAD_N = np.linspace(-1, 1, 8)  # mean 0; its 95 % interval is 0 ± 0.585

finite = st.integers(-5000, 5000).map(lambda i: i / 1024)
logloss = finite | st.just(INF)


def pairs(losses, min_size=0):
    """Log losses of an arm and its reference, one pair a seed."""
    return st.lists(st.tuples(losses, losses), min_size=min_size, max_size=20).map(
        lambda rows: (np.array([arm for arm, _ in rows]), np.array([ref for _, ref in rows]))
    )


def effect(d_N, family=1) -> Effect:
    """Of an arm that differs from the reference by d_N."""
    return compare(d_N, np.zeros(len(d_N)), family)


def signs(worse: int, better: int, tied: int, family: int = 1) -> Effect:
    """Of seeds in which one run alone diverged, or both."""
    arm_N = [INF] * worse + [0.0] * better + [INF] * tied
    ref_N = [0.0] * worse + [INF] * better + [INF] * tied
    return compare(arm_N, ref_N, family)


IDENTICAL = compare(SPREAD_N, SPREAD_N, 1, identical=True)
EQUIVALENT = effect(0.005 * SPREAD_N)
DETECTABLE = effect(0.004 + 0.001 * SPREAD_N)
BETTER = effect(-0.04 + 0.02 * SPREAD_N)
WORSE = effect(0.04 + 0.02 * SPREAD_N)
UNDECIDED = effect(-0.004 + 0.0137 * SPREAD_N)
TOO_FEW = effect(0.04 + 0.02 * SPREAD_N[:5])
LOST = signs(worse=8, better=0, tied=0)
WON = signs(worse=0, better=8, tied=1)
EVEN = signs(worse=3, better=4, tied=1)

WORDS = [
    (IDENTICAL, "identical", "", "the same bits"),
    (EQUIVALENT, "equivalent", "", "within ±1 %: from −0.3 % to +0.3 %"),
    (
        DETECTABLE,
        "equivalent",
        "small but detectable",
        "within ±1 %: from +0.3 % to +0.5 %, small but detectable",
    ),
    (BETTER, "better", "", "better: from −5.0 % to −2.8 %"),
    (WORSE, "worse", "", "worse: from +2.9 % to +5.3 %"),
    (UNDECIDED, "undecided", "", "between −1.2 % and +0.4 %: too wide to call"),
    (TOO_FEW, "undecided", "too few seeds", "n = 5: too few seeds to call"),
    (LOST, "worse", "", "worse in 8 of 8 seeds (diverged: 8 of 8 runs, and 0 of the reference)"),
    (WON, "better", "", "better in 8 of 9 seeds (diverged: 1 of 9 runs, and 9 of the reference)"),
    (
        EVEN,
        "undecided",
        "",
        "worse in 3 and better in 4 of 8 seeds: too few to call"
        " (diverged: 4 of 8 runs, and 5 of the reference)",
    ),
]


@pytest.mark.parametrize(("e", "verdict", "qualifier", "words"), WORDS)
def test_every_verdict_is_reached_and_worded(e, verdict, qualifier, words):
    assert (e.verdict, e.qualifier) == (verdict, qualifier)
    assert sentence(e) == words


@given(pairs(finite, min_size=6), st.integers(1, 40))
def test_the_interval_is_scipys_paired_t_interval(losses, family):
    arm_N, ref_N = losses
    e = compare(arm_N, ref_N, family)
    d_N = arm_N - ref_N
    assert e.n == len(d_N)
    assert e.level == pytest.approx(1 - 0.05 / family)
    assert e.mean == pytest.approx(sum(d_N) / len(d_N), abs=1e-12)
    assert e.sd == pytest.approx(math.sqrt(sum((d_N - e.mean) ** 2) / (len(d_N) - 1)), abs=1e-12)
    if np.ptp(d_N) > 0:
        expected = stats.ttest_rel(arm_N, ref_N).confidence_interval(e.level)
        assert (e.lo, e.hi) == pytest.approx(tuple(expected), rel=1e-9, abs=1e-9)
    else:
        assert (e.lo, e.hi) == (e.mean, e.mean)


@pytest.mark.parametrize(
    ("shift", "verdict", "qualifier"),
    [
        (0.0, "equivalent", ""),
        (0.005, "equivalent", "small but detectable"),
        (-0.005, "equivalent", "small but detectable"),
        (0.25, "worse", ""),
        (-0.25, "better", ""),
    ],
)
def test_differences_that_are_all_equal_give_a_point_and_a_verdict(shift, verdict, qualifier):
    e = effect(np.full(8, shift))
    assert (e.mean, e.lo, e.hi, e.sd) == pytest.approx((shift, shift, shift, 0), abs=1e-15)
    assert (e.verdict, e.qualifier) == (verdict, qualifier)


def test_what_is_excluded_is_the_far_end_of_the_interval():
    assert UNDECIDED.excluded == -UNDECIDED.lo == pytest.approx(0.004 + 0.0137 * 0.585, abs=1e-5)
    assert BETTER.excluded == -BETTER.lo == pytest.approx(0.04 + 0.02 * 0.585, abs=1e-5)
    assert WORSE.excluded == WORSE.hi


def test_the_margin_is_one_percent_and_open():
    assert percent(DELTA) == pytest.approx(1)
    edge, inside = np.full(8, DELTA), np.full(8, DELTA * (1 - 1e-9))
    assert effect(edge).verdict == "worse"
    assert effect(-edge).verdict == "better"
    assert effect(inside).verdict == effect(-inside).verdict == "equivalent"


def test_the_family_widens_the_interval_and_may_withdraw_a_claim():
    d_N = 0.03 + 0.05 * SPREAD_N
    assert effect(d_N, family=1).verdict == "worse"
    assert effect(d_N, family=4).verdict == "undecided"


@pytest.mark.parametrize("family", [1, 4, 12])
def test_the_sign_test_is_a_binomial_sum_over_all_seeds(family):
    claims = set()
    for n in (6, 8, 16):
        for worse, better in itertools.product(range(n + 1), repeat=2):
            if not 0 < worse + better <= n:
                continue
            most = max(worse, better)
            tail = sum(math.comb(n, k) for k in range(most, n + 1)) / 2**n
            claim = 2 * tail <= 0.05 / family
            e = signs(worse, better, n - worse - better, family)
            assert e.verdict == (("worse" if worse > better else "better") if claim else "undecided")
            assert (e.worse, e.better, e.tied) == (worse, better, n - worse - better)
            assert np.isnan([e.mean, e.lo, e.hi, e.sd, e.excluded]).all()
            claims.add(e.verdict)
    assert claims == {"better", "worse", "undecided"}


def test_one_diverged_run_replaces_the_interval_by_counts():
    arm_N, ref_N = SPREAD_N - 5, np.zeros(8)
    assert compare(arm_N, ref_N, 1).verdict == "better"
    arm_N[3] = INF
    e = compare(arm_N, ref_N, 1)
    assert (e.verdict, e.worse, e.better, e.tied, e.diverged, e.diverged_ref) == ("undecided", 1, 7, 0, 1, 0)
    assert math.isnan(e.mean)


def test_two_diverged_runs_of_a_seed_are_a_tie_and_no_interval():
    arm_N, ref_N = SPREAD_N - 5, np.zeros(8)
    arm_N[0] = ref_N[0] = INF
    e = compare(arm_N, ref_N, 1)
    assert (e.n, e.better, e.tied, e.diverged, e.diverged_ref) == (8, 7, 1, 1, 1)
    assert math.isnan(e.mean)
    everything = compare(np.full(16, INF), np.full(16, INF), 1)
    assert (everything.verdict, everything.tied) == ("undecided", 16)


def test_identical_precedes_all_statistics():
    for losses_N in ([], [1.0, 2.0], [INF, 0.0], SPREAD_N):
        e = compare(losses_N, losses_N, 1, identical=True)
        assert (e.verdict, e.n, e.worse, e.better) == ("identical", len(losses_N), 0, 0)
        assert np.isnan([e.mean, e.lo, e.hi, e.sd]).all()


@given(pairs(logloss), st.integers(1, 12))
def test_swapping_the_arms_mirrors_the_effect(losses, family):
    arm_N, ref_N = losses
    e, mirrored = compare(arm_N, ref_N, family), compare(ref_N, arm_N, family)
    swap = {"better": "worse", "worse": "better"}
    assert mirrored.verdict == swap.get(e.verdict, e.verdict)
    assert mirrored.qualifier == e.qualifier
    np.testing.assert_array_equal(
        (mirrored.mean, mirrored.lo, mirrored.hi, mirrored.sd), (-e.mean, -e.hi, -e.lo, e.sd)
    )
    assert (mirrored.worse, mirrored.better, mirrored.tied) == (e.better, e.worse, e.tied)
    assert (mirrored.diverged, mirrored.diverged_ref) == (e.diverged_ref, e.diverged)


@given(pairs(logloss), st.integers(1, 12), st.randoms(use_true_random=False))
def test_the_order_of_seeds_changes_nothing(losses, family, random):
    arm_N, ref_N = losses
    order = random.sample(range(len(arm_N)), len(arm_N))
    e, permuted = compare(arm_N, ref_N, family), compare(arm_N[order], ref_N[order], family)
    floats = slice(1, 6)
    assert permuted[floats] == pytest.approx(e[floats], abs=1e-12, nan_ok=True)
    assert permuted[6:] == e[6:]
    assert permuted.n == e.n


@given(pairs(finite, min_size=6), finite)
def test_a_factor_common_to_both_losses_changes_nothing(losses, shift):
    arm_N, ref_N = losses
    e, shifted = compare(arm_N, ref_N, 1), compare(arm_N + shift, ref_N + shift, 1)
    assert shifted == e  # exact, as all losses here are multiples of 1/1024


@given(st.floats(-5, 5))
def test_percent_is_the_change_of_a_ratio(x):
    assert percent(x) == pytest.approx(100 * (math.exp(x) - 1), rel=1e-9, abs=1e-9)


def verdict_as_printed(words: str) -> str:
    """The verdict of the interval that a reader sees."""
    lo, hi = (float(x.replace("−", "-")) for x in re.findall(r"([+−]?\d+\.\d+) %", words))
    if lo > percent(-DELTA) and hi < 1:
        return "equivalent, small but detectable" if lo > 0 or hi < 0 else "equivalent"
    return "better" if hi < 0 else "worse" if lo > 0 else "undecided"


@given(
    st.lists(st.integers(-50, 50), min_size=6, max_size=20),
    st.sampled_from([1e-9, 1e-6, 1e-4, 1e-3, 1e-2, 1.0]),
    st.floats(-0.011, 0.011),
)
def test_the_printed_interval_never_contradicts_its_verdict(steps, scale, shift):
    d_N = scale * np.array(steps) / 50 + round(shift, 6)
    e = effect(d_N)
    words = sentence(e)
    assert verdict_as_printed(words) == e.verdict + (f", {e.qualifier}" if e.qualifier else "")
    assert "-" not in words


def test_bounds_print_to_one_decimal_unless_that_would_mislead():
    def printed(change):
        return sentence(effect(np.full(8, math.log1p(change / 100)))).split(" to ")[1].split(" %")[0]

    changes = (12.34, -1.234, 0.44, 0.04, -0.0004, 0.99, -0.98, 1.04, 0)
    expected = ["+12.3", "−1.2", "+0.4", "+0.04", "−0.0004", "+0.99", "−0.98", "+1.0", "0.0"]
    assert [printed(x) for x in changes] == expected


@given(pairs(logloss), pairs(logloss), st.integers(1, 12), st.sampled_from([1.0, 1e-3]))
def test_no_forbidden_or_bare_word_is_ever_printed(end, selected, family, scale):
    effects = [compare(scale * arm_N, scale * ref_N, family) for arm_N, ref_N in (end, selected)]
    for words in (*map(sentence, effects), combine(*effects)[1]):
        assert not re.search("no effect|no difference|significant|undecided|nan|inf", words)


def test_metrics_together_claim_only_what_both_say():
    effects = [EQUIVALENT, DETECTABLE, BETTER, WORSE, UNDECIDED, TOO_FEW, LOST, WON, EVEN]
    for end, selected in itertools.product(effects, repeat=2):
        word, words = combine(end, selected)
        assert word == (end.verdict if end.verdict == selected.verdict else "mixed")
        assert 0 <= words.find(Metric.END) < words.find(Metric.SELECTED)
        for e in (end, selected):
            if e.verdict in ("equivalent", "undecided") or e.diverged or e.diverged_ref:
                assert sentence(e) in words
            else:
                assert e.verdict in words


def test_metrics_together_in_words():
    assert combine(IDENTICAL, IDENTICAL) == ("identical", "the same bits")
    assert combine(BETTER, BETTER) == ("better", "better both after the last epoch and at its best epoch")
    assert combine(WORSE, WORSE) == ("worse", "worse both after the last epoch and at its best epoch")
    assert combine(BETTER, WORSE) == (
        "mixed",
        "better after the last epoch, worse at its best epoch: it overfits later, not less",
    )
    assert combine(WORSE, BETTER) == (
        "mixed",
        "worse after the last epoch, better at its best epoch: it overfits more",
    )
    assert combine(BETTER, UNDECIDED) == (
        "mixed",
        "after the last epoch better: from −5.0 % to −2.8 %; "
        "at its best epoch between −1.2 % and +0.4 %: too wide to call",
    )


def test_identity_is_of_runs_so_of_both_metrics():
    for end, selected in ((IDENTICAL, EQUIVALENT), (WORSE, IDENTICAL)):
        with pytest.raises(ValueError, match="identical on both metrics"):
            combine(end, selected)
    lost = compare([INF] * 8, [INF] * 8, 1, identical=True)
    assert combine(lost, lost) == ("identical", "the same bits")


@pytest.mark.parametrize(
    ("arm_N", "ref_N", "options", "message"),
    [
        ([0.0] * 8, [0.0] * 7, {}, r"shapes \(8,\) and \(7,\)"),
        ([[0.0]], [[0.0]], {}, r"\(seeds,\)"),
        ([math.nan], [0.0], {}, "logloss_arm_N is"),
        ([0.0], [math.nan], {}, "logloss_ref_N is"),
        ([-INF], [0.0], {}, "finite, or"),
        ([0.0], [0.0], {"family": 0}, "family is 0"),
        ([0.0], [1.0], {"identical": True}, "log losses differ"),
    ],
)
def test_what_is_not_a_comparison_is_refused(arm_N, ref_N, options, message):
    with pytest.raises(ValueError, match=message):
        compare(arm_N, ref_N, **{"family": 1, **options})


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ((10.0, 1.0), False),
        ((np.nextafter(10.0, 11.0), 1.0), True),
        ((0.5, 0.04), True),
        ((math.nan, 1.0), True),
        ((INF, 1.0), True),
        ((0.5, 1.0, [0.3, 0.2], np.zeros((2, 3), np.float32)), False),
        ((0.5, 1.0, [0.3, 0.2], [0.1, math.nan]), True),
        ((0.5, 1.0, [[0.3], [INF]]), True),
    ],
)
def test_a_run_diverged_if_not_finite_or_ten_times_worse_than_the_mean(losses, expected):
    assert diverged(*losses) is expected


@pytest.mark.parametrize("mean_loss", [0.0, -1.0, math.nan, INF])
def test_the_loss_of_predicting_the_mean_must_be_a_scale(mean_loss):
    with pytest.raises(ValueError, match="mean_prediction_loss is"):
        diverged(0.5, mean_loss)
