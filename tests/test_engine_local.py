"""Tasks as processes: what kills them, or who runs them, changes no bit of what they find."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tasks
from hypothesis import given
from hypothesis import strategies as st

from experiments import attempts, engine_local, record
from experiments.signals import Interrupted

ROOT = Path(__file__).parent.parent
EPOCHS = 100


@pytest.fixture(scope="module", autouse=True)
def _programs(tmp_path_factory):
    """What one worker has compiled the others read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LSTM_SCHED_CACHE", str(tmp_path_factory.mktemp("programs")))
        patch.setenv("JAX_PLATFORMS", "cpu")
        patch.chdir(ROOT)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Folders of two tasks that ran to their ends."""
    folders = three(tmp_path_factory.mktemp("whole"))[:2]
    engine_local.run(folders[:1], 2, 0)
    engine_local.run(folders, 2, 0)
    return folders


def three(base):
    """Two tasks of one program, and one that cannot be."""
    made = [
        tasks.write(base / str(i), tasks.cells(lrs=(1e-3, 1e-2), seeds=(8 + i,), first=4 * i), epochs=EPOCHS)
        for i in range(3)
    ]
    (made[2] / "task.json").unlink()
    return made


def beginnings(folder):
    return [row for row in attempts.read(folder) if row["event"] == "began"]


@pytest.mark.fault
def test_a_killed_worker_goes_on_a_hopeless_one_is_given_up_and_the_others_are_untouched(whole, tmp_path):
    folders, events = three(tmp_path), []

    def tell(event):
        events.append(event)
        if (event.what, event.folder) == ("progress", folders[0]) and len(beginnings(folders[0])) == 1:
            os.kill(beginnings(folders[0])[-1]["pid"], signal.SIGKILL)

    found = engine_local.run(folders, 2, 1, tell)
    assert [found[folder]["state"] for folder in folders] == ["finished", "finished", "failed"]
    assert [tasks.results(folder) for folder in folders[:2]] == [tasks.results(folder) for folder in whole]
    assert [row["event"] for row in attempts.read(folders[0])] == ["began", "died", "began"]
    assert [row["event"] for row in attempts.read(folders[1])] == ["began"]
    why = "its process died 2 times: exit code 74, nothing more could be written"
    assert found[folders[2]] == record.read_json(folders[2] / "done.json")
    assert found[folders[2]]["why"] == why
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
    folders = three(tmp_path)[:2]
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
    found = engine_local.run(folders, 2, 0)
    assert [done["state"] for done in found.values()] == ["finished", "finished"]
    assert [len(beginnings(folder)) for folder in folders] == [1, 2]
    assert tasks.results(folders[0]) == first
    assert [tasks.results(folder) for folder in folders] == [tasks.results(folder) for folder in whole]


@pytest.mark.fault
def test_a_signal_is_passed_on_and_all_is_saved(whole, tmp_path):
    folders = three(tmp_path)[:1]

    def tell(event):
        if event.what == "progress":
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted) as stopped:
        engine_local.run(folders, 2, 0, tell)
    assert (stopped.value.signum, stopped.value.folder) == (signal.SIGTERM, tmp_path)
    states = [record.read_json(path) for path in tmp_path.glob("*/rungs/*/*/*/status.json")]
    assert "interrupted" in [status["state"] for status in states]
    assert all(status["saved"] == status["epochs"] for status in states)
    for row in (row for folder in folders for row in beginnings(folder)):
        with pytest.raises(ProcessLookupError):
            os.kill(row["pid"], 0)
    engine_local.run(folders, 2, 0)
    assert tasks.results(folders[0]) == tasks.results(whole[0])


@pytest.mark.fault
def test_a_worker_that_is_killed_twice_is_given_half_as_many_cells_at_once(tmp_path, monkeypatch):
    folder = tmp_path / "task"
    folder.mkdir()
    command = [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]
    started = subprocess.Popen

    def killed(arguments, **named):
        return started(command, **named)

    monkeypatch.setattr(engine_local.subprocess, "Popen", killed)
    found = engine_local.run([folder], 1, 3)
    assert found[folder]["why"] == "its process died 4 times: SIGKILL"
    noted = [(row["event"], row.get("parts")) for row in attempts.read(folder)]
    died = ("died", None)
    assert noted == [died, died, ("memory", 2), died, ("memory", 4), died, ("memory", 8)]


def test_tasks_that_are_finished_start_no_process(whole, monkeypatch):
    monkeypatch.setattr(engine_local.subprocess, "Popen", None)
    assert [done["state"] for done in engine_local.run(whole, 2, 0).values()] == ["finished", "finished"]


def test_no_workers_are_refused():
    with pytest.raises(ValueError, match="workers: 0, retries: 1; allowed: 1 or more, 0 or more"):
        engine_local.run([], 0, 1)


@given(st.sets(st.integers(0, 63), min_size=1), st.integers(1, 9), st.integers(0, 4))
def test_workers_share_all_cores_evenly_and_no_core_twice_unless_they_must(cores, workers, gpus):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda pid: cores)
        patch.delenv("JAX_PLATFORMS", raising=False)
        patch.setenv("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(gpus))))
        found = engine_local.places(workers)
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
        [sys.executable, "-m", "experiments.task", str(tmp_path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    assert done.returncode == 74
    assert b"task.json" in done.stderr
