"""What a command prints and with which code it ends, whatever it does."""

import errno
import signal
import sys
from dataclasses import dataclass

import pytest

from experiments.harness import cli, run_folder
from experiments.harness.document import Document, Section
from experiments.harness.exits import IO_ERROR, Refused
from experiments.harness.experiment import Decisions, Experiment


@dataclass(frozen=True)
class Config:
    """Nothing much."""

    size: int = 1
    out: str | None = None
    resume: str | None = None


def decide(config, stored):
    if config.size < 1:
        raise ValueError(f"size: {config.size}; allowed: 1 or more")
    return [Decisions(config=config, facts={"cores": [0, 1]})]


def command(monkeypatch, measure, folder, *flags):
    """The exit code; 0 where it ends by itself, and that of a process that ends at once."""
    monkeypatch.setattr(sys, "argv", ["nothing", *flags, "--out", str(folder)])
    monkeypatch.setattr("os._exit", sys.exit)
    experiment = Experiment(
        name="nothing",
        config=Config,
        decide=decide,
        measure=lambda decisions, workplace: measure(),
        conclude=lambda decisions, results: Document(sections=[Section(title="Nothing?", blocks=[])]),
        expected=lambda results: results != "wrong",
    )
    try:
        cli.run(experiment, "Nothing.")
    except SystemExit as e:
        return e.code
    return 0


@pytest.mark.parametrize(("result", "code"), [("right", 0), ("wrong", 1)])
def test_what_is_not_as_expected_is_exit_code_1(result, code, tmp_path, monkeypatch):
    assert command(monkeypatch, lambda: result, tmp_path / "run") == code
    stored = run_folder.read_json(tmp_path / "run" / "config.json")
    assert stored["command"] == f"python -m experiments.nothing --out {tmp_path / 'run'}"
    assert (stored["experiment"], stored["config"]["size"], stored["cores"]) == ("nothing", 1, [0, 1])


def test_bad_input_is_one_sentence_and_exit_code_2(tmp_path, monkeypatch, capsys):
    assert command(monkeypatch, pytest.fail, tmp_path / "run", "--size", "0") == 2
    assert capsys.readouterr().err == "nothing: size: 0; allowed: 1 or more\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Refused("every step is damaged"), 2),
        (Refused("no room", IO_ERROR), IO_ERROR),
        (OSError(errno.ENOSPC, "no room"), IO_ERROR),
    ],
)
def test_what_cannot_go_on_is_a_sentence_and_a_code(error, code, tmp_path, monkeypatch, capsys):
    def measure():
        raise error

    assert command(monkeypatch, measure, tmp_path / "run") == code
    assert str(error) in capsys.readouterr().err


@pytest.fixture
def ctrl_c():
    """Python's own answer to SIGINT, which is ignored where the tests were started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75), (signal.SIGUSR2, 75)]
)
def test_a_signal_is_answered_with_how_to_go_on(signum, code, tmp_path, monkeypatch, capsys, ctrl_c):
    def measure():
        signal.raise_signal(signum)
        pytest.fail("not reached")

    assert command(monkeypatch, measure, tmp_path / "run") == code
    assert f"--resume {tmp_path / 'run'}" in capsys.readouterr().err
    assert run_folder.read_status(tmp_path / "run")["state"] == "interrupted"
