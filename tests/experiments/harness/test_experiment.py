"""The protocol of every experiment, on one that measures three numbers."""

import dataclasses
import json
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from experiments.harness import experiment, lock, run_folder
from experiments.harness.document import EVERYWHERE, Document, Lead, Section, Table
from experiments.harness.exits import Interrupted, Stopped
from experiments.harness.experiment import Decisions, Experiment, carry_out


@dataclass(frozen=True)
class Colours:
    line: str = "black"
    fill: tuple[str, ...] = ()


@dataclass(frozen=True)
class Config:
    scale: float = 1.0
    parts: tuple[str, ...] = ("whole",)
    width: float = 1.0
    colours: Colours = Colours()
    out: str | None = None
    resume: str | None = None


def decide(config, stored):
    if config.scale <= 0:
        raise ValueError(f"scale: {config.scale}; allowed: above 0")
    return [
        Decisions(config=dataclasses.replace(config, parts=(part,)), facts={"numbers": [1, 2, 3]}, part=part)
        for part in config.parts
    ]


def conclude(decisions, results):
    table = Table(title="squares", columns=("number", "square"), rows=sorted(results.items()))
    sections = [
        Section(title="What are the squares?", blocks=[Lead(text="Measured."), table], places=EVERYWHERE),
        Section(title="Last words", blocks=["Only a terminal."], places=frozenset({"terminal"})),
    ]
    rows = [{"number": n, "square": s} for n, s in results.items()]
    return Document(
        sections=sections, tables={"results.csv": rows}, void="nine" if results["3"] > 100 else ""
    )


def squares(stop_at=None, calls=None):
    """The experiment; it is stopped before it measures one of the numbers, and notes what it measured."""

    def measure(decisions, workplace):
        results = {}
        for number in decisions.facts["numbers"]:

            def square(number=number):
                if stop_at is not None and number == stop_at[0]:
                    raise stop_at[1]
                if calls is not None:
                    calls.append(number)
                return number**2 * decisions.config.scale

            results[str(number)] = workplace.once(str(number), square)
        return results

    return Experiment(name="squares", config=Config, decide=decide, measure=measure, conclude=conclude)


def test_every_file_is_written_and_results_are_returned(tmp_path, capsys):
    assert carry_out(squares(), Config(out=str(tmp_path / "run"))) == [{"1": 1, "2": 4, "3": 9}]
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {
        "config.json",
        "env.json",
        "status.json",
        "measured.jsonl",
        "results.csv",
        "table.md",
        "report.html",
    } <= names
    assert run_folder.read_status(tmp_path / "run")["state"] == "finished"
    assert (tmp_path / "run" / "results.csv").read_text() == "number,square\n1,1.0\n2,4.0\n3,9.0\n"
    printed = capsys.readouterr().out
    assert printed.index("Measured.") < printed.index("Only a terminal.")
    assert "Only a terminal." not in (tmp_path / "run" / "report.html").read_text()
    assert not (tmp_path / "run" / lock.FILE).exists()


@pytest.mark.parametrize(
    ("error", "signum"),
    [(KeyboardInterrupt(), signal.SIGINT), (Stopped(signal.SIGTERM), signal.SIGTERM)],
)
def test_a_run_that_is_stopped_goes_on_with_what_was_not_measured(tmp_path, error, signum):
    folder, calls = tmp_path / "run", []
    with pytest.raises(Interrupted) as raised:
        carry_out(squares((3, error), calls), Config(out=str(folder)))
    assert (raised.value.signum, raised.value.folder) == (signum, folder)
    assert run_folder.read_status(folder)["state"] == "interrupted"
    with (folder / "measured.jsonl").open("a") as file:
        file.write('{"key": "3", "val')  # a process that was killed while it wrote
    assert carry_out(squares(None, calls), Config(resume=str(folder))) == [{"1": 1, "2": 4, "3": 9}]
    assert calls == [1, 2, 3]
    assert len((folder / "measured.jsonl").read_text().splitlines()) == 3


def test_several_parts_have_folders_of_their_own_and_go_on_as_a_whole(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        carry_out(squares((2, KeyboardInterrupt())), Config(parts=("a", "b"), out=str(folder)))
    assert run_folder.read_json(folder / "config.json")["runs"] == ["a", "b"]
    assert len(carry_out(squares(), Config(resume=str(folder)))) == 2
    assert (folder / "a" / "report.html").exists() and (folder / "b" / "report.html").exists()


def test_a_void_run_is_written_and_then_fails(tmp_path):
    with pytest.raises(RuntimeError, match="nine"):
        carry_out(squares(), Config(scale=50.0, out=str(tmp_path / "run")))
    assert (tmp_path / "run" / "report.html").exists()


def test_fields_that_may_be_given_again_replace_the_stored_ones_together(tmp_path):
    drawn = dataclasses.replace(squares(), again=(("width", "colours"), "parts"))
    stored = Config(width=2.0, colours=Colours(fill=("red", "blue")), out=str(tmp_path / "run"))
    carry_out(drawn, stored)

    def goes_on(**given):
        job = experiment.prepare(drawn, Config(resume=str(tmp_path / "run"), **given))
        assert job is not None
        [(decisions, _)] = job.parts
        return decisions.config.width, decisions.config.colours

    assert goes_on() == (2.0, Colours(fill=("red", "blue")))
    assert goes_on(width=3.0) == (3.0, Colours())
    assert goes_on(colours=Colours("green")) == (1.0, Colours("green"))
    with pytest.raises(ValueError, match="leave out scale"):
        goes_on(scale=2.0)


def test_a_rehearsal_is_checked_and_makes_nothing(tmp_path):
    rehearsed = []
    only = dataclasses.replace(squares(), rehearse=lambda parts, out: not rehearsed.extend(parts))
    assert carry_out(only, Config(parts=("a", "b"), out=str(tmp_path / "run"))) == []
    assert [decisions.part for decisions in rehearsed] == ["a", "b"]
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="scale: -1"):
        carry_out(only, Config(scale=-1.0))


@pytest.mark.parametrize(
    ("config", "field"),
    [
        (Config(scale=-1.0), "scale: -1.0"),
        (Config(scale=2.0, resume="run"), "leave out scale"),
    ],
)
def test_what_the_user_must_mend_is_refused_before_anything_is_made(tmp_path, monkeypatch, config, field):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=field):
        carry_out(squares(), config)
    assert list(tmp_path.iterdir()) == []


def test_a_run_goes_on_only_under_the_same_decisions(tmp_path):
    folder = tmp_path / "run"
    carry_out(squares(), Config(out=str(folder)))
    stored = run_folder.read_json(folder / "config.json")
    run_folder.write_json(folder / "config.json", stored | {"numbers": [1, 2]})
    with pytest.raises(ValueError, match=r"numbers: \[1, 2\], now \[1, 2, 3\]"):
        carry_out(squares(), Config(resume=str(folder)))
    run_folder.write_json(folder / "config.json", stored | {"experiment": "cubes"})
    with pytest.raises(ValueError, match="is a run of cubes; allowed: one of squares"):
        carry_out(squares(), Config(resume=str(folder)))


def test_a_run_goes_on_from_whatever_files_are_there(tmp_path):
    folder = tmp_path / "run"
    carry_out(squares(), Config(out=str(folder)))
    for name in ("env.json", "status.json", "measured.jsonl", "results.csv", "report.html"):
        (folder / name).unlink()
        assert carry_out(squares(), Config(resume=str(folder))) == [{"1": 1, "2": 4, "3": 9}]
        assert Path(folder / name).exists()


def test_a_folder_has_one_holder(tmp_path):
    folder = tmp_path / "run"
    job = experiment.prepare(squares(), Config(out=str(folder)))
    assert job is not None
    with lock.hold(folder), pytest.raises(lock.InUse):
        experiment.finish(squares(), job)


def test_what_was_measured_is_plain_json(tmp_path):
    workplace = experiment.Workplace(folder=tmp_path, console=experiment.document.console())
    assert workplace.once("pair", lambda: (1, 2)) == [1, 2]
    assert json.loads((tmp_path / "measured.jsonl").read_text()) == {"key": "pair", "value": [1, 2]}
