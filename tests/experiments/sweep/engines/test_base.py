"""What a host must have before a task begins there, and which engine is chosen."""

import dataclasses
import shutil
import socket
import sys
from collections import namedtuple

import pytest

from experiments.harness import exits, lock, run_folder
from experiments.sweep.config import Cluster, Config, Slurm, of_dict
from experiments.sweep.engines import base, choice
from experiments.sweep.task import events
from experiments.sweep.task import run as task

HOST = socket.gethostname()
DONE = {"state": "finished", "why": "", "baselines": {}}
Usage = namedtuple("Usage", "free")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "task.json").write_text("{}")
    return tmp_path


def test_a_host_that_sees_the_folder_leaves_nothing_in_it(folder):
    base.check_host(folder)
    assert [path.name for path in folder.iterdir()] == ["task.json"]


def test_a_host_that_does_not_see_the_folder_says_so(tmp_path):
    with pytest.raises(exits.Refused, match=f"{HOST} does not see {tmp_path}; allowed: --out in a folder"):
        base.perform(str(tmp_path), 1, False)


def test_too_little_space_is_told(folder, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(2**20))
    with pytest.raises(exits.Refused, match=f"1 MiB are free in .* as {HOST} sees it; allowed: 64 MiB"):
        base.check_host(folder)


def test_a_folder_that_cannot_be_written_is_told(folder, monkeypatch):
    def refuse(path, word):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(folder), "write_bytes", refuse)
    with pytest.raises(exits.Refused, match=f"{HOST} cannot write in .*: Permission denied"):
        base.check_host(folder)


def test_a_promised_gpu_that_is_not_there_is_told(folder):
    with pytest.raises(exits.Refused, match=f"{HOST} was asked for a GPU, and JAX finds none there"):
        base.check_host(folder, gpu=True)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (Config(cluster=Cluster(cpus=0)), "cpus: 0, gpus: 0; allowed: 0 or more, and not both 0"),
        (Config(cluster=Cluster(address="auto")), "address: auto with engine local; allowed: with ray"),
        (Config(engine="submitit", slurm=Slurm(time="4h")), "slurm.time: 4h; allowed: "),
        (
            Config(engine="submitit"),
            "engine: submitit needs SLURM, and srun is not found here; allowed: --slurm.local",
        ),
    ],
)
def test_options_that_cannot_be_are_refused(config, said, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda program: None)
    with pytest.raises(ValueError) as refused:
        choice.check(config)
    assert said in str(refused.value)


@pytest.mark.parametrize(("name", "package"), [("ray", "ray"), ("submitit", "submitit")])
def test_a_missing_package_is_told_before_anything_is_planned(name, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=f"engine: {package} is not installed; pip install"):
        choice.check(Config(engine=name, cluster=Cluster("auto" if name == "ray" else None)))


def test_the_options_of_engines_come_back_from_their_json():
    config = Config(engine="ray", cluster=Cluster("auto", 2, 0.5), slurm=Slurm("gpu"))
    assert of_dict(dataclasses.asdict(config)) == config


def dies(folder):
    """What becomes of a task whose process is said to have died more often than it may; and what was told."""
    told = []
    dying = base.Engine(
        lambda folder: folder, lambda handle: base.Death("SIGKILL"), lambda handles, signum: None
    )
    found = base.drive(dying, [folder], 1, 0, told.append, pause=0.0)
    return found[folder], [event.what for event in told]


def test_a_task_that_its_lost_process_finished_after_all_has_not_failed(folder, monkeypatch):
    note = events.note

    def finish(path, event, **facts):  # between the process being given up and its failure being written
        note(path, event, **facts)
        run_folder.write_json(path / "done.json", DONE)

    monkeypatch.setattr(events, "note", finish)
    assert dies(folder) == (DONE, ["started", "died", "finished"])
    assert run_folder.read_json(folder / "done.json") == DONE


def test_a_failure_is_written_where_nobody_works_on_the_task(folder):
    done, told = dies(folder)
    assert done["why"] == "its process died 1 time: SIGKILL"
    assert told == ["started", "died", "failed"]
    assert run_folder.read_json(folder / "done.json") == done


def test_a_failure_is_not_written_where_a_process_may_still_work(elsewhere):
    done, told = dies(elsewhere)
    assert (done["state"], told) == ("failed", ["started", "died", "died", "failed"])
    assert not (elsewhere / "done.json").exists()


@pytest.fixture
def elsewhere(folder):
    """The folder of a task whose holder is a process of another host."""
    (folder / lock.FILE).write_text('{"pid": 1, "host": "elsewhere", "since": "then"}')
    return folder


def test_a_holder_on_another_host_is_replaced_only_if_it_gave_no_sign_since(elsewhere):
    sign = lock.sign(elsewhere)
    with pytest.raises(lock.InUse, match="cannot be looked up"), lock.hold(elsewhere):
        pass
    with pytest.raises(lock.InUse), lock.hold(elsewhere, silent=f"1{sign}"):
        pass
    with lock.hold(elsewhere, silent=sign) as said:
        assert "left by process 1 on elsewhere since then, which is dead; taken over" in said
    assert lock.sign(elsewhere) == ""


def test_only_an_engine_takes_over_from_a_host_that_fell_silent(elsewhere, monkeypatch):
    monkeypatch.setattr(task, "WAIT", 0.3)
    monkeypatch.setattr(task, "_attempt", lambda path, cores: {"state": "finished"})
    with pytest.raises(lock.InUse):
        task.run(str(elsewhere))
    assert task.run(str(elsewhere), patient=True) == {"state": "finished"}


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
