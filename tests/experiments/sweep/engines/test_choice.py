"""Tasks on real Ray clusters and as real submitit jobs: the tables of the local engine, bit for bit, whatever is
killed."""

import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from helpers import clusters, nodes

from experiments.harness import exits
from experiments.harness.exits import Interrupted
from experiments.sweep.config import Cluster
from experiments.sweep.engines import local_engine, ray_engine, slurm_engine
from experiments.sweep.task import run as task

pytest.importorskip("ray")
pytest.importorskip("submitit")


@pytest.fixture(scope="module", autouse=True)
def _programs(tmp_path_factory):
    """What one task has compiled the others read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LSTM_SCHED_CACHE", str(tmp_path_factory.mktemp("programs")))
        patch.setenv("JAX_PLATFORMS", "cpu")
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What the local engine makes of two tasks."""
    folders = clusters.two(tmp_path_factory.mktemp("whole"))
    local_engine.run(folders, 2, 0)
    return clusters.tables(folders)


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
def test_a_cluster_of_its_own_gives_the_local_tables_and_is_reached_from_this_host_alone(whole, tmp_path):
    folders = clusters.two(tmp_path / "tasks")
    process = clusters.controller(folders, "engine_ray", environment=os.environ | {"HOME": str(tmp_path)})
    clusters.wait_until(lambda: clusters.far(folders[0]), process)
    found = listening(list(nodes.below(process.pid)))
    clusters.ended(process)
    assert clusters.tables(folders) == whole
    assert found
    assert found <= {"0100007F", "0000000000000000FFFF00000100007F"}  # 127.0.0.1
    assert not (tmp_path / ".ray").exists()


@pytest.mark.fault
def test_a_killed_controller_and_then_a_killed_node_change_no_bit(whole, tmp_path):
    folders = clusters.two(tmp_path)
    with nodes.cluster() as (address, environment, running):
        asked = ("engine_ray", f"Cluster({address!r})", environment)
        first = clusters.controller(folders, *asked)
        clusters.wait_until(lambda: all(map(clusters.far, folders)), first)
        first.send_signal(signal.SIGKILL)
        first.communicate()
        second = clusters.controller(folders, *asked)

        def lost():
            below = set(nodes.below(running[1].pid))
            there = [f for f in folders if clusters.far(f, 2) and clusters.beginnings(f)[-1]["pid"] in below]
            return there[0] if there else None

        again = clusters.wait_until(lost, second)
        nodes.kill(running.pop())
        clusters.ended(second)
    assert clusters.tables(folders) == whole
    assert {folder: len(clusters.beginnings(folder)) for folder in folders} == {
        folder: 3 if folder == again else 2 for folder in folders
    }


def test_an_address_where_nothing_answers_is_told_at_once():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with (
            pytest.raises(exits.Refused, match=f"address: nothing answers at {address}"),
            ray_engine.connected(Cluster(address), 1),
        ):
            pass


def test_where_ray_is_missing_it_is_said_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"ray is not installed; pip install 'lstm_sched\[ray\]'"):
        ray_engine.imported(Cluster("auto"))


def test_a_task_without_a_gpu_sees_the_cpu_alone():
    assert ray_engine.environment(Cluster()) == {"JAX_PLATFORMS": "cpu"}
    assert ray_engine.environment(Cluster(gpus=0.5)) == {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


@pytest.mark.fault
def test_a_preempted_job_is_queued_again_and_goes_on_to_the_local_tables(whole, tmp_path):
    folders = clusters.two(tmp_path / "tasks")
    process = clusters.controller(folders, "engine_slurm", "slurm=Slurm(local=True)")
    clusters.wait_until(lambda: clusters.far(folders[0]), process)
    os.kill(clusters.beginnings(folders[0])[0]["pid"], signal.SIGUSR2)
    said = clusters.ended(process)
    assert clusters.tables(folders) == whole
    assert [len(clusters.beginnings(folder)) for folder in folders] == [2, 1]
    assert " died " not in said  # it was no failure
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


@pytest.mark.parametrize(("time", "minutes"), [("04:00:00", 240), ("1-00:00:01", 1441), ("0:01:00", 1)])
def test_a_time_is_read_as_slurm_writes_it(time, minutes):
    assert slurm_engine.minutes(time) == minutes


@pytest.mark.parametrize("time", ["4h", "10:00", "-1:00:00", "a-00:00:01", "00:00:00"])
def test_another_time_is_refused(time):
    with pytest.raises(ValueError, match=f"slurm.time: {time}; allowed: "):
        slurm_engine.minutes(time)


def test_where_submitit_is_missing_it_is_said_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ValueError, match=r"submitit is not installed; pip install 'lstm_sched\[slurm\]'"):
        slurm_engine.imported()
