"""Real tasks as processes of this host, on real Ray clusters and as real submitit jobs.

Whatever is killed, they end with the results of tasks that were carried out in one process, bit for bit.
"""

import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest
from helpers import clusters, nodes, tasks

from experiments.harness import exits, lock, run_folder
from experiments.harness.exits import Interrupted
from experiments.sweep.engines import local_engine, ray_engine, slurm_engine
from experiments.sweep.engines.options import Cluster
from experiments.sweep.task import events
from experiments.sweep.task import run as task

EPOCHS = 240  # long enough for whatever is to be killed while it trains


@pytest.fixture(scope="module", autouse=True)
def _on_the_cpu():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_PLATFORMS", "cpu")
        tasks.share_program(patch)
        yield


def new_tasks(base, count=2, save_every=0.5):
    """The folders of tasks of one program that nobody has begun."""
    fields = {"epochs": EPOCHS, "save_every": save_every}
    return [
        tasks.write(base / str(i), tasks.trials(lrs=(1e-3, 1e-2), seeds=(8 + i,), first=4 * i), **fields)
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The results of two tasks that ran to their ends in this process."""
    folders = new_tasks(tmp_path_factory.mktemp("whole"), save_every=60.0)
    for folder in folders:
        task.run(str(folder))
    return list(map(tasks.results, folders))


@pytest.mark.fault
def test_a_killed_worker_and_then_a_killed_controller_change_no_bit(whole, tmp_path):
    folders = new_tasks(tmp_path)
    process = clusters.controller(folders, "local_engine")
    clusters.wait_until(lambda: clusters.trains(folders[0]), process)
    os.kill(clusters.beginnings(folders[0])[0]["pid"], signal.SIGKILL)
    clusters.wait_until(lambda: clusters.trains(folders[0], 2), process)
    assert clusters.resumed(folders[0])[0] > 0
    process.kill()
    printed, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert "kind='died', epochs=0, why='SIGKILL'" in printed
    assert [row["event"] for row in events.read(folders[0])] == ["began", "died", "began"]
    assert [row["event"] for row in events.read(folders[1])] == ["began"]
    for folder in folders:
        while (folder / lock.FILE).exists():  # its worker has been told to stop
            time.sleep(0.05)
        for status in map(run_folder.read_json, folder.glob("rungs/*/*/*/status.json")):
            assert (status["state"], status["saved"]) == ("interrupted", status["epochs"])
        assert task.run(str(folder))["state"] == "finished"
    assert list(map(tasks.results, folders)) == whole
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_engine.subprocess, "Popen", None)  # no process is started for a finished task
        assert [done["state"] for done in local_engine.run(folders, 2, 0).values()] == ["finished"] * 2


def listening(pids):
    """Addresses at which these processes listen, as the kernel writes them."""
    links = set()
    for pid in pids:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                links.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
            except FileNotFoundError:
                continue
    lines = [Path(f"/proc/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    rows = [line.split() for both in lines for line in both]
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in links}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.fault
def test_a_ray_cluster_of_its_own_is_reached_from_this_host_alone(whole, tmp_path):
    pytest.importorskip("ray")
    [folder] = new_tasks(tmp_path / "tasks", 1)
    process = clusters.controller([folder], "ray_engine", environment=os.environ | {"HOME": str(tmp_path)})
    clusters.wait_until(lambda: clusters.trains(folder), process)
    addresses = listening(list(nodes.below(process.pid)))
    clusters.finished(process, 1)
    assert tasks.results(folder) == whole[0]
    assert addresses
    assert addresses <= {"0100007F", "0000000000000000FFFF00000100007F"}  # 127.0.0.1
    assert not (tmp_path / ".ray").exists()


@pytest.mark.fault
def test_a_killed_controller_and_then_a_killed_ray_node_change_no_bit(whole, tmp_path):
    pytest.importorskip("ray")
    folders = new_tasks(tmp_path)
    with nodes.cluster() as (address, environment, running):
        asked = ("ray_engine", f"Cluster({address!r})", environment)
        first = clusters.controller(folders, *asked)
        clusters.wait_until(lambda: all(map(clusters.trains, folders)), first)
        first.send_signal(signal.SIGKILL)
        first.communicate()
        second = clusters.controller(folders, *asked)

        def on_second_node():
            pids = set(nodes.below(running[1].pid))
            there = [
                f for f in folders if clusters.trains(f, 2) and clusters.beginnings(f)[-1]["pid"] in pids
            ]
            return there[0] if there else None

        lost = clusters.wait_until(on_second_node, second)
        nodes.kill(running.pop())
        clusters.finished(second, 2)
    assert list(map(tasks.results, folders)) == whole
    assert [len(clusters.beginnings(folder)) for folder in folders] == [2 + (f == lost) for f in folders]


def test_an_address_where_nothing_answers_is_refused_at_once():
    pytest.importorskip("ray")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with (
            pytest.raises(exits.Refused, match=f"address: nothing answers at {address}"),
            ray_engine.connected(Cluster(address), 1),
        ):
            pass


def test_a_ray_task_without_a_gpu_sees_the_cpu_alone():
    assert ray_engine.environment(Cluster()) == {"JAX_PLATFORMS": "cpu"}
    assert ray_engine.environment(Cluster(gpus=0.5)) == {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


@pytest.mark.fault
def test_a_preempted_job_is_queued_again_and_goes_on_to_the_same_bits(whole, tmp_path):
    pytest.importorskip("submitit")
    [folder] = new_tasks(tmp_path / "tasks", 1)
    process = clusters.controller([folder], "slurm_engine", "slurm=Slurm(local=True)")
    clusters.wait_until(lambda: clusters.trains(folder), process)
    os.kill(clusters.beginnings(folder)[0]["pid"], signal.SIGUSR2)
    printed = clusters.finished(process, 1)
    assert tasks.results(folder) == whole[0]
    assert len(clusters.beginnings(folder)) == 2
    assert "died" not in printed  # it was no failure
    logs = [path.read_text() for path in (tmp_path / "submitit").glob("*.err")]
    assert sum("Requeued job" in log for log in logs) + sum("preempted" in log for log in logs) >= 1


def test_a_job_that_saved_for_its_queue_hands_over_to_submitits_handler(tmp_path, monkeypatch):
    seen = []
    before = signal.signal(signal.SIGUSR2, lambda signum, frame: seen.append(signum))
    monkeypatch.setattr(slurm_engine, "SAVING", 0.0)

    def preempted(folder, cores, patient):
        raise Interrupted(signal.SIGUSR2, tmp_path)

    monkeypatch.setattr(task, "run", preempted)
    (tmp_path / "task.json").write_text("{}")
    try:
        with pytest.raises(Interrupted):
            slurm_engine.Job(str(tmp_path), 1, False)()
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert seen == [signal.SIGUSR2]
