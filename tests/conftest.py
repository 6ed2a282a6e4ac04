"""Every test runs with warnings as errors, strict dtype and rank promotion, and two host devices."""

import os
import tempfile
from pathlib import Path

import hypothesis
import jax
import pytest

from experiments.harness import compile_cache

jax.config.update("jax_num_cpu_devices", 2)  # must precede the first use of JAX
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# What was compiled once is read back, by the processes of tests too. Each worker has a folder of its own;
# LSTM_SCHED_TEST_CACHE names one that outlives the run, for who runs a few tests again and again.
TEMPORARY = tempfile.TemporaryDirectory(prefix="programs")
PROGRAMS = Path(os.environ.get("LSTM_SCHED_TEST_CACHE", TEMPORARY.name))
os.environ[compile_cache.SWITCH] = str(PROGRAMS / os.environ.get("PYTEST_XDIST_WORKER", "alone"))
compile_cache.use()

hypothesis.settings.register_profile("compiling", deadline=None)  # a first example may compile for seconds
hypothesis.settings.load_profile("compiling")

# What compiles or starts most, and takes nine tenths of the time; `pytest -m "not slow"` leaves it out.
TESTS = Path(__file__).parent
SLOW = [
    "docs",
    *(
        f"experiments/{path.name}"
        for path in TESTS.glob("experiments/*")
        if path.name != "harness" and path.is_dir()
    ),
    "experiments/harness/peers",
    "experiments/harness/test_compile_cache.py",
    "experiments/harness/test_curves.py",
    "experiments/harness/test_source.py",
    "experiments/harness/test_training.py",
    "lstm_sched/checkpoint/test_progress.py",
    "lstm_sched/nn",
    "lstm_sched/population",
    "lstm_sched/test_data_parallel.py",
    "lstm_sched/test_loop.py",
    "lstm_sched/test_noise.py",
    "lstm_sched/test_optimizers.py",
    "lstm_sched/test_plain_loop.py",
    "lstm_sched/test_presets.py",
    "lstm_sched/test_within.py",
    "oracle",
]


def pytest_collection_modifyitems(items):
    folders = [TESTS / name for name in SLOW]
    for item in items:
        if any(item.path.is_relative_to(folder) for folder in folders):
            item.add_marker("slow")


@pytest.fixture
def x64():
    """Float64 for one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module", autouse=True)
def _forget_programs():
    """Compiled programs hold memory maps, of which a process may have 65,530: a whole run of the tests needs more."""
    yield
    jax.clear_caches()
