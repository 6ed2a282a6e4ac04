"""Configurations that are drawn: the same from the same seed, and spread as they should be."""

import numpy as np
import pytest

from experiments.sweep import search
from experiments.sweep.values import Range

SPACE = {
    "lr": Range(low=1e-5, high=1e-1, log=True),
    "batch": (16, 32, 64),
    "hidden": Range(low=4, high=65, whole=True),
}


@pytest.mark.parametrize("kind", ["random", "sobol"])
def test_the_same_seed_draws_the_same_and_another_does_not(kind):
    first = search.draw(kind, 12, 3, SPACE)
    assert first == search.draw(kind, 12, 3, SPACE)
    assert first != search.draw(kind, 12, 4, SPACE)
    assert all(list(c) == list(SPACE) for c in first)
    assert all(1e-5 <= c["lr"] <= 1e-1 and c["batch"] in (16, 32, 64) for c in first)


@pytest.mark.parametrize("trials", [1, 7, 8, 30])
def test_a_sobol_sequence_has_as_many_points_as_trials_and_its_powers_of_two_are_balanced(trials):
    u_ND = search.points("sobol", trials, 3, 0)
    assert u_ND.shape == (trials, 3)
    assert ((u_ND >= 0) & (u_ND < 1)).all()
    size = 1 << (trials.bit_length() - 1)  # the largest power of two that is there
    for u_N in u_ND[:size].T:
        assert sorted(np.floor(u_N * size)) == list(range(size))


def test_more_trials_go_on_where_fewer_ended():
    few, many = (search.points("random", n, 2, 0) for n in (5, 9))
    np.testing.assert_array_equal(few, many[:5])
