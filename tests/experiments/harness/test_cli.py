"""What a command says and with which code it ends, whatever it does."""

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from experiments.harness import cli, run_folder


@dataclass(frozen=True)
class Config:
    """Nothing much."""

    size: int = 1


class Plan(NamedTuple):
    folder: Path


def command(monkeypatch, execute, tmp_path, arguments=(), **how):
    """The exit code; 0 where it ends by itself."""
    monkeypatch.setattr("sys.argv", ["nothing", *arguments])

    def prepare(config):
        if config.size < 1:
            raise ValueError(f"size: {config.size}; allowed: 1 or more")
        return Plan(tmp_path)

    try:
        cli.run_plan("nothing", Config, prepare, execute, "Nothing.", **how)
    except SystemExit as e:
        return e.code
    return 0


@pytest.mark.parametrize(("found", "code"), [([1, 2], 0), ([1, 0], 1)])
def test_what_is_not_as_expected_is_exit_code_1(found, code, tmp_path, monkeypatch):
    assert command(monkeypatch, lambda plan: found, tmp_path, held=all) == code
    assert command(monkeypatch, lambda plan: found, tmp_path) == 0


def test_bad_input_is_one_sentence_and_exit_code_2(tmp_path, monkeypatch, capsys):
    code = command(monkeypatch, lambda plan: pytest.fail("not reached"), tmp_path, ["--size", "0"])
    assert code == 2
    assert capsys.readouterr().err == "nothing: size: 0; allowed: 1 or more\n"


@pytest.fixture
def ctrl_c():
    """Python's own answer to SIGINT, which is ignored where the tests were started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75), (signal.SIGUSR2, 75)]
)
@pytest.mark.parametrize("resumable", [True, False])
def test_a_signal_is_answered_with_what_can_be_done_next(
    signum, code, resumable, tmp_path, monkeypatch, capsys, ctrl_c
):
    def execute(plan):
        signal.raise_signal(signum)
        pytest.fail("not reached")

    assert command(monkeypatch, execute, tmp_path, resumable=resumable) == code
    said = capsys.readouterr().err
    if resumable:
        assert "--resume with the folder goes on" in said
        assert not (tmp_path / "status.json").exists()
    else:
        assert said == f"stopped; {tmp_path} holds no results\n"
        assert run_folder.read_json(tmp_path / "status.json")["state"] == "interrupted"
