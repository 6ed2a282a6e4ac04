"""What a host must have before a task begins there, how tasks that die are given up, and who may take a task over."""

import shutil
import socket
from collections import namedtuple

import pytest

from experiments.harness import exits, lock, run_folder
from experiments.sweep.engines import base
from experiments.sweep.task import events
from experiments.sweep.task import run as task

HOST = socket.gethostname()
DONE = {"state": "finished", "why": "", "baselines": {}}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "task.json").write_text("{}")
    return tmp_path


@pytest.fixture
def elsewhere(folder):
    """The folder of a task whose holder is a process of another host."""
    (folder / lock.FILE).write_text('{"pid": 1, "host": "elsewhere", "since": "then"}')
    return folder


def test_a_host_that_sees_the_folder_leaves_nothing_in_it(folder):
    base.check_host(folder)
    assert [path.name for path in folder.iterdir()] == ["task.json"]


def test_a_host_that_lacks_something_says_what(folder, monkeypatch):
    with pytest.raises(
        exits.Refused, match=f"{HOST} does not see {folder / 'x'}; allowed: --out in a folder"
    ):
        base.perform(str(folder / "x"), 1, False)
    with pytest.raises(exits.Refused, match=f"{HOST} was asked for a GPU, and JAX finds none"):
        base.check_host(folder, gpu=True)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: namedtuple("Usage", "free")(2**20))
        with pytest.raises(exits.Refused, match=f"1 MiB are free in .* as {HOST} sees it; allowed: 64 MiB"):
            base.check_host(folder)

    def refuse(path, written):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(folder), "write_bytes", refuse)
    with pytest.raises(exits.Refused, match=f"{HOST} cannot write in .*: Permission denied"):
        base.check_host(folder)


def dies(folder):
    """What became of a task whose process died more often than it may, and the kinds of the events."""
    notified = []
    dying = base.Engine(
        start=lambda folder: folder,
        ended=lambda handle: base.Death(how="SIGKILL"),
        stop=lambda handles, signum: None,
    )
    ended = base.drive(dying, [folder], 1, 0, notified.append, pause=0.0)
    return ended[folder], [event.kind for event in notified]


def test_a_task_that_its_lost_process_finished_after_all_has_not_failed(folder, monkeypatch):
    note = events.note

    def finish(path, event, **facts):  # between the process being given up and its failure being written
        note(path, event, **facts)
        run_folder.write_json(path / "done.json", DONE)

    monkeypatch.setattr(events, "note", finish)
    assert dies(folder) == (DONE, ["started", "died", "finished"])
    assert run_folder.read_json(folder / "done.json") == DONE


def test_a_failure_is_written_where_nobody_works_on_the_task(folder):
    done, kinds = dies(folder)
    assert done["why"] == "its process died 1 time: SIGKILL"
    assert kinds == ["started", "died", "failed"]
    assert run_folder.read_json(folder / "done.json") == done


def test_a_failure_is_not_written_where_a_process_may_still_work(elsewhere):
    done, kinds = dies(elsewhere)
    assert (done["state"], kinds) == ("failed", ["started", "died", "died", "failed"])
    assert not (elsewhere / "done.json").exists()


def test_no_workers_are_refused(folder):
    with pytest.raises(ValueError, match="workers: 0, retries: 1; allowed: 1 or more, 0 or more"):
        base.drive(base.Engine(start=print, ended=print, stop=print), [folder], 0, 1)


def test_a_holder_on_another_host_is_replaced_only_if_it_gave_no_sign_since(elsewhere):
    sign = lock.sign(elsewhere)
    with pytest.raises(lock.InUse, match="cannot be looked up"), lock.hold(elsewhere):
        pass
    with pytest.raises(lock.InUse), lock.hold(elsewhere, silent=f"1{sign}"):
        pass
    with lock.hold(elsewhere, silent=sign) as taken_over:
        assert "process 1 on elsewhere since then" in taken_over
    assert lock.sign(elsewhere) == ""


def test_only_an_engine_takes_over_from_a_host_that_fell_silent(elsewhere, monkeypatch):
    monkeypatch.setattr(task, "WAIT", 0.3)
    monkeypatch.setattr(task, "_carry_out", lambda path, cores: DONE)
    with pytest.raises(lock.InUse):
        task.run(str(elsewhere))
    assert task.run(str(elsewhere), patient=True) == DONE


def test_a_holder_has_a_pulse_and_ends_when_it_finds_itself_replaced(folder, monkeypatch):
    monkeypatch.setattr(lock, "PULSE", 0.01)
    ended = []
    monkeypatch.setattr(lock.os, "_exit", ended.append)
    with lock.hold(folder, pulse=True):
        first = lock.sign(folder)
        while lock.sign(folder) == first:
            pass
        assert not ended
        (folder / lock.FILE).write_text("{}")
        while not ended:
            pass
    assert set(ended) == {lock.LOST}
