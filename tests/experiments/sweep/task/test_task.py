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
from experiments.harness.setting import build
from experiments.sweep.task import events, rungs, trials
from experiments.sweep.task import run as task
from lstm_sched import evaluation
from lstm_sched.loop import run
from lstm_sched.members import start

CELLS = tasks.cells(first=40)
HALVING = {"epochs": [2, 4], "keep": 1 / 3}


@pytest.fixture(scope="module", autouse=True)
def _short_chunks():
    """Many checkpoints, at fixed epochs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "chunk_of", lambda seconds, epochs: 2)
        yield


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The folder of a task that ran to its end."""
    folder = tasks.write(tmp_path_factory.mktemp("task") / "whole", CELLS)
    assert task.run(str(folder)) == run_folder.read_json(folder / "done.json")
    return folder


@pytest.fixture(scope="module")
def halved(tmp_path_factory):
    """The folder of a task with halving that ran to its end."""
    folder = tasks.write(tmp_path_factory.mktemp("task") / "halved", CELLS, HALVING)
    task.run(str(folder))
    return folder


def rows(folder):
    with (folder / "rows.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def curves(folder):
    with np.load(folder / "curves.npz") as stored:
        return dict(stored)


def test_the_rows_are_those_of_single_runs(done):
    built = build(tasks.SMALL, source.open_source(tasks.SMALL, "sines").split)
    members, _ = trials.members(CELLS[:4], tasks.SMALL, built)
    whole = jax.jit(partial(run, built.learner, epochs=tasks.SMALL.epochs))
    test = jax.jit(partial(evaluation.losses, built.learner))
    for m, (member, row) in enumerate(zip(members, rows(done), strict=False)):
        data = built.split.data
        progress, log = whole(member=member, data=data, progress=start(built.learner, member.origin))
        np.testing.assert_array_equal(curves(done)["val"][m], log.val)
        np.testing.assert_array_equal(curves(done)["loss"][m], log.loss)
        assert int(row["number"]) == 40 + m
        assert float(row["test_end"]) == np.asarray(test(progress.state.params, data.test), float).mean()
        assert float(row["val_selected"]) == float(progress.selected.val) == np.min(log.val)
        assert int(row["best_epoch"]) == int(progress.selected.epoch) == 1 + np.argmin(log.val)
        assert (row["state"], row["why"], row["epochs_run"], row["diverged"]) == (
            "finished",
            "",
            "12",
            "False",
        )


def test_a_diverged_cell_is_a_row_of_its_own_and_harms_no_other(done):
    assert [row["diverged"] for row in rows(done)] == ["False"] * 4 + ["True"] * 2
    assert all(math.isnan(float(row["test_end"])) for row in rows(done)[4:])


def test_the_folder_of_a_finished_task_holds_its_results_and_no_checkpoint(done):
    files = {"task.json", "attempts.jsonl", "rows.csv", "curves.npz", "timing.json", "done.json"}
    assert {path.name for path in done.iterdir()} == files
    timing = run_folder.read_json(done / "timing.json")
    assert (timing["attempts"], timing["parts"], timing["cells"]) == (1, 1, 6)
    assert timing["packages"]["jax"] == jax.__version__
    assert 0 < timing["seconds_training"] < timing["seconds"]
    assert run_folder.read_json(done / "done.json")["baselines"]["mean"]["train"] > 0.9


def test_the_curves_are_labelled(done):
    stored = curves(done)
    assert stored["dims"].tolist() == ["cell", "epoch"]
    assert stored["number"].tolist() == [40, 41, 42, 43, 44, 45]
    assert stored["epoch"].tolist() == list(range(1, 13))
    assert all(stored[name].shape == (6, 12) for name in run_folder.CURVES)
    assert stored["boundary"][:2].tolist() == [[0] * 12, [0] + [1] * 11]


def test_a_finished_task_is_left_alone(done, monkeypatch):
    monkeypatch.setattr(rungs, "climb", None)
    before = tasks.results(done), events.read(done)
    assert task.run(str(done))["state"] == "finished"
    assert (tasks.results(done), events.read(done)) == before


def test_a_cell_that_cannot_be_run_is_a_failed_row_among_the_same_others(done, tmp_path):
    bad = {**CELLS[0], "number": 46, "lr": -1.0}
    folder = tasks.write(tmp_path / "task", [bad, *CELLS])
    assert task.run(str(folder))["state"] == "finished"
    first, *others = rows(folder)
    assert others == rows(done)
    assert (first["number"], first["state"], first["epochs_run"], first["test_end"]) == (
        "46",
        "failed",
        "0",
        "",
    )
    assert first["why"] == "lr: -1.0; allowed: above 0 and finite"
    assert curves(folder)["number"].tolist() == curves(done)["number"].tolist()


def test_halving_stops_the_worse_and_changes_no_bit_of_the_others(done, halved):
    whole, half = rows(done), rows(halved)
    ran = [int(row["epochs_run"]) for row in half]
    assert sorted(ran) == [2, 2, 2, 2, 4, 12]
    for m, epochs in enumerate(ran):
        for name in run_folder.CURVES:
            np.testing.assert_array_equal(curves(halved)[name][m, :epochs], curves(done)[name][m, :epochs])
            assert np.isnan(curves(halved)[name][m, epochs:]).all()
        assert half[m]["state"] == ("finished" if epochs == 12 else "pruned")
        if epochs == 12:
            assert half[m] == whole[m]
        else:
            assert (
                float(half[m]["val_end"]) == curves(done)["val"][m, epochs - 1]
                or half[m]["diverged"] == "True"
            )
    val = np.nanmin(curves(done)["val"][:, :2], axis=1, initial=np.inf)
    assert val[np.array(ran) > 2].max() < val[np.array(ran) == 2].min()


@pytest.mark.parametrize("halving", [None, HALVING])
def test_a_task_cut_short_again_and_again_is_the_uninterrupted_one(
    done, halved, halving, tmp_path, monkeypatch
):
    folder = tasks.write(tmp_path / "task", CELLS, halving)
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
            assert 0 < rungs.progress(folder / "rungs") < 12 * 6
    assert tasks.results(folder) == tasks.results(done if halving is None else halved)
    assert run_folder.read_json(folder / "timing.json")["attempts"] > 3


@pytest.mark.parametrize("halving", [None, HALVING])
def test_what_does_not_fit_into_memory_is_halved_and_comes_out_the_same(
    done, halved, halving, tmp_path, monkeypatch
):
    folder = tasks.write(tmp_path / "task", CELLS, halving)
    probe = training.probe

    def small_memory(learner, layout, member_M, data):
        if member_M.hp.rates_S.shape[0] > 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")
        return probe(learner, layout, member_M, data)

    monkeypatch.setattr(training, "probe", small_memory)
    assert task.run(str(folder))["state"] == "finished"
    assert [row["parts"] for row in events.read(folder) if row["event"] == "memory"] == [2, 4]
    assert run_folder.read_json(folder / "timing.json")["parts"] == 4
    assert tasks.results(folder) == tasks.results(done if halving is None else halved)


def test_where_not_even_one_cell_fits_the_task_has_failed_and_says_so_and_is_tried_again(
    done, tmp_path, monkeypatch
):
    folder = tasks.write(tmp_path / "task", CELLS)
    with monkeypatch.context() as patch:

        def none(*arguments):
            raise MemoryError("9 bytes")

        patch.setattr(training, "probe", none)
        assert task.run(str(folder)) == {"state": "failed", "why": "MemoryError: 9 bytes", "baselines": {}}
    assert {(row["state"], row["why"]) for row in task.rows(folder)} == {("failed", "MemoryError: 9 bytes")}
    assert [row["number"] for row in task.rows(folder)] == [40, 41, 42, 43, 44, 45]
    shutil.copy(done / "attempts.jsonl", folder)  # as if there were more memory now
    assert task.run(str(folder))["state"] == "finished"
    assert tasks.results(folder) == tasks.results(done)
    assert task.rows(folder) == rows(done)


def test_on_a_full_disk_the_task_ends_with_74_and_goes_on_when_there_is_room(
    done, tmp_path, monkeypatch, capsys
):
    folder = tasks.write(tmp_path / "task", CELLS)
    (folder / "rows.part").symlink_to("/dev/full")
    assert task.main([str(folder)]) == exits.IO_ERROR
    assert "No space left on device" in capsys.readouterr().err
    assert task.rows(folder)[0]["why"] == "it was not run"
    (folder / "rows.part").unlink()
    monkeypatch.setattr(run_folder, "append_metrics", None)  # all was trained
    assert task.main([str(folder)]) == 0
    assert tasks.results(folder) == tasks.results(done)


def test_a_task_in_use_is_waited_for_and_then_refused(tmp_path, monkeypatch, capsys):
    folder = tasks.write(tmp_path / "task", CELLS)
    monkeypatch.setattr(task, "WAIT", 0.2)
    with lock.hold(folder):
        assert task.main([str(folder)]) == 2
    assert "is in use by process" in capsys.readouterr().err
    assert not events.read(folder)


def test_a_task_that_cannot_be_understood_fails_in_a_sentence(tmp_path, capsys):
    folder = tasks.write(tmp_path / "task", CELLS, {"epochs": [4, 2], "keep": 0.5})
    assert task.main([str(folder)]) == 1
    assert "failed: ValueError: halving.epochs: [4, 2]" in capsys.readouterr().out


def test_other_data_than_the_sweep_was_begun_with_are_refused(tmp_path):
    folder = tasks.write(tmp_path / "task", CELLS)
    stored = run_folder.read_json(folder / "task.json")
    run_folder.write_json(folder / "task.json", stored | {"data": "of another series"})
    why = task.run(str(folder))["why"]
    assert why == "ValueError: data: other values of sines than the sweep was begun with; allowed: the same"


def test_a_line_that_was_cut_off_is_no_event(tmp_path):
    events.note(tmp_path, "memory", parts=4, why="it")
    with (tmp_path / "attempts.jsonl").open("a") as file:
        file.write('{"event": "mem')
    assert [row["event"] for row in events.read(tmp_path)] == ["memory"]
    assert events.parts(tmp_path) == 4


def test_the_baselines_are_those_of_the_main_job(done):
    built = build(tasks.SMALL, source.open_source(tasks.SMALL, "sines").split)
    assert run_folder.read_json(done / "done.json")["baselines"] == outcome.loss_of_baselines("mse", built)


def test_space_that_runs_out_is_no_failure_of_the_task(tmp_path, monkeypatch):
    folder = tasks.write(tmp_path / "task", CELLS)

    def full(*arguments, **named):
        raise OSError(errno.ENOSPC, "no")

    monkeypatch.setattr(rungs, "climb", full)
    with pytest.raises(OSError, match="no"):
        task.run(str(folder))
    assert not (folder / "done.json").exists()
