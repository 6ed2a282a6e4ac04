"""A package's process is asked line by line; what it prints, its end and its absence are told apart."""

import sys

import pytest

from experiments.harness.peers import process

TALKS = """import json, os, sys
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
def write(x): answers.write(json.dumps(x) + "\\n"); answers.flush()
print("a banner")
names = ("PEER_CORES", "JAX_PLATFORMS", "JAX_DEFAULT_MATMUL_PRECISION")
write({"version": "package 1, " + ", ".join(str(os.environ.get(name)) for name in names)})
for line in sys.stdin:
    task = json.loads(line)
    if task["arm"] == "end": print("no such luck", flush=True); sys.exit(3)
    write({"seconds": 1.0, "loss": [task["epochs"]]})
"""


def python_that(tmp_path, line):
    """A Python that does this in place of any script."""
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def python(tmp_path):
    (tmp_path / "talks.py").write_text(TALKS)
    return python_that(tmp_path, f"exec {sys.executable} {tmp_path / 'talks.py'}")


def test_every_task_is_answered_whatever_a_package_prints(python, tmp_path):
    log = tmp_path / "log"
    with process.opened("PyTorch", python, log, cores=[0]) as first:
        assert first.version == "package 1, 0, cpu, None"
        with process.opened("PyTorch", python, log) as second:
            tasks = [{"arm": "calls", "epochs": n} for n in (3, 4)]
            assert [answer["loss"] for answer in process.ask([first, second], tasks)] == [[3], [4]]
    assert "a banner" in log.read_text()
    assert first.popen.returncode is not None and second.popen.returncode is not None


def test_on_a_gpu_jax_multiplies_in_float32(python, tmp_path):
    with process.opened("PyTorch", python, tmp_path / "log", platform="cuda") as opened:
        assert opened.version == "package 1, , cuda, highest"


def test_a_process_that_ends_is_lost_with_its_last_words(python, tmp_path):
    with process.opened("PyTorch", python, tmp_path / "log") as opened:
        for _ in range(2):
            with pytest.raises(process.Lost, match="no answer; no such luck"):
                process.ask([opened], [{"arm": "end"}])


def test_a_process_that_does_not_answer_in_time_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "LIMIT", 0.2)
    python = python_that(tmp_path, "exec sleep 60")
    with (
        pytest.raises(process.Lost, match="no answer; it printed nothing"),
        process.opened("PyTorch", python, tmp_path / "log"),
    ):
        pass


@pytest.mark.parametrize(("name", "package"), [("Keras on JAX", "keras"), ("PyTorch", "torch")])
def test_a_python_without_the_package_says_so(name, package, tmp_path):
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    (stubs / "numpy.py").write_text("ndarray = None\n")
    bare = python_that(tmp_path, f'PYTHONPATH={stubs} exec {sys.executable} -S "$@"')
    with (
        pytest.raises(process.Lost, match=f"{package} is not installed"),
        process.opened(name, bare, tmp_path / "log"),
    ):
        pass
