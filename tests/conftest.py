"""Every test runs with warnings as errors, strict dtype and rank promotion, and two host devices."""

import os
import tempfile

import hypothesis
import jax
import pytest

os.environ["LSTM_SCHED_CACHE"] = (
    "off"  # nothing of the user's is read or written, nor by the processes of tests
)
jax.config.update("jax_num_cpu_devices", 2)  # must precede the first use of JAX
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# What one module compiled the next reads back: a fifth of the time. Each process has its own, for as long as it lives.
PROGRAMS = tempfile.TemporaryDirectory(prefix="programs")
jax.config.update("jax_compilation_cache_dir", PROGRAMS.name)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

hypothesis.settings.register_profile("compiling", deadline=None)  # a first example may compile for seconds
hypothesis.settings.load_profile("compiling")


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
