"""A package's process is asked line by line; what it prints, its end and its absence are told apart."""

import sys

import pytest

from experiments.harness.peers import process as pr

TALKS = """import json, os, sys
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
def say(x): answers.write(json.dumps(x) + "\\n"); answers.flush()
print("a banner")
told = (os.environ.get(name) for name in ("PEER_CORES", "JAX_PLATFORMS", "JAX_DEFAULT_MATMUL_PRECISION"))
say({"version": "package 1, " + ", ".join(map(str, told))})
for line in sys.stdin:
    asked = json.loads(line)
    if asked["arm"] == "end": print("no such luck", flush=True); sys.exit(3)
    say({"seconds": 1.0, "loss": [asked["epochs"]]})
"""


@pytest.fixture
def python(tmp_path):
    """A Python that runs the lines above in place of any script."""
    (tmp_path / "talks.py").write_text(TALKS)
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\nexec {sys.executable} {tmp_path / 'talks.py'}\n")
    path.chmod(0o755)
    return str(path)


def test_it_answers_every_line_whatever_it_prints(python, tmp_path):
    errors = tmp_path / "said.log"
    with pr.opened(python, "PyTorch", errors, cores=[0]) as process:
        assert process.version == "package 1, 0, cpu, None"
        for n in (3, 4):
            assert pr.ask(process, "PyTorch", errors, {"arm": "calls", "epochs": n})["loss"] == [n]
    assert "a banner" in errors.read_text()
    assert process.popen.returncode is not None


def test_on_a_gpu_jax_multiplies_in_float32(python, tmp_path):
    with pr.opened(python, "PyTorch", tmp_path / "said.log", platform="cuda") as process:
        assert process.version == "package 1, , cuda, highest"


def test_a_process_that_ends_is_lost_with_its_last_words(python, tmp_path):
    errors = tmp_path / "said.log"
    with (
        pr.opened(python, "PyTorch", errors) as process,
        pytest.raises(pr.Lost, match="PyTorch: no answer; no such luck"),
    ):
        pr.ask(process, "PyTorch", errors, {"arm": "end"})


def test_one_that_does_not_answer_in_time_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(pr, "LIMIT", 0.2)
    path = tmp_path / "python"
    path.write_text("#!/bin/sh\nexec sleep 60\n")
    path.chmod(0o755)
    with (
        pytest.raises(pr.Lost, match="no answer; it said nothing"),
        pr.opened(str(path), "PyTorch", tmp_path / "said.log"),
    ):
        pass


@pytest.mark.parametrize(("name", "package"), [("Keras on JAX", "keras"), ("PyTorch", "torch")])
def test_a_python_without_the_package_says_so(name, package, tmp_path):
    bare = tmp_path / "python"
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    (stubs / "numpy.py").write_text("ndarray = None\n")
    bare.write_text(f'#!/bin/sh\nPYTHONPATH={stubs} exec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    with pr.opened(str(bare), name, tmp_path / "said.log") as process:
        assert package in process.why_not
        assert not process.version
