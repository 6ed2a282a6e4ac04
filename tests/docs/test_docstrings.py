"""The examples in docstrings run and print what they say."""

import doctest
import importlib
from pathlib import Path

import jax
import pytest

import lstm_sched

PACKAGE = Path(lstm_sched.__file__).parent
WITH_EXAMPLES = [path for path in sorted(PACKAGE.rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_of_a_module_are_right(path):
    name = ".".join((PACKAGE.name, *path.relative_to(PACKAGE).with_suffix("").parts))
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # as a user has them
        assert doctest.testmod(importlib.import_module(name)).failed == 0
