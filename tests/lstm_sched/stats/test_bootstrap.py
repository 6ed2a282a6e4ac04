"""Bootstrap intervals over test windows. Shapes: W windows, R replications."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lstm_sched.stats import sensitivity
from lstm_sched.stats.sensitivity import block_interval

INF = math.inf


def series(seed, windows, phi, replications=()):
    """Two independent AR(1) processes of variance 1, [..., 2, W]."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((windows, *replications, 2))
    for w in range(1, windows):
        z[w] = phi * z[w - 1] + math.sqrt(1 - phi**2) * z[w]
    return np.moveaxis(z, 0, -1)


def losses(seed, windows, phi=0.0):
    return tuple(np.exp(0.5 * series(seed, windows, phi)))


def width(interval):
    return interval[1] - interval[0]


def by_hand(arm_W, ref_W, block, level, starts_RK):
    """The same bootstrap by loops, from its block starts; the first block is the one that is cut."""

    def log_ratio(where):
        return math.log(np.mean(arm_W[where]) / np.mean(ref_W[where]))

    windows, count = len(arm_W), starts_RK.shape[1]
    cut = windows - (count - 1) * block
    drawn = []
    for starts in starts_RK:
        where = [starts[0] + i for i in range(cut)]
        for start in starts[1:]:
            where += [start + i for i in range(block)]
        assert len(where) == windows
        drawn.append(log_ratio(where))
    weight_W = np.zeros(windows)  # how often a window is drawn, on average
    for start in range(windows - block + 1):
        weight_W[start : start + cut] += 1
        weight_W[start : start + block] += count - 1
    bias = math.log(sum(arm_W * weight_W) / sum(ref_W * weight_W)) - log_ratio(np.arange(windows))
    tails = (1 - level) / 2, (1 + level) / 2
    return tuple(float(np.quantile(drawn, tail)) - bias for tail in tails)


@pytest.mark.parametrize(("windows", "block"), [(40, 7), (40, 8), (12, 6), (25, 1), (41, 20)])
def test_blocks_are_drawn_as_by_hand(windows, block):
    arm_W, ref_W = losses(windows, windows)
    count = math.ceil(windows / block)
    starts_RK = np.random.default_rng(5).integers(windows - block + 1, size=(300, count))
    expected = by_hand(arm_W, ref_W, block, 0.9, starts_RK)
    assert block_interval(arm_W, ref_W, block, 0.9, 300, seed=5) == pytest.approx(expected, rel=1e-9)


def test_block_length_one_is_the_ordinary_percentile_bootstrap():
    arm_W, ref_W = losses(0, 200)
    expected = stats.bootstrap(
        (arm_W, ref_W),
        lambda a, b, axis=-1: np.log(a.mean(axis) / b.mean(axis)),
        paired=True,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    found = block_interval(arm_W, ref_W, 1, 0.95, replications=20_000)
    assert found == pytest.approx(expected, abs=0.03 * width(expected))


@pytest.mark.parametrize("block", [1, 10])
def test_independent_windows_give_the_interval_of_the_delta_method(block):
    arm_W, ref_W = losses(1, 4000)
    influence_W = arm_W / arm_W.mean() - ref_W / ref_W.mean()
    half = stats.norm.ppf(0.975) * influence_W.std() / math.sqrt(4000)
    middle = math.log(arm_W.mean() / ref_W.mean())
    found = block_interval(arm_W, ref_W, block, 0.95, replications=4000)
    assert found == pytest.approx((middle - half, middle + half), abs=0.1 * half)


def test_dependent_windows_widen_the_interval_to_the_long_run_variance():
    phi, windows = 0.8, 4000
    true_R = np.exp(0.5 * series(2, windows, phi, (300,))).mean(-1)
    expected = 2 * stats.norm.ppf(0.975) * np.log(true_R[:, 0] / true_R[:, 1]).std()
    widths_B = {1: [], 60: []}
    for seed in range(10):
        arm_W, ref_W = losses(100 + seed, windows, phi)
        for block, found in widths_B.items():
            found.append(width(block_interval(arm_W, ref_W, block, 0.95, replications=1000)))
    assert np.mean(widths_B[60]) == pytest.approx(expected, rel=0.12)
    assert np.mean(widths_B[1]) < 0.5 * expected


def test_blocks_are_paired():
    arm_W, _ = losses(3, 300, phi=0.9)
    lo, hi = block_interval(1.5 * arm_W, arm_W, 20, 0.95)
    assert (lo, hi) == pytest.approx((math.log(1.5), math.log(1.5)), abs=1e-12)
    assert width(block_interval(losses(4, 300, phi=0.9)[0], arm_W, 20, 0.95)) > 0.1


def test_windows_near_the_ends_do_not_bias_the_interval():
    ref_W = np.ones(100)
    arm_W = 1 + 0.01 * np.random.default_rng(0).standard_normal(100)
    arm_W[:10] = 3  # the moving blocks reach these less often than the others
    lo, hi = block_interval(arm_W, ref_W, 40, 0.5, replications=4000)
    assert lo < math.log(arm_W.mean()) < hi


@pytest.mark.parametrize(("blocks", "stated"), [(40, 0.94), (10, 0.91), (4, 0.84)])
def test_few_blocks_cover_as_seldom_as_stated(blocks, stated):
    hits = 0
    for seed, (arm_W, ref_W) in enumerate(np.exp(0.1 * series(7, 10 * blocks, 0.0, (1000,)))):
        lo, hi = block_interval(arm_W, ref_W, 10, 0.95, replications=300, seed=seed)
        hits += lo <= 0 <= hi
    assert hits / 1000 == pytest.approx(stated, abs=0.035)


def test_the_draws_are_those_of_the_seed_however_they_are_held(monkeypatch):
    arm_W, ref_W = losses(5, 60)
    whole = block_interval(arm_W, ref_W, 5, 0.95)
    assert block_interval(arm_W, ref_W, 5, 0.95, seed=1) != whole
    for draws in (1, 100, 12 * 700):
        monkeypatch.setattr(sensitivity, "DRAWS", draws)
        assert block_interval(arm_W, ref_W, 5, 0.95) == whole


positive = st.integers(1, 4096).map(lambda i: i / 1024)
pairs = st.lists(st.tuples(positive, positive), min_size=4, max_size=40).map(
    lambda rows: tuple(np.array(column) for column in zip(*rows, strict=True))
)


@settings(deadline=None)
@given(pairs, st.integers(1, 4), st.sampled_from([0.5, 2.0, 1024.0]))
def test_swapping_the_arms_mirrors_the_interval_and_a_common_factor_changes_nothing(rows, block, factor):
    arm_W, ref_W = rows
    found = block_interval(arm_W, ref_W, block, 0.9, 200)
    lo, hi = block_interval(ref_W, arm_W, block, 0.9, 200)
    np.testing.assert_allclose(found, (-hi, -lo), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(block_interval(factor * arm_W, factor * ref_W, block, 0.9, 200), found)
    shifted = block_interval(factor * arm_W, ref_W, block, 0.9, 200)
    np.testing.assert_allclose(shifted, np.add(found, math.log(factor)), rtol=0, atol=1e-12)


def test_a_wider_level_contains_a_narrower_one():
    arm_W, ref_W = losses(6, 200, phi=0.5)
    inner, outer = (block_interval(arm_W, ref_W, 12, level) for level in (0.8, 0.99))
    assert outer[0] < inner[0] < inner[1] < outer[1]


def test_fewer_than_two_blocks_or_a_diverged_run_have_no_interval():
    arm_W, ref_W = losses(7, 21)
    assert not np.isnan(block_interval(arm_W, ref_W, 10, 0.95)).any()
    for block in (11, 21):
        assert np.isnan(block_interval(arm_W, ref_W, block, 0.95)).all()
    arm_W[3] = INF
    assert np.isnan(block_interval(arm_W, ref_W, 5, 0.95)).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"loss_arm_W": [1.0] * 7}, r"shapes \(7,\) and \(8,\)"),
        ({"loss_arm_W": [[1.0]], "loss_ref_W": [[1.0]]}, r"\(windows,\)"),
        ({"loss_arm_W": [], "loss_ref_W": []}, "block is 2; allowed: 1 to 0"),
        ({"loss_arm_W": [0.0] * 8}, "loss_arm_W is"),
        ({"loss_ref_W": [math.nan] * 8}, "loss_ref_W is"),
        ({"block": 0}, "block is 0; allowed: 1 to 8"),
        ({"block": 9}, "block is 9; allowed: 1 to 8"),
        ({"level": 1.0}, "level is 1.0"),
        ({"level": 0.0}, "level is 0.0"),
        ({"replications": 0}, "replications is 0"),
    ],
)
def test_what_gives_no_block_interval_is_refused(changed, message):
    given = {"loss_arm_W": [1.0] * 8, "loss_ref_W": [2.0] * 8, "block": 2, "level": 0.95}
    with pytest.raises(ValueError, match=message):
        block_interval(**{**given, **changed})
