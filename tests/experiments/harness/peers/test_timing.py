"""Medians, quartiles, ratios and the order in which jobs are timed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.harness.peers import timing
from experiments.harness.peers.timing import Spread

times = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=20)


@given(times)
def test_half_of_the_values_lie_between_the_quartiles(values):
    s = timing.spread(values)
    assert s.low <= s.median <= s.high
    between = [v for v in values if s.low * (1 - 1e-12) <= v <= s.high * (1 + 1e-12)]
    assert 2 * len(between) >= len(values) - 2
    assert s.median == pytest.approx(sorted(values)[len(values) // 2], rel=1e-9) or len(values) % 2 == 0


def test_of_four_values_the_quartiles_are_interpolated():
    assert timing.spread([4, 1, 2, 3]) == Spread(median=2.5, low=1.75, high=3.25)
    with pytest.raises(ValueError, match="values_R: none"):
        timing.spread([])


def test_a_ratio_is_taken_within_repetitions():
    """The machine was ten times slower in the second: the ratio of the medians would not be 2."""
    assert timing.ratio([2, 20, 2], [1, 10, 1]) == Spread(median=2, low=2, high=2)
    assert timing.ratio([2, 30, 2], [1, 10, 1]) == Spread(median=2, low=2, high=2.5)


def test_every_repetition_has_every_job_in_an_order_of_its_own():
    rng = np.random.default_rng(0)
    rounds = ["".join(timing.turns("abc", lambda job: job, rng)) for _ in range(300)]
    assert {"".join(sorted(r)) for r in rounds} == {"abc"}
    follows = {pair: sum(pair in r for r in rounds) for pair in ("ab", "ba", "ac", "ca", "bc", "cb")}
    assert min(follows.values()) > 70, "each job follows each other one as often, about 100 times"


def test_jobs_of_one_group_follow_each_other_in_any_order():
    rng = np.random.default_rng(0)
    rounds = {"".join(timing.turns(["a1", "b1", "a2", "b2"], lambda job: job[0], rng)) for _ in range(100)}
    assert rounds == {f + s for f, s in _pairs()} | {s + f for f, s in _pairs()}


def _pairs():
    return [(f, s) for f in ("a1a2", "a2a1") for s in ("b1b2", "b2b1")]


@pytest.mark.parametrize(("x", "text"), [(1234.5, "1,234"), (12.345, "12.3"), (0.00123, "0.00123")])
def test_numbers_have_three_digits(x, text):
    assert timing.number(x) == text
    assert timing.in_words(Spread(median=x, low=x, high=x), "ms") == f"{text} [{text}, {text}] ms"
    assert timing.in_words(Spread(median=x / 100, low=x, high=x), scale=100).startswith(f"{text} [")
