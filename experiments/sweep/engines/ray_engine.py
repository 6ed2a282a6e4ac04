"""Tasks on a Ray cluster, one that is there or one started here: a fresh process each, on any host that has room.

The extra `ray` is imported here, when it is asked for, and nowhere else. Ray starts what was lost again, with its host
or without; the task goes on from its checkpoint. Whoever reaches a Ray cluster can run anything on it: it belongs on a
closed network. One that is started here listens on 127.0.0.1 alone, to those who know a token that is written nowhere.
"""

import contextlib
import functools
import math
import os
import secrets
import signal
import socket
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from experiments.harness import exits, lock
from experiments.harness.exits import Interrupted
from experiments.sweep.config import Cluster
from experiments.sweep.engines import base, local_engine
from experiments.sweep.engines.base import Death, Engine, Event, drive
from experiments.sweep.task import run as task

PAUSE = 1.0  # seconds between looks at the tasks
SAVING = 60.0  # seconds for which tasks that were told to stop are waited for
STORE = 80 * 2**20  # bytes of memory for what tasks hand on, which is nothing: the least that Ray takes
LAST = Path("/tmp/ray/ray_current_cluster")  # Ray's note of the cluster that was last started on this host
ALONE = {  # of a cluster that is started here
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # by its name of other platforms: everything listens on 127.0.0.1 alone
}


def imported(asked: Cluster) -> Any:
    """Ray. ValueError where it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if asked.address is None:  # of the whole process: Ray reads them once, when it is imported
        os.environ.update(ALONE, RAY_AUTH_TOKEN=_token())
    try:
        import ray
    except ImportError as e:
        raise ValueError("engine: ray is not installed; pip install 'lstm_sched[ray]'") from e
    return ray


@functools.cache
def _token() -> str:
    return secrets.token_hex(32)


def most(asked: Cluster) -> int:
    """Tasks for which there is room at once. Refused where there is no such cluster, ValueError where it has none."""
    if asked.address is None:
        return local_engine.most()
    with connected(asked, 1) as ray:
        there = ray.cluster_resources()
    room = there.get("CPU", 0) / asked.cpus if asked.cpus else math.inf
    if asked.gpus:
        room = min(room, there.get("GPU", 0) / asked.gpus)
    if room < 1:
        has = f"{there.get('CPU', 0):g} CPUs and {there.get('GPU', 0):g} GPUs"
        raise ValueError(f"cpus: {asked.cpus}, gpus: {asked.gpus} a task, and the cluster has {has}")
    return int(room)


def run(
    folders: Sequence[Path],
    workers: int,
    retries: int,
    tell: Callable[[Event], None] = lambda event: None,
    asked: Cluster = Cluster(),  # noqa: B008  frozen
) -> dict[Path, dict[str, Any]]:
    """As `engine.drive`. Ray starts a lost task again, `retries` times."""
    done = {folder: found for folder in folders if (found := task.finished(folder)) is not None}
    if len(done) == len(folders):  # nothing to connect for
        return done
    with connected(asked, workers) as ray:
        perform = ray.remote(
            num_cpus=asked.cpus,
            num_gpus=asked.gpus,
            max_calls=1,  # each task has a process of its own, which leaves no memory behind
            max_retries=retries,
            retry_exceptions=[exits.Refused, lock.InUse, OSError, Interrupted],
            runtime_env={"env_vars": environment(asked)},
        )(base.perform)

        def start(folder: Path) -> Any:
            return perform.remote(str(folder.absolute()), math.ceil(asked.cpus), asked.gpus > 0)

        def ended(ref: Any) -> dict[str, Any] | Death | None:
            if not ray.wait([ref], timeout=0)[0]:
                return None
            try:
                return ray.get(ref)
            except ray.exceptions.RayTaskError as e:
                return Death(_first_line(e.cause), final=True)
            except ray.exceptions.RayError as e:
                return Death(f"{type(e).__name__}: {_first_line(e)}", final=True)

        def stop(refs: Sequence[Any], signum: int) -> None:
            for ref in refs:
                ray.cancel(ref)  # as Ctrl-C does
            if refs:
                ray.wait(list(refs), num_returns=len(refs), timeout=SAVING)

        return drive(Engine(start, ended, stop), folders, workers, retries, tell, PAUSE)


def environment(asked: Cluster) -> dict[str, str]:
    """Of a task: the CPU alone without a GPU; of a GPU no more memory than it takes, as others may share it."""
    return {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"} if asked.gpus else {"JAX_PLATFORMS": "cpu"}


@contextlib.contextmanager
def connected(asked: Cluster, workers: int) -> Iterator[Any]:
    """Ray, connected to the cluster, or to one that lives as long as this. Refused where there is none."""
    ray = imported(asked)
    told: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if asked.address is None:
        told |= {"address": "local", "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        told |= {"num_cpus": math.ceil(workers * asked.cpus), "object_store_memory": STORE}
    else:
        _answers(asked.address)
        told["address"] = asked.address
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with warnings.catch_warnings():
            # JAX's warning: what Ray forks executes another program at once
            warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)
            ray.init(**told)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as e:
        raise exits.Refused(f"address: {asked.address}: {_first_line(e)}") from e
    finally:
        signal.signal(signal.SIGTERM, handler)  # Ray's own would end this process at once
    try:
        yield ray
    finally:
        ray.shutdown()


def _answers(address: str) -> None:
    """Refused where nothing listens at HOST:PORT: Ray itself would wait for it."""
    where = address
    if address == "auto":  # the last cluster of this host, which may have ended
        where = os.environ.get("RAY_ADDRESS") or (LAST.read_text(encoding="utf-8") if LAST.exists() else "")
    host, _, port = where.strip().rpartition(":")
    if not (host and port.isdecimal() and "/" not in host):
        return  # Ray knows, or says that it does not
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as e:
        raise exits.Refused(
            f"address: nothing answers at {address} ({e}); allowed: auto, or HOST:PORT"
        ) from e


def _first_line(e: BaseException) -> str:
    return str(e).strip().partition("\n")[0] or type(e).__name__
