"""The host's side of a training meets damage, another version and a full disk."""

import dataclasses
import errno
import json
import shutil

import jax
import pytest

from experiments.faults import files, victim
from experiments.harness import arms, exits, run_folder, training
from experiments.harness.experiment import carry_out
from lstm_sched import checkpoint
from lstm_sched.checkpoint import steps

pytestmark = pytest.mark.fault
SMALL = victim.Config(data=("ar",), epochs=12, seeds=1, arms=("one_fit",), window=4)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The folder of a finished run, saved at two steps."""
    folder = tmp_path_factory.mktemp("run") / "whole"
    run(dataclasses.replace(SMALL, out=str(folder)))
    return folder


def run(config):
    carry_out(victim.EXPERIMENT, config)


@pytest.fixture
def folder(done, tmp_path):
    return shutil.copytree(done, tmp_path / "run")


def told(folder):
    return [json.loads(line) for line in (folder / "resumed.jsonl").read_text().splitlines()]


def last(folder):
    return checkpoint.read(folder / "checkpoint")


def test_a_run_whose_newest_step_is_damaged_goes_on_from_the_older_one(done, folder, capsys):
    older, newest = steps.steps(folder / "checkpoint")
    files.flip(folder / "checkpoint" / str(newest) / steps.RECORD, 99)
    run(victim.Config(resume=str(folder)))
    (row,) = told(folder)
    assert (row["epoch"], row["packages"]["jax"]) == (older, jax.__version__)
    assert f"step {newest}: record.json" in row["told"][0]
    assert row["told"][1].endswith(f"damaged-{newest}")
    said = capsys.readouterr().out
    assert all(line in said for line in row["told"])
    assert steps.steps(folder / "checkpoint") == [older, newest]
    assert arms.differing(last(folder), last(done)) == 0
    assert (folder / "metrics.jsonl").read_text() == (done / "metrics.jsonl").read_text()


def test_members_in_turns_leave_the_same_run_and_one_may_end_what_the_other_began(tmp_path):
    three = dataclasses.replace(SMALL, seeds=3, save_every=0.0)
    whole, turns = tmp_path / "whole", tmp_path / "turns"
    run(dataclasses.replace(three, out=str(whole)))
    run(dataclasses.replace(three, out=str(turns), members_per_chunk=2))
    for folder in (whole, turns):
        resumed = shutil.copytree(folder, tmp_path / f"{folder.name}, resumed")
        shutil.rmtree(resumed / "checkpoint" / str(max(steps.steps(resumed / "checkpoint"))))
        stored = run_folder.read_json(resumed / "config.json")
        stored["config"]["members_per_chunk"] = 2 if folder is whole else None
        run_folder.write_json(resumed / "config.json", stored)
        run(victim.Config(resume=str(resumed)))
        for other in (resumed, turns):
            assert arms.differing(last(other), last(whole)) == 0
            assert (other / "metrics.jsonl").read_text() == (whole / "metrics.jsonl").read_text()


def test_another_version_of_jax_is_told_and_recorded(folder, capsys):
    newest = max(steps.steps(folder / "checkpoint"))
    files.tamper(folder / "checkpoint" / str(newest), jax="0.0.1")
    run(victim.Config(resume=str(folder)))
    (row,) = told(folder)
    assert len(row["told"]) == 1
    assert "written under jax 0.0.1" in row["told"][0]
    assert row["told"][0] in capsys.readouterr().out


def test_where_every_step_is_damaged_the_run_is_refused_and_stays_as_it_is(folder):
    for step in steps.steps(folder / "checkpoint"):
        files.flip(folder / "checkpoint" / str(step) / steps.RECORD, 99)
    before = {file: file.read_bytes() for file in (folder / "checkpoint").rglob("*") if file.is_file()}
    metrics = (folder / "metrics.jsonl").read_text()
    with pytest.raises(
        exits.Refused, match=r"every step in .* is damaged: step \d+: .*; step \d+: "
    ) as refused:
        run(victim.Config(resume=str(folder)))
    assert refused.value.code == 2
    assert before == {
        file: file.read_bytes() for file in (folder / "checkpoint").rglob("*") if file.is_file()
    }
    assert (folder / "metrics.jsonl").read_text() == metrics


def test_a_writer_that_fails_for_want_of_room_is_a_sentence_and_any_other_is_not(tmp_path, monkeypatch):
    for code in (errno.ENOSPC, errno.EACCES):
        save = checkpoint.save

        def full(folder, progress, meta, code=code, save=save):
            if int(progress.clock[0]) > 11:
                raise OSError(code, "no")
            save(folder, progress, meta)

        out = tmp_path / str(code)
        with monkeypatch.context() as patch:
            patch.setattr(training.checkpoint, "save", full)
            expected = exits.Refused if code == errno.ENOSPC else PermissionError
            with pytest.raises(expected) as raised:
                run(dataclasses.replace(SMALL, out=str(out)))
        if isinstance(raised.value, exits.Refused):
            assert "of 12 epochs trained 11 are saved; make room, or copy" in str(raised.value)
            assert raised.value.code == exits.IO_ERROR
        assert int(last(out)["clock"][""][0]) == 11
