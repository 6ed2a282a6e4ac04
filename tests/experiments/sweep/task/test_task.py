"""A task against single runs; however it is cut into slices, halved, or interrupted, it is the same, bit for bit."""

import csv
import errno
import math
import shutil
from functools import partial

import jax
import numpy as np
import pytest
from helpers import tasks

from experiments.harness import exits, lock, outcome, run_folder, source, training
from experiments.harness.exits import Interrupted
from experiments.sweep.task import events, rungs
from experiments.sweep.task import run as task
from experiments.sweep.task import trials as tr
from lstm_sched import evaluation
from lstm_sched.loop import run
from lstm_sched.members import start

TRIALS = tasks.trials(first=40)
HALVING = {"epochs": [2, 4], "keep": 1 / 3}


@pytest.fixture(scope="module", autouse=True)
def _short_chunks():
    """Many checkpoints, at fixed epochs, and one program for all tasks."""
    with pytest.MonkeyPatch.context() as patch:
        tasks.share_program(patch)
        patch.setattr(training, "chunk_of", lambda seconds, epochs: 3)
        yield


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The folder of a task that ran to its end."""
    folder = tasks.write(tmp_path_factory.mktemp("task") / "whole", TRIALS)
    assert task.run(str(folder)) == run_folder.read_json(folder / "done.json")
    return folder


@pytest.fixture(scope="module")
def halved(tmp_path_factory):
    """The folder of a task with halving that ran to its end."""
    folder = tasks.write(tmp_path_factory.mktemp("task") / "halved", TRIALS, HALVING)
    task.run(str(folder))
    return folder


def rows(folder):
    with (folder / "rows.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def curves(folder):
    with np.load(folder / "curves.npz") as stored:
        return dict(stored)


def built():
    return rungs.build(tasks.SMALL, source.open_source(tasks.SMALL, "sines").split)


def test_the_rows_are_those_of_single_runs(done):
    learner, data = built().learner, built().split.data
    members, _ = tr.members(TRIALS[:4], tasks.SMALL, built())
    whole = jax.jit(partial(run, learner, epochs=tasks.SMALL.epochs))
    test = jax.jit(partial(evaluation.losses, learner))
    for m, (member, row) in enumerate(zip(members, rows(done), strict=False)):
        progress, log = whole(member=member, data=data, progress=start(learner, member.origin))
        np.testing.assert_array_equal(curves(done)["val"][m], log.val)
        np.testing.assert_array_equal(curves(done)["loss"][m], log.loss)
        assert float(row["test_end"]) == np.asarray(test(progress.state.params, data.test), float).mean()
        assert float(row["val_selected"]) == float(progress.selected.val) == np.min(log.val)
        assert int(row["best_epoch"]) == int(progress.selected.epoch) == 1 + np.argmin(log.val)
        facts = [row[name] for name in ("number", "state", "why", "epochs_run", "diverged")]
        assert facts == [str(40 + m), "finished", "", "8", "False"]


def test_a_diverged_trial_is_a_row_of_its_own_and_harms_no_other(done):
    assert [row["diverged"] for row in rows(done)] == ["False"] * 4 + ["True"] * 2
    assert all(math.isnan(float(row["test_end"])) for row in rows(done)[4:])


def test_the_folder_of_a_finished_task_holds_its_results_and_no_checkpoint(done):
    files = {"task.json", "events.jsonl", "rows.csv", "curves.npz", "timing.json", "done.json"}
    assert {path.name for path in done.iterdir()} == files
    timing = run_folder.read_json(done / "timing.json")
    assert (timing["slices"], timing["packages"]["jax"]) == (1, jax.__version__)
    assert 0 < timing["seconds_training"] < timing["seconds"]
    baselines = run_folder.read_json(done / "done.json")["baselines"]
    assert baselines == outcome.loss_of_baselines("mse", built())
    stored = curves(done)
    assert stored["dims"].tolist() == ["cell", "epoch"]
    assert stored["number"].tolist() == [40, 41, 42, 43, 44, 45]
    assert stored["epoch"].tolist() == list(range(1, 9))
    assert all(stored[name].shape == (6, 8) for name in run_folder.CURVES)
    assert stored["boundary"][:2].tolist() == [[0] * 8, [0] + [1] * 7]


def test_a_finished_task_is_left_alone(done, monkeypatch):
    monkeypatch.setattr(rungs, "train", None)
    before = tasks.results(done), events.read(done)
    assert task.run(str(done))["state"] == "finished"
    assert (tasks.results(done), events.read(done)) == before


def test_a_trial_that_cannot_be_run_is_a_failed_row_among_the_same_others(done, tmp_path):
    folder = tasks.write(tmp_path / "task", [{**TRIALS[0], "number": 46, "lr": -1.0}, *TRIALS])
    assert task.run(str(folder))["state"] == "finished"
    failed, *others = rows(folder)
    assert others == rows(done)
    facts = [failed[name] for name in ("number", "state", "epochs_run", "test_end", "why")]
    assert facts == ["46", "failed", "0", "", "lr: -1.0; allowed: above 0 and finite"]
    assert curves(folder)["number"].tolist() == curves(done)["number"].tolist()


def test_halving_stops_the_worse_and_changes_no_bit_of_the_others(done, halved):
    ran = [int(row["epochs_run"]) for row in rows(halved)]
    assert sorted(ran) == [2, 2, 2, 2, 4, 8]
    for m, (epochs, half, whole) in enumerate(zip(ran, rows(halved), rows(done), strict=True)):
        for name in run_folder.CURVES:
            np.testing.assert_array_equal(curves(halved)[name][m, :epochs], curves(done)[name][m, :epochs])
            assert np.isnan(curves(halved)[name][m, epochs:]).all()
        assert half["state"] == ("finished" if epochs == 8 else "pruned")
        last = curves(done)["val"][m, epochs - 1]
        assert half == whole or (
            epochs < 8 and (float(half["val_end"]) == last or half["diverged"] == "True")
        )
    val = np.nanmin(curves(done)["val"][:, :2], axis=1, initial=np.inf)
    assert val[np.array(ran) > 2].max() < val[np.array(ran) == 2].min()


@pytest.mark.parametrize("halving", [None, HALVING])
def test_a_task_cut_short_again_and_again_is_the_uninterrupted_one(
    done, halved, halving, tmp_path, monkeypatch
):
    folder = tasks.write(tmp_path / "task", TRIALS, halving, save_every=0.0)
    append, left = run_folder.append_metrics, [0]

    def cut_short(*arguments):
        append(*arguments)  # its chunk is not saved
        left[0] -= 1
        if left[0] < 0:
            raise Interrupted(15, folder)

    monkeypatch.setattr(run_folder, "append_metrics", cut_short)
    ended = None
    while ended is None:
        left[0] = 1  # one more chunk each time
        try:
            ended = task.run(str(folder))
        except Interrupted:
            assert not (folder / "done.json").exists()
            assert 0 < events.progress(folder) < 8 * 6
    assert tasks.results(folder) == tasks.results(done if halving is None else halved)
    assert len(events.read(folder)) > 3


@pytest.mark.parametrize("halving", [None, HALVING])
def test_what_does_not_fit_into_memory_is_halved_and_comes_out_the_same(
    done, halved, halving, tmp_path, monkeypatch
):
    folder = tasks.write(tmp_path / "task", TRIALS, halving)
    probe = training.probe

    def small_memory(learner, layout, member_M, data):
        if member_M.hp.rates_S.shape[0] > 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")
        return probe(learner, layout, member_M, data)

    monkeypatch.setattr(training, "probe", small_memory)
    assert task.run(str(folder))["state"] == "finished"
    assert [row["slices"] for row in events.read(folder) if row["event"] == "memory"] == [2, 4]
    assert run_folder.read_json(folder / "timing.json")["slices"] == 4
    assert tasks.results(folder) == tasks.results(done if halving is None else halved)


def test_where_not_even_one_trial_fits_the_task_has_failed_and_is_tried_again(done, tmp_path, monkeypatch):
    folder = tasks.write(tmp_path / "task", TRIALS)

    def no_memory(*arguments):
        raise MemoryError("9 bytes")

    with monkeypatch.context() as patch:
        patch.setattr(training, "probe", no_memory)
        assert task.run(str(folder)) == {"state": "failed", "why": "MemoryError: 9 bytes", "baselines": {}}
    shutil.copy(done / events.FILE, folder)  # as if there were more memory now
    assert task.run(str(folder))["state"] == "finished"
    assert tasks.results(folder) == tasks.results(done)


def test_on_a_full_disk_the_task_ends_with_74_and_goes_on_when_there_is_room(
    done, tmp_path, monkeypatch, capsys
):
    folder = tasks.write(tmp_path / "task", TRIALS)
    (folder / "rows.part").symlink_to("/dev/full")
    assert task.main([str(folder)]) == exits.IO_ERROR
    assert "No space left on device" in capsys.readouterr().err
    assert not (folder / "done.json").exists()
    (folder / "rows.part").unlink()
    monkeypatch.setattr(run_folder, "append_metrics", None)  # all was trained
    assert task.main([str(folder)]) == 0
    assert tasks.results(folder) == tasks.results(done)


def test_space_that_runs_out_while_training_is_no_failure_of_the_task(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "no")

    folder = tasks.write(tmp_path / "task", TRIALS)
    monkeypatch.setattr(rungs, "train", full)
    with pytest.raises(OSError, match="no"):
        task.run(str(folder))
    assert not (folder / "done.json").exists()


def test_a_task_in_use_is_waited_for_and_then_refused(tmp_path, monkeypatch, capsys):
    folder = tasks.write(tmp_path / "task", TRIALS)
    monkeypatch.setattr(task, "WAIT", 0.2)
    with lock.hold(folder):
        assert task.main([str(folder)]) == 2
    assert "is in use by process" in capsys.readouterr().err
    assert not events.read(folder)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"halving": {"epochs": [4, 2], "keep": 0.5}}, "halving.epochs: [4, 2]; allowed:"),
        ({"data": "of another series"}, "data: sines has other values than when the sweep began; allowed:"),
    ],
)
def test_a_task_that_cannot_be_trained_fails_and_says_why(changed, why, tmp_path, capsys):
    folder = tasks.write(tmp_path / "task", TRIALS)
    run_folder.write_json(folder / "task.json", run_folder.read_json(folder / "task.json") | changed)
    assert task.main([str(folder)]) == 1
    assert f"failed: ValueError: {why}" in capsys.readouterr().out


def test_a_line_that_was_cut_short_is_no_event(tmp_path):
    events.note(tmp_path, "memory", slices=4, why="it")
    with (tmp_path / events.FILE).open("a") as file:
        file.write('{"event": "mem')
    assert [row["event"] for row in events.read(tmp_path)] == ["memory"]
    assert events.slices(tmp_path) == 4
