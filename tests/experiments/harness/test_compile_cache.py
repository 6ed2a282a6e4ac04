"""Where compiled programs are kept, that they are read back, and that no bit depends on it."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from experiments.harness import compile_cache

HOME = {"HOME": "/home/me"}
RUN = """
import sys
from collections import Counter
import jax
from experiments import refit
seen = Counter()
jax.monitoring.register_event_listener(lambda event, **_: seen.update([event.rpartition("/")[2]]))
small = {"data": ("ar",), "epochs": 2, "seeds": 2, "hidden": 2, "window": 4, "devices": 1}
refit.main(refit.Config(**small, arms=("one_fit", "keras_recompile"), out=sys.argv[1]))
print("hits", seen["cache_hits"], "misses", seen["cache_misses"])
"""


@pytest.mark.parametrize(
    ("told", "system", "place"),
    [
        (HOME, "linux", "/home/me/.cache/lstm_sched/jax"),
        (HOME | {"XDG_CACHE_HOME": "/fast"}, "linux", "/fast/lstm_sched/jax"),
        (HOME | {"XDG_CACHE_HOME": "fast"}, "linux", "/home/me/.cache/lstm_sched/jax"),
        (HOME | {"XDG_CACHE_HOME": ""}, "linux", "/home/me/.cache/lstm_sched/jax"),
        (HOME, "darwin", "/home/me/Library/Caches/lstm_sched/jax"),
        (HOME | {"LOCALAPPDATA": "/local"}, "win32", "/local/lstm_sched/jax"),
        (HOME | {compile_cache.SWITCH: "/mine", "XDG_CACHE_HOME": "/fast"}, "linux", "/mine"),
    ],
)
def test_programs_lie_in_the_cache_folder_of_the_platform_unless_told_otherwise(told, system, place):
    where = compile_cache.folder(told, system)
    assert where is not None
    assert where.parent == Path(place)


def test_each_version_and_kind_of_machine_has_its_own_folder(monkeypatch):
    here = compile_cache.folder(HOME, "linux")
    assert compile_cache.folder(HOME, "linux") == here
    monkeypatch.setattr(compile_cache.platform, "machine", lambda: "another")
    other = compile_cache.folder(HOME, "linux")
    monkeypatch.setattr(compile_cache.jaxlib.version, "__version__", "0.0.1")
    newer = compile_cache.folder(HOME, "linux")
    assert len({here, other, newer}) == 3


def test_the_switch_turns_it_off_and_a_relative_folder_is_refused():
    assert compile_cache.folder(HOME | {compile_cache.SWITCH: "off"}) is None
    with pytest.raises(ValueError, match="LSTM_SCHED_CACHE: 'no'; allowed: off, or a folder's absolute path"):
        compile_cache.folder(HOME | {compile_cache.SWITCH: "no"})


@pytest.fixture
def told_nothing():
    """JAX as a user has it, who named no folder; the tests have one of their own (conftest.py)."""
    own = jax.config.values["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    jax.config.update("jax_compilation_cache_dir", own)


def test_the_tests_keep_nothing_among_what_is_the_users():
    kept = jax.config.values["jax_compilation_cache_dir"]
    assert Path(kept).is_relative_to(os.environ[compile_cache.SWITCH])
    mine = compile_cache.folder(
        {name: told for name, told in os.environ.items() if name != compile_cache.SWITCH}
    )
    assert mine is not None and not mine.is_relative_to(os.environ[compile_cache.SWITCH])


def test_switched_off_nothing_is_kept(told_nothing, monkeypatch):
    monkeypatch.setenv(compile_cache.SWITCH, compile_cache.OFF)
    compile_cache.use()
    assert jax.config.values["jax_compilation_cache_dir"] is None


def test_a_folder_that_cannot_be_made_is_told_and_the_run_goes_on(
    told_nothing, tmp_path, monkeypatch, capsys
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(compile_cache.SWITCH, str(tmp_path / "file"))
    compile_cache.use()
    assert "compiled programs are not kept" in capsys.readouterr().err
    assert jax.config.values["jax_compilation_cache_dir"] is None


def test_a_warm_start_compiles_nothing_and_no_bit_differs_from_a_run_without(tmp_path):
    """Three processes: without, the first that keeps, and one that reads."""
    kept, counts = [], []
    for name, switch in (("without", "off"), ("cold", tmp_path / "kept"), ("warm", tmp_path / "kept")):
        told = os.environ | {compile_cache.SWITCH: str(switch), "JAX_PLATFORMS": "cpu"}
        command = [sys.executable, "-c", RUN, str(tmp_path / name)]
        done = subprocess.run(
            command, env=told, capture_output=True, text=True, cwd=Path(__file__).parents[1]
        )
        assert done.returncode == 0, done.stderr
        counts.append(done.stdout.splitlines()[-1].split()[1::2])
        kept.append({path: path.read_bytes() for path in (tmp_path / "kept").rglob("*-cache")})
    without, cold, warm = kept
    assert counts[0] == ["0", "0"]
    assert int(counts[1][1]) >= len(cold) > 0
    assert counts[2][1] == "0"
    assert int(counts[2][0]) >= len(cold)
    assert not without
    assert any("jit_advance" in path.name for path in cold)
    assert warm == cold
    for name in ("metrics.jsonl", "results.csv", "effects.csv"):
        files = [(tmp_path / run / name).read_bytes() for run in ("without", "cold", "warm")]
        assert files[0]
        assert files[0] == files[1] == files[2], name
