"""Tasks on a Ray cluster, an existing one or one started here: one fresh process per task, on any host that has room.

The extra `ray` is imported here, when it is asked for, and nowhere else. Ray starts a task again whose process or host
is lost; it goes on from its checkpoint. Whoever reaches a Ray cluster can run anything on it: it belongs on a closed
network. One that is started here listens on 127.0.0.1 alone, to those who know a token that is written nowhere.
"""

import contextlib
import functools
import math
import os
import secrets
import signal
import socket
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from experiments.harness import exits, lock
from experiments.harness.exits import Interrupted
from experiments.sweep.engines import base, local_engine
from experiments.sweep.engines.base import Death, Ended, Engine, Notify, drive, ignore
from experiments.sweep.engines.options import Cluster
from experiments.sweep.task import events

PAUSE = 1.0  # seconds between looks at the tasks
SAVING = 60.0  # seconds for which tasks that were told to stop are waited for
STORE = (
    80 * 2**20
)  # bytes of memory for objects that tasks pass on, which is nothing: the least that Ray accepts
LAST = Path("/tmp/ray/ray_current_cluster")  # Ray's note of the cluster that was last started on this host
CLOSED = {  # environment of a cluster that is started here
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # despite its name: everything listens on 127.0.0.1 alone
}


def imported(cluster: Cluster) -> Any:
    """Ray, imported. ValueError where it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if cluster.address is None:  # for the whole process: Ray reads them once, when it is imported
        os.environ.update(CLOSED, RAY_AUTH_TOKEN=_token())
    try:
        import ray
    except ImportError as e:
        raise ValueError("engine: ray is not installed; pip install 'lstm_sched[ray]'") from e
    return ray


@functools.cache
def _token() -> str:
    return secrets.token_hex(32)


def most(cluster: Cluster) -> int:
    """Tasks for which there is room at once. Refused where there is no cluster, ValueError where it has no room."""
    if cluster.address is None:
        return local_engine.most()
    with connected(cluster, 1) as ray:
        resources = ray.cluster_resources()
    cpus, gpus = resources.get("CPU", 0), resources.get("GPU", 0)
    room = cpus / cluster.cpus if cluster.cpus else math.inf
    if cluster.gpus:
        room = min(room, gpus / cluster.gpus)
    if room < 1:
        raise ValueError(
            f"cpus: {cluster.cpus}, gpus: {cluster.gpus} per task; allowed: what the cluster has, {cpus:g} CPUs and "
            f"{gpus:g} GPUs"
        )
    return int(room)


def run(
    folders: Sequence[Path],
    workers: int,
    retries: int,
    notify: Notify = ignore,
    cluster: Cluster = Cluster(),  # noqa: B008  frozen
) -> Ended:
    """As `base.drive`. Ray itself starts a lost task again, `retries` times."""
    ended_before = {folder: done for folder in folders if (done := events.finished(folder)) is not None}
    if len(ended_before) == len(folders):  # nothing to connect for
        return ended_before
    with connected(cluster, workers) as ray:
        perform = ray.remote(
            num_cpus=cluster.cpus,
            num_gpus=cluster.gpus,
            max_calls=1,  # each task has a process of its own, which leaves no memory behind
            max_retries=retries,
            retry_exceptions=[exits.Refused, lock.InUse, OSError, Interrupted],
            runtime_env={"env_vars": environment(cluster)},
        )(base.perform)

        def start(folder: Path) -> Any:
            return perform.remote(str(folder.absolute()), math.ceil(cluster.cpus), cluster.gpus > 0)

        def ended(ref: Any) -> dict[str, Any] | Death | None:
            if not ray.wait([ref], timeout=0)[0]:
                return None
            try:
                return ray.get(ref)
            except ray.exceptions.RayTaskError as e:
                return Death(how=_first_line(e.cause), final=True)
            except ray.exceptions.RayError as e:
                return Death(how=f"{type(e).__name__}: {_first_line(e)}", final=True)

        def stop(refs: Sequence[Any], signum: int) -> None:
            for ref in refs:
                ray.cancel(ref)  # as Ctrl-C does
            if refs:
                ray.wait(list(refs), num_returns=len(refs), timeout=SAVING)

        engine = Engine(start=start, ended=ended, stop=stop)
        return drive(engine, folders, workers, retries, notify, PAUSE)


def environment(cluster: Cluster) -> dict[str, str]:
    """A task's: the CPU alone without a GPU; of a GPU no more memory than it needs, as other tasks may share it."""
    return {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"} if cluster.gpus else {"JAX_PLATFORMS": "cpu"}


@contextlib.contextmanager
def connected(cluster: Cluster, workers: int) -> Iterator[Any]:
    """Ray, connected to the cluster, or to one that lives as long as the context. Refused where nothing answers."""
    ray = imported(cluster)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if cluster.address is None:
        options |= {"address": "local", "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        options |= {"num_cpus": math.ceil(workers * cluster.cpus), "object_store_memory": STORE}
    else:
        _check_address(cluster.address)
        options["address"] = cluster.address
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with warnings.catch_warnings():
            # JAX warns of forks; a process that Ray forks executes another program at once
            warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)
            ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as e:
        raise exits.Refused(f"address: {cluster.address}: {_first_line(e)}") from e
    finally:
        signal.signal(signal.SIGTERM, handler)  # that of Ray would end this process at once
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Refused where nothing listens at HOST:PORT, for which Ray itself would wait."""
    place = address
    if address == "auto":  # the last cluster of this host, which may have ended
        place = os.environ.get("RAY_ADDRESS") or (LAST.read_text(encoding="utf-8") if LAST.exists() else "")
    host, _, port = place.strip().rpartition(":")
    if not (host and port.isdecimal() and "/" not in host):
        return  # Ray itself knows such an address or refuses it
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as e:
        raise exits.Refused(
            f"address: nothing answers at {address} ({e}); allowed: auto, or HOST:PORT"
        ) from e


def _first_line(e: BaseException) -> str:
    return str(e).strip().partition("\n")[0] or type(e).__name__
