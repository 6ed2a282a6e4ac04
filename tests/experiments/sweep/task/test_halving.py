"""Successive halving against a plain count of configurations."""

import numpy as np
import pytest
from helpers.tasks import trials
from hypothesis import given
from hypothesis import strategies as st

from experiments.sweep.task import halving as ha


def several(count, seeds=(8,)):
    return trials(lrs=range(count), policies=("one_fit",), seeds=seeds)


@pytest.mark.parametrize(
    ("halving", "ends"), [(None, [8]), ({"epochs": [2, 4, 8, 20], "keep": 0.5}, [2, 4, 8])]
)
def test_the_rungs_end_with_the_training(halving, ends):
    rungs = ha.rungs(halving, 8)
    assert [rung.end for rung in rungs] == ends
    assert [rung.start for rung in rungs] == [0, *ends[:-1]]
    assert {rung.keep for rung in rungs} == {1.0 if halving is None else 0.5}


@pytest.mark.parametrize(
    ("epochs", "keep", "message"),
    [
        ([4, 2], 0.5, r"halving.epochs: \[4, 2\]; allowed: increasing"),
        ([0, 2], 0.5, r"halving.epochs: \[0, 2\]; allowed: increasing"),
        ([2], 0, "halving.keep: 0.0; allowed: .* above 0"),
        ([2], 1.5, "halving.keep: 1.5; allowed: .* above 0"),
    ],
)
def test_rungs_that_cannot_be_are_refused(epochs, keep, message):
    with pytest.raises(ValueError, match=message):
        ha.rungs({"epochs": epochs, "keep": keep}, 8)


def test_the_mean_over_seeds_decides_and_one_diverged_seed_puts_a_configuration_last():
    score = np.array([0.0, np.inf, 3.0, 3.0, 1.0, 4.0])  # means: inf, 3, 2.5
    assert ha.best(several(3, (8, 9)), score, 1 / 3).tolist() == [False] * 4 + [True] * 2
    assert ha.best(several(3, (8, 9)), score, 2 / 3).tolist() == [False] * 2 + [True] * 4


def test_of_equal_scores_the_first_goes_on_and_at_least_one_does():
    assert ha.best(several(3), np.full(3, np.inf), 0.01).tolist() == [True, False, False]


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=8), st.floats(0.01, 1))
def test_as_many_go_on_as_asked_and_none_is_worse_than_one_that_is_out(scores, keep):
    score = np.array(scores, float)
    stays = ha.best(several(len(scores)), score, keep)
    assert stays.sum() == max(1, round(keep * len(scores)))
    assert score[stays].max() <= score[~stays].min(initial=np.inf)


@given(st.integers(1, 9), st.integers(1, 3), st.floats(0.1, 1))
def test_the_cost_is_that_of_rungs_walked_one_by_one(size, seeds, keep):
    everything = left = several(size, range(seeds))
    total = 0
    for start, end in ((0, 2), (2, 5), (5, 11)):
        total += len(left) * (end - start)
        stays = ha.best(left, np.array([trial["lr"] for trial in left], float), keep)
        left = [trial for trial, stay in zip(left, stays, strict=True) if stay]
    assert ha.cost(everything, {"epochs": [2, 5], "keep": keep}, 11) == total
    assert ha.cost(everything, None, 11) == len(everything) * 11
