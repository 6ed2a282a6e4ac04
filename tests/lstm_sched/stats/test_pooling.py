"""One statement on several series. Shapes: D series, N seeds, R replications."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lstm_sched.stats.pooling import pooled, stratified_mean

INF = math.inf


def test_the_stratified_mean_draws_within_each_series():
    rng = np.random.default_rng(0)
    d_DN = [rng.standard_normal(n) + shift for n, shift in ((8, 0.0), (20, 50.0), (13, -20.0))]
    drawn_R = np.zeros(20_000)
    for d_N in d_DN:
        drawn_R += rng.choice(d_N, (20_000, len(d_N))).mean(1) / 3
    expected = tuple(np.quantile(drawn_R, [0.025, 0.975]))
    mean, *interval = stratified_mean(d_DN, 0.95)
    assert mean == pytest.approx((d_DN[0].mean() + d_DN[1].mean() + d_DN[2].mean()) / 3)
    assert tuple(interval) == pytest.approx(expected, abs=0.03 * (expected[1] - expected[0]))


def test_the_stratified_mean_covers_as_often_as_stated():
    hits = 0
    for seed, d_DN in enumerate(np.random.default_rng(1).standard_normal((1000, 5, 8))):
        _, lo, hi = stratified_mean(list(d_DN), 0.95, seed, replications=500)
        hits += lo <= 0 <= hi
    assert hits / 1000 == pytest.approx(0.92, abs=0.03)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.lists(st.floats(-1, 1), min_size=2, max_size=9), min_size=1, max_size=4), st.floats(-1, 1))
def test_the_stratified_mean_moves_with_its_series(d_DN, shift):
    mean, lo, hi = stratified_mean(d_DN, 0.9, replications=200)
    assert mean == pytest.approx(sum(sum(d_N) / len(d_N) for d_N in d_DN) / len(d_DN), abs=1e-12)
    assert min(map(min, d_DN)) - 1e-12 <= lo <= hi <= max(map(max, d_DN)) + 1e-12
    moved = stratified_mean([np.array(d_N) + shift for d_N in d_DN], 0.9, replications=200)
    assert moved == pytest.approx((mean + shift, lo + shift, hi + shift), abs=1e-12)


def test_a_diverged_run_leaves_no_stratified_mean():
    for lost in (INF, -INF):
        assert np.isnan(stratified_mean([[0.0, 1.0], [lost, 0.0]], 0.95)).all()


@pytest.mark.parametrize(
    ("d_DN", "level", "message"),
    [
        ([], 0.95, "d_DN is empty"),
        ([[0.0, 1.0], [0.0]], 0.95, r"d_DN\[1\] is \[0.\]"),
        ([[[0.0, 1.0]]], 0.95, r"d_DN\[0\] is"),
        ([[0.0, math.nan]], 0.95, "without nan"),
        ([[0.0, 1.0]], 1.5, "level is 1.5"),
    ],
)
def test_what_gives_no_stratified_mean_is_refused(d_DN, level, message):
    with pytest.raises(ValueError, match=message):
        stratified_mean(d_DN, level)


# Trials of BCG vaccine (Colditz et al. 1994): cases and others, vaccinated and not.
BCG = np.array(
    [
        (4, 119, 11, 128),
        (6, 300, 29, 274),
        (3, 228, 11, 209),
        (62, 13536, 248, 12619),
        (33, 5036, 47, 5761),
        (180, 1361, 372, 1079),
        (8, 2537, 10, 619),
        (505, 87886, 499, 87892),
        (29, 7470, 45, 7232),
        (17, 1699, 65, 1600),
        (186, 50448, 141, 27197),
        (5, 2493, 3, 2338),
        (27, 16886, 29, 17825),
    ],
    float,
)


def hartung_knapp_by_hand(means, ses, level):
    """Also the variance between series and the interval that takes it for known."""

    def total(w, values):
        return math.fsum(a * y for a, y in zip(w, values, strict=True))

    w = [1 / s**2 for s in ses]
    fixed = total(w, means) / sum(w)
    q = total(w, [(y - fixed) ** 2 for y in means])
    tau2 = max(0.0, (q - (len(w) - 1)) / (sum(w) - total(w, w) / sum(w)))
    w = [1 / (s**2 + tau2) for s in ses]
    mean = total(w, means) / sum(w)
    scatter = total(w, [(y - mean) ** 2 for y in means]) / (len(w) - 1)
    half = stats.t.ppf((1 + level) / 2, len(w) - 1) * math.sqrt(scatter / sum(w))
    known = stats.norm.ppf((1 + level) / 2) / math.sqrt(sum(w))
    return (mean, mean - half, mean + half), tau2, (mean - known, mean + known)


def test_pooled_trials_give_the_published_mean_and_variance():
    a, b, c, d = BCG.T
    log_ratio_D = np.log(a / (a + b)) - np.log(c / (c + d))
    se_D = np.sqrt(1 / a - 1 / (a + b) + 1 / c - 1 / (c + d))
    expected, tau2, known = hartung_knapp_by_hand(log_ratio_D, se_D, 0.95)
    assert tau2 == pytest.approx(0.3088, abs=5e-5)
    assert (expected[0], *known) == pytest.approx((-0.7141, -1.0644, -0.3638), abs=5e-5)
    assert pooled(log_ratio_D, se_D) == pytest.approx(expected)


def test_equal_errors_pool_to_the_t_interval_of_the_means():
    means = np.array([-0.04, -0.01, 0.03, 0.05, 0.02])
    expected = stats.ttest_1samp(means, 0).confidence_interval(0.99)
    for se in (1e-4, 0.01, 10.0):
        mean, *interval = pooled(means, np.full(5, se), 0.99)
        assert mean == pytest.approx(means.mean())
        assert tuple(interval) == pytest.approx(tuple(expected))


effects = st.lists(st.tuples(st.floats(-1, 1), st.floats(0.01, 1)), min_size=2, max_size=8)


@given(effects, st.floats(-1, 1), st.randoms(use_true_random=False))
def test_pooled_effects_are_those_by_hand_in_any_order(rows, shift, random):
    means_D, ses_D = np.array(rows).T
    found = pooled(means_D, ses_D, 0.9)
    assert found == pytest.approx(hartung_knapp_by_hand(means_D, ses_D, 0.9)[0], abs=1e-6)
    order = random.sample(range(len(rows)), len(rows))
    assert pooled(means_D[order], ses_D[order], 0.9) == pytest.approx(found, abs=1e-6)
    assert pooled(means_D + shift, ses_D, 0.9) == pytest.approx(np.add(found, shift), abs=1e-6)
    assert pooled(3 * means_D, 3 * ses_D, 0.9) == pytest.approx(np.multiply(found, 3), abs=1e-6)


def test_the_interval_over_series_covers_the_mean_of_series_not_seen():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        se_D = rng.uniform(0.5, 1.5, 5)
        means_D = rng.standard_normal(5) + se_D * rng.standard_normal(5)
        _, lo, hi = pooled(means_D, se_D)
        hits += lo <= 0 <= hi
    assert 0.93 <= hits / 2000 <= 0.97


@pytest.mark.parametrize(
    ("means", "ses", "level", "message"),
    [
        ([0.0, 1.0], [1.0], 0.95, r"shapes \(2,\) and \(1,\)"),
        ([0.0], [1.0], 0.95, "two or more"),
        ([0.0, INF], [1.0, 1.0], 0.95, "effects_mean_D is"),
        ([0.0, 1.0], [1.0, 0.0], 0.95, "effects_se_D is"),
        ([0.0, 1.0], [1.0, math.nan], 0.95, "effects_se_D is"),
        ([0.0, 1.0], [1.0, 1.0], 1.0, "level is 1.0"),
    ],
)
def test_what_cannot_be_pooled_is_refused(means, ses, level, message):
    with pytest.raises(ValueError, match=message):
        pooled(means, ses, level)
