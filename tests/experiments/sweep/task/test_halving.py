"""Successive halving against a plain count of configurations."""

import numpy as np
import pytest
from helpers.tasks import cells
from hypothesis import given
from hypothesis import strategies as st

from experiments.sweep.task import halving as ha


def test_a_run_without_halving_is_one_rung():
    assert ha.rungs(None, 7) == [ha.Rung(0, 7, 1.0)]


def test_the_rungs_end_with_the_training_and_none_is_beyond_it():
    assert ha.rungs({"epochs": [2, 4, 8, 20], "keep": 0.5}, 8) == [
        ha.Rung(0, 2, 0.5),
        ha.Rung(2, 4, 0.5),
        ha.Rung(4, 8, 0.5),
    ]


@pytest.mark.parametrize(
    ("halving", "words"),
    [
        ({"epochs": [4, 2], "keep": 0.5}, r"halving.epochs: \[4, 2\]; allowed: rising"),
        ({"epochs": [0, 2], "keep": 0.5}, r"halving.epochs: \[0, 2\]; allowed: rising"),
        ({"epochs": [2], "keep": 0}, "halving.keep: 0.0; allowed: above 0"),
        ({"epochs": [2], "keep": 1.5}, "halving.keep: 1.5; allowed: above 0"),
    ],
)
def test_rungs_that_cannot_be_are_refused(halving, words):
    with pytest.raises(ValueError, match=words):
        ha.rungs(halving, 8)


def test_the_mean_over_seeds_decides_and_one_diverged_seed_puts_a_configuration_last():
    several = cells(lrs=(1, 2, 3), policies=("one_fit",), seeds=(8, 9))
    score = np.array([0.0, np.inf, 3.0, 3.0, 1.0, 4.0])  # means: inf, 3, 2.5
    assert ha.best(several, score, 1 / 3).tolist() == [False] * 4 + [True] * 2
    assert ha.best(several, score, 2 / 3).tolist() == [False] * 2 + [True] * 4


def test_of_equal_scores_the_first_goes_on_and_at_least_one_does():
    several = cells(lrs=(1, 2, 3), policies=("one_fit",))
    assert ha.best(several, np.full(3, np.inf), 0.01).tolist() == [True, False, False]


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=8), st.floats(0.01, 1))
def test_as_many_go_on_as_asked_and_none_is_worse_than_one_that_is_out(scores, keep):
    several = cells(lrs=range(len(scores)), policies=("one_fit",))
    score = np.array(scores, float)
    stays = ha.best(several, score, keep)
    assert stays.sum() == max(1, round(keep * len(scores)))
    assert score[stays].max() <= score[~stays].min(initial=np.inf)


@given(st.integers(1, 9), st.integers(1, 3), st.floats(0.1, 1))
def test_the_cost_is_that_of_rungs_walked_one_by_one(size, seeds, keep):
    several = cells(lrs=range(size), policies=("one_fit",), seeds=range(seeds))
    halving = {"epochs": [2, 5], "keep": keep}
    left, total = several, 0
    for start, end in ((0, 2), (2, 5), (5, 11)):
        total += len(left) * (end - start)
        stays = ha.best(left, np.array([cell["lr"] for cell in left], float), keep)
        left = [cell for cell, stay in zip(left, stays, strict=True) if stay]
    assert ha.cost(several, halving, 11) == total
    assert ha.cost(several, None, 11) == len(several) * 11
