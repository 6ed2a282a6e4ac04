"""Medians, quartiles, ratios and the order in which arms are timed."""

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
    assert timing.spread([4, 1, 2, 3]) == Spread(2.5, 1.75, 3.25)
    with pytest.raises(ValueError, match="values_R: none"):
        timing.spread([])


def test_a_ratio_is_taken_within_repetitions():
    """The machine was ten times slower in the second: the ratio of the medians would not be 2."""
    assert timing.ratio([2, 20, 2], [1, 10, 1]) == Spread(2, 2, 2)
    assert timing.ratio([2, 30, 2], [1, 10, 1]) == Spread(2, 2, 2.5)


def test_every_repetition_runs_every_arm_in_an_order_of_its_own():
    seen = []

    def arm(name):
        return lambda: seen.append(name) or len(seen)

    found = timing.interleaved({name: arm(name) for name in "abc"}, 300, np.random.default_rng(0))
    rounds = ["".join(seen[i : i + 3]) for i in range(0, 900, 3)]
    assert {"".join(sorted(r)) for r in rounds} == {"abc"}
    follows = {pair: sum(pair in r for r in rounds) for pair in ("ab", "ba", "ac", "ca", "bc", "cb")}
    assert min(follows.values()) > 70, "each follows each other one as often, about 100 times"
    assert all(seen[n - 1] == name for name, all_ in found.items() for n in all_)
    assert {len(all_) for all_ in found.values()} == {300}


@pytest.mark.parametrize(("x", "text"), [(1234.5, "1,234"), (12.345, "12.3"), (0.00123, "0.00123")])
def test_numbers_have_three_digits(x, text):
    assert timing.number(x) == text
    assert timing.told(Spread(x, x, x), "ms") == f"{text} [{text}, {text}] ms"
    assert np.isclose(float(text.replace(",", "")), x, rtol=1e-2)
