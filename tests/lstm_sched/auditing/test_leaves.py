"""Paths are read as JAX writes them, and nothing in them is evaluated."""

import jax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_sched.auditing.leaves import path_names
from lstm_sched.state import Moments

KEYS = st.lists(st.one_of(st.text(), st.integers(0, 9)), min_size=1, max_size=4)


@given(KEYS)
def test_any_names_come_back(keys):
    tree = 1
    for key in reversed(keys):
        tree = Moments(mu={key: tree}, nu=None, count=None, other=None)
    [(path, _)] = jax.tree_util.tree_leaves_with_path(tree)
    assert path_names(jax.tree_util.keystr(path)) == tuple(w for key in keys for w in ("mu", str(key)))


@pytest.mark.parametrize("path", ["[f()]", "()", ".a + 1", "[0", ".__import__('os')", "\0", "[a]"])
def test_any_other_text_is_refused(path):
    with pytest.raises(ValueError, match=r"path: .*; allowed: as jax\.tree_util\.keystr writes it"):
        path_names(path)
