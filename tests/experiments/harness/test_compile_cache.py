"""Where compiled programs are kept, that they are read back, and that no bit depends on it."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import platformdirs
import pytest

from experiments.harness import compile_cache

# A small refit as its command runs it, which then prints how often JAX found a program and how often it did not.
RUN = """
import runpy, sys
from collections import Counter
import jax
counts = Counter()
jax.monitoring.register_event_listener(lambda event, **_: counts.update([event.rpartition("/")[2]]))
sizes = "--data ar --epochs 2 --seeds 2 --hidden 2 --window 4 --devices 1 --arms one_fit keras_recompile"
sys.argv = ["refit", *sizes.split(), "--out", sys.argv[1]]
runpy.run_module("experiments.refit", run_name="__main__")
print("hits", counts["cache_hits"], "misses", counts["cache_misses"])
"""


@pytest.fixture
def no_folder(monkeypatch):
    """JAX and the environment of a user who has named no folder; the tests have one of their own (conftest.py)."""
    kept = jax.config.values["jax_compilation_cache_dir"]
    monkeypatch.delenv(compile_cache.SWITCH)
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    jax.config.update("jax_compilation_cache_dir", kept)


def test_programs_lie_in_the_users_cache_folder_unless_the_switch_names_another(no_folder, monkeypatch):
    home = compile_cache.folder()
    assert home is not None
    assert home.parent == Path(platformdirs.user_cache_dir()) / "lstm_sched" / "jax"
    monkeypatch.setenv(compile_cache.SWITCH, "/mine")
    assert compile_cache.folder() == Path("/mine") / home.name


def test_each_version_and_kind_of_machine_has_its_own_folder(monkeypatch):
    here = compile_cache.folder()
    assert compile_cache.folder() == here
    monkeypatch.setattr(compile_cache.platform, "machine", lambda: "another")
    another = compile_cache.folder()
    monkeypatch.setattr(compile_cache.jaxlib.version, "__version__", "0.0.1")
    assert len({here, another, compile_cache.folder()}) == 3


def test_a_relative_folder_is_refused(no_folder, monkeypatch):
    monkeypatch.setenv(compile_cache.SWITCH, "no")
    with pytest.raises(
        ValueError, match="LSTM_SCHED_CACHE: 'no'; allowed: off, or the absolute path of a folder"
    ):
        compile_cache.use()


def test_the_tests_do_not_write_to_the_users_folder():
    kept = jax.config.values["jax_compilation_cache_dir"]
    assert Path(kept).is_relative_to(os.environ[compile_cache.SWITCH])
    assert not Path(kept).is_relative_to(platformdirs.user_cache_path("lstm_sched"))


def test_switched_off_nothing_is_kept(no_folder, monkeypatch):
    monkeypatch.setenv(compile_cache.SWITCH, compile_cache.OFF)
    compile_cache.use()
    assert jax.config.values["jax_compilation_cache_dir"] is None


def test_a_folder_that_cannot_be_made_is_reported_and_the_run_goes_on(
    no_folder, tmp_path, monkeypatch, capsys
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(compile_cache.SWITCH, str(tmp_path / "file"))
    compile_cache.use()
    assert "compiled programs are not kept" in capsys.readouterr().err
    assert jax.config.values["jax_compilation_cache_dir"] is None


def test_a_warm_start_compiles_nothing_and_no_bit_differs(tmp_path):
    """Two processes: the first keeps its programs, the second reads them."""
    kept, counts = [], []
    for name in ("cold", "warm"):
        environment = os.environ | {compile_cache.SWITCH: str(tmp_path / "kept"), "JAX_PLATFORMS": "cpu"}
        command = [sys.executable, "-c", RUN, str(tmp_path / name)]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, cwd=Path(__file__).parents[3]
        )
        assert done.returncode == 0, done.stderr
        counts.append([int(count) for count in done.stdout.splitlines()[-1].split()[1::2]])
        kept.append({path: path.read_bytes() for path in (tmp_path / "kept").rglob("*-cache")})
    cold, warm = kept
    (_, misses_cold), (hits_warm, misses_warm) = counts
    assert misses_cold >= len(cold) > 0
    assert misses_warm == 0
    assert hits_warm >= len(cold)
    assert warm == cold
    for name in ("metrics.jsonl", "results.csv", "effects.csv"):
        files = [(tmp_path / run / name).read_bytes() for run in ("cold", "warm")]
        assert files[0]
        assert files[0] == files[1], name
