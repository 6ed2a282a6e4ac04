"""Tasks as processes: what kills them, or who runs them, changes no bit of what they find."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import tasks
from hypothesis import given
from hypothesis import strategies as st

from experiments.harness import run_folder
from experiments.harness.exits import Interrupted
from experiments.sweep.engines import local_engine
from experiments.sweep.task import events as ev

ROOT = Path(__file__).parents[4]
EPOCHS = 100


@pytest.fixture(scope="module", autouse=True)
def _here():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_PLATFORMS", "cpu")
        patch.chdir(ROOT)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Folders of two tasks that ran to their ends."""
    folders = two(tmp_path_factory.mktemp("whole"))
    local_engine.run(folders[:1], 2, 0)
    local_engine.run(folders, 2, 0)
    return folders


def two(base):
    """Two tasks of one program."""
    return [
        tasks.write(base / str(i), tasks.cells(lrs=(1e-3, 1e-2), seeds=(8 + i,), first=4 * i), epochs=EPOCHS)
        for i in range(2)
    ]


@pytest.fixture
def stand_in(monkeypatch):
    """Have the engine start a program of Python in place of a task; its folder is sys.argv[-1]."""
    started = subprocess.Popen

    def stand_in(program):
        command = [sys.executable, "-c", program]
        monkeypatch.setattr(
            local_engine.subprocess, "Popen", lambda words, **named: started([*command, words[-1]], **named)
        )

    return stand_in


def beginnings(folder):
    return [row for row in ev.read(folder) if row["event"] == "began"]


@pytest.mark.fault
def test_a_killed_worker_goes_on_and_the_other_is_untouched(whole, tmp_path):
    folders, events = two(tmp_path), []

    def tell(event):
        events.append(event)
        if (event.what, event.folder) == ("progress", folders[0]) and len(beginnings(folders[0])) == 1:
            os.kill(beginnings(folders[0])[-1]["pid"], signal.SIGKILL)

    found = local_engine.run(folders, 2, 1, tell)
    assert [found[folder]["state"] for folder in folders] == ["finished", "finished"]
    assert [tasks.results(folder) for folder in folders] == [tasks.results(folder) for folder in whole]
    assert [row["event"] for row in ev.read(folders[0])] == ["began", "died", "began"]
    assert [row["event"] for row in ev.read(folders[1])] == ["began"]
    told = [(event.what, event.why) for event in events if event.folder == folders[0]]
    assert [pair for pair in told if pair[0] != "progress"] == [
        ("started", ""),
        ("died", "SIGKILL"),
        ("started", ""),
        ("finished", ""),
    ]
    epochs = [e.epochs for e in events if (e.what, e.folder) == ("progress", folders[0])]
    assert epochs == sorted(epochs)
    assert 0 < epochs[0] < 4 * EPOCHS


@pytest.mark.fault
def test_a_killed_controller_takes_its_workers_along_and_the_next_one_goes_on(whole, tmp_path):
    folders = two(tmp_path)
    program = (  # on one core, as each of two workers
        "import os, sys; from pathlib import Path; from experiments import engine_local;"
        "os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1]);"
        "engine_local.run([Path(p) for p in sys.argv[1:]], 1, 0, lambda e: print(e.what, flush=True))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, *map(str, folders)], stdout=subprocess.PIPE, text=True
    ) as controller:
        assert controller.stdout is not None
        seen = []
        for line in controller.stdout:
            seen.append(line.strip())
            if "finished" in seen and seen[-1] == "progress":
                controller.kill()
    assert controller.returncode == -signal.SIGKILL
    first = tasks.results(folders[0])
    while (folders[1] / "lock.part").exists():  # its worker has been told to stop
        time.sleep(0.05)
    [status] = map(run_folder.read_json, folders[1].glob("rungs/*/*/*/status.json"))
    assert (status["state"], status["saved"]) == ("interrupted", status["epochs"])
    found = local_engine.run(folders, 2, 0)
    assert [done["state"] for done in found.values()] == ["finished", "finished"]
    assert [len(beginnings(folder)) for folder in folders] == [1, 2]
    assert tasks.results(folders[0]) == first
    assert [tasks.results(folder) for folder in folders] == [tasks.results(folder) for folder in whole]


@pytest.mark.fault
def test_a_signal_is_passed_on_once_and_the_tasks_are_waited_for(tmp_path, stand_in):
    folders = [tmp_path / str(i) for i in range(3)]
    for folder in folders:
        (folder / "rungs/1/0-9/0-2").mkdir(parents=True)
    stand_in(
        "import json, signal, sys, time; from pathlib import Path; folder = Path(sys.argv[-1]); told = []\n"
        "signal.signal(signal.SIGTERM, lambda signum, frame: told.append(signum))\n"
        "(folder / 'rungs/1/0-9/0-2/status.json').write_text(json.dumps({'epochs': 3}))\n"
        "while not told: time.sleep(0.01)\n"
        "time.sleep(0.3); (folder / 'saved').write_text(str(told)); sys.exit(75)"
    )
    events = []

    def tell(event):
        events.append(event)
        if sum(event.what == "progress" for event in events) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted) as stopped:
        local_engine.run(folders, 2, 0, tell)
    assert (stopped.value.signum, stopped.value.folder) == (signal.SIGTERM, tmp_path)
    assert [event.epochs for event in events if event.what == "progress"] == [6, 6]
    assert [(folder / "saved").read_text() for folder in folders[:2]] == ["[15]", "[15]"]
    assert not (folders[2] / "saved").exists()
    assert not list(tmp_path.glob("*/done.json"))


@pytest.mark.fault
def test_what_dies_too_often_is_given_up_and_the_others_go_on(tmp_path, stand_in):
    hopeless, other = tmp_path / "hopeless", tmp_path / "other"
    hopeless.mkdir()
    other.mkdir()
    done = {"state": "finished", "why": "", "baselines": {}}
    stand_in(
        "import sys; from pathlib import Path; folder = Path(sys.argv[-1])\n"
        "if folder.name == 'hopeless': sys.exit(74)\n"
        f"(folder / 'done.json').write_text('{json.dumps(done)}')"
    )
    found = local_engine.run([hopeless, other], 1, 1)
    why = "its process died 2 times: exit code 74, nothing more could be written"
    assert found == {hopeless: {"state": "failed", "why": why, "baselines": {}}, other: done}
    assert run_folder.read_json(hopeless / "done.json") == found[hopeless]


@pytest.mark.fault
def test_a_worker_that_is_killed_twice_is_given_half_as_many_cells_at_once(tmp_path, stand_in):
    folder = tmp_path / "task"
    folder.mkdir()
    stand_in("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    found = local_engine.run([folder], 1, 3)
    assert found[folder]["why"] == "its process died 4 times: SIGKILL"
    noted = [(row["event"], row.get("parts")) for row in ev.read(folder)]
    died = ("died", None)
    assert noted == [died, died, ("memory", 2), died, ("memory", 4), died, ("memory", 8)]


def test_tasks_that_are_finished_start_no_process(whole, monkeypatch):
    monkeypatch.setattr(local_engine.subprocess, "Popen", None)
    assert [done["state"] for done in local_engine.run(whole, 2, 0).values()] == ["finished", "finished"]


def test_no_workers_are_refused():
    with pytest.raises(ValueError, match="workers: 0, retries: 1; allowed: 1 or more, 0 or more"):
        local_engine.run([], 0, 1)


@given(st.sets(st.integers(0, 63), min_size=1), st.integers(1, 9), st.integers(0, 4))
def test_workers_share_all_cores_evenly_and_no_core_twice_unless_they_must(cores, workers, gpus):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda pid: cores)
        patch.delenv("JAX_PLATFORMS", raising=False)
        patch.setenv("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(gpus))))
        found = local_engine.places(workers)
    shares = [place.cores for place in found]
    assert len(shares) == workers
    if workers <= len(cores):
        assert frozenset().union(*shares) == cores
        assert sum(map(len, shares)) == len(cores)
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
    else:
        assert all(len(share) == 1 for share in shares)
        assert set().union(*shares) == cores
    seen = [place.environment.get("CUDA_VISIBLE_DEVICES") for place in found]
    assert all(gpu is None for gpu in seen) == (gpus == 0)
    assert not gpus or set(",".join(map(str, seen)).split(",")) == set(map(str, range(gpus)))


def test_a_program_that_was_started_with_no_parent_is_not_stopped_by_its_input(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "experiments.sweep.task", str(tmp_path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    assert done.returncode == 74
    assert b"task.json" in done.stderr
