"""Boundaries fall where they are asked for, never before the first epoch or after the last."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_sched import rules

BEGUN = SimpleNamespace(epoch=np.int32(0))  # no validation loss yet


def falls(rule, clocks):
    return [e for e in clocks if rule(SimpleNamespace(clock=np.int32(e), selected=BEGUN))]


@given(n=st.integers(1, 30), epochs=st.integers(1, 60))
@settings(max_examples=25)
def test_fits_begin_and_end_every_n_epochs_and_end_after_the_last(n, epochs):
    assert falls(rules.every(n, epochs), range(epochs)) == list(range(n, epochs, n))
    ended = [e for e in range(1, epochs + 1) if e % n == 0 or e == epochs]
    assert falls(rules.ends(n, epochs), range(1, epochs + 1)) == ended


@given(epochs=st.integers(2, 30), data=st.data())
@settings(max_examples=25)
def test_listed_boundaries_are_the_list(epochs, data):
    listed = data.draw(st.sets(st.integers(1, epochs - 1)))
    assert falls(rules.at_epochs(listed, epochs), range(epochs)) == sorted(listed)


def test_one_fit_has_none():
    assert falls(rules.never(20), range(20)) == []


@pytest.mark.parametrize("e", [-1, 0, 10, 11])
def test_a_boundary_outside_the_run_is_refused(e):
    with pytest.raises(ValueError, match=f"epoch {e}; allowed: 1 to 9"):
        rules.at_epochs([3, e], 10)


@pytest.mark.parametrize("n", [0, -3])
def test_a_fit_has_at_least_one_epoch(n):
    with pytest.raises(ValueError, match=f"every: {n}"):
        rules.every(n, 10)


def test_an_end_rule_has_the_leaves_of_none():
    kinds = [[(leaf.dtype, leaf.shape) for leaf in rule.args] for rule in (rules.ends(2, 7), rules.never(7))]
    assert kinds[0] == kinds[1]
