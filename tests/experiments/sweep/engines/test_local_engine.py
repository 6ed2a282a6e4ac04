"""Processes of this host and their shares of it; small programs stand in for tasks."""

import json
import os
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.harness import run_folder
from experiments.harness.exits import Interrupted
from experiments.sweep.engines import local_engine
from experiments.sweep.task import events as ev

DONE = {"state": "finished", "why": "", "baselines": {}}


@pytest.fixture
def stand_in(monkeypatch):
    """Have the engine start a program of Python in place of a task; its folder is sys.argv[-1]."""
    return lambda program: monkeypatch.setattr(local_engine, "TASK", ("-c", program))


@pytest.mark.fault
def test_a_signal_is_passed_on_once_and_the_tasks_are_waited_for(tmp_path, stand_in):
    folders = [tmp_path / str(i) for i in range(3)]
    for folder in folders:
        (folder / "rungs/1/0-9/0-2").mkdir(parents=True)
    stand_in(
        "import json, signal, sys, time; from pathlib import Path; folder = Path(sys.argv[-1]); received = []\n"
        "signal.signal(signal.SIGTERM, lambda signum, frame: received.append(signum))\n"
        "(folder / 'rungs/1/0-9/0-2/status.json').write_text(json.dumps({'epochs': 3}))\n"
        "while not received: time.sleep(0.01)\n"
        "time.sleep(0.3); (folder / 'saved').write_text(str(received)); sys.exit(75)"
    )
    notified = []

    def notify(event):
        notified.append(event)
        if sum(event.kind == "progress" for event in notified) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted) as stopped:
        local_engine.run(folders, 2, 0, notify)
    assert (stopped.value.signum, stopped.value.folder) == (signal.SIGTERM, tmp_path)
    assert [event.epochs for event in notified if event.kind == "progress"] == [6, 6]
    assert [(folder / "saved").read_text() for folder in folders[:2]] == ["[15]", "[15]"]
    assert not (folders[2] / "saved").exists()
    assert not list(tmp_path.glob("*/done.json"))


@pytest.mark.fault
def test_a_task_that_dies_too_often_is_given_up_and_the_others_go_on(tmp_path, stand_in):
    hopeless, other = tmp_path / "hopeless", tmp_path / "other"
    hopeless.mkdir()
    other.mkdir()
    stand_in(
        "import sys; from pathlib import Path; folder = Path(sys.argv[-1])\n"
        "if folder.name == 'hopeless': sys.exit(74)\n"
        f"(folder / 'done.json').write_text('{json.dumps(DONE)}')"
    )
    why = "its process died 2 times: exit code 74, nothing more could be written"
    failed = {"state": "failed", "why": why, "baselines": {}}
    assert local_engine.run([hopeless, other], 1, 1) == {hopeless: failed, other: DONE}
    assert run_folder.read_json(hopeless / "done.json") == failed


@pytest.mark.fault
def test_a_worker_that_is_killed_twice_is_given_half_as_many_trials_at_once(tmp_path, stand_in):
    stand_in("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    ended = local_engine.run([tmp_path], 1, 3)
    assert ended[tmp_path]["why"] == "its process died 4 times: SIGKILL"
    noted = [(row["event"], row.get("slices")) for row in ev.read(tmp_path)]
    died = ("died", None)
    assert noted == [died, died, ("memory", 2), died, ("memory", 4), died, ("memory", 8)]


@given(st.sets(st.integers(0, 63), min_size=1), st.integers(1, 9), st.integers(0, 4))
def test_workers_share_all_cores_evenly_and_no_core_twice_unless_they_must(cores, workers, gpus):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda pid: cores)
        patch.delenv("JAX_PLATFORMS", raising=False)
        patch.setenv("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(gpus))))
        places = local_engine.places(workers)
    shares = [place.cores for place in places]
    assert len(shares) == workers
    if workers <= len(cores):
        assert frozenset().union(*shares) == cores
        assert sum(map(len, shares)) == len(cores)
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
    else:
        assert all(len(share) == 1 for share in shares)
        assert set().union(*shares) == cores
    visible = [place.environment.get("CUDA_VISIBLE_DEVICES") for place in places]
    assert all(gpu is None for gpu in visible) == (gpus == 0)
    assert not gpus or set(",".join(map(str, visible)).split(",")) == set(map(str, range(gpus)))


def test_a_task_that_was_started_without_a_parent_is_not_stopped_by_its_input(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "experiments.sweep.task", str(tmp_path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    assert done.returncode == 74
    assert b"task.json" in done.stderr
