"""Tasks on this host: one process per task, as many at once as there are workers, each on its share of cores or GPUs.

A process that dies is started again and goes on from its checkpoint. No result depends on which worker runs a task.
"""

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.harness import exits, run_folder
from experiments.sweep.engines.base import Death, Ended, Engine, Notify, drive, ignore
from experiments.sweep.task import WITH_PARENT

TASK = ("-m", "experiments.sweep.task", WITH_PARENT)  # what Python runs, with the task's folder after it
GPUS = Path("/proc/driver/nvidia/gpus")
CODES = {exits.IO_ERROR: "nothing more could be written", 2: "its folder is in use"}


@dataclass(frozen=True, kw_only=True)
class Place:
    """The cores and GPUs of a worker."""

    cores: frozenset[int]  # empty where they cannot be chosen
    environment: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class _Worker:
    folder: Path
    place: Place
    process: subprocess.Popen[bytes]


def places(workers: int) -> list[Place]:
    """Shares of the cores, and of the GPUs where there are any, as even as can be."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    gpus, shares = _gpus(), []
    for i in range(workers):
        environment = {}
        if gpus:
            environment = {"CUDA_VISIBLE_DEVICES": ",".join(_share(gpus, i, workers))}
            environment["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # several may share one
        shares.append(Place(cores=frozenset(_share(cores, i, workers)), environment=environment))
    return shares


def most() -> int:
    """Workers that have a GPU each, or a core each where there is no GPU."""
    return len(_gpus()) or len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else [0])


def _gpus() -> list[str]:
    if os.environ.get("JAX_PLATFORMS") == "cpu":
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [str(i) for i, _ in enumerate(GPUS.glob("*"))]
    return [gpu for gpu in visible.split(",") if gpu]


def _share(things: list[Any], i: int, workers: int) -> list[Any]:
    """The share of worker i: one of the things, or several if there are more of them than workers."""
    if len(things) < workers:
        return [things[i % len(things)]] if things else []
    return things[i * len(things) // workers : (i + 1) * len(things) // workers]


def run(folders: Sequence[Path], workers: int, retries: int, notify: Notify = ignore) -> Ended:
    """As `base.drive`, on this host."""
    free = deque(places(workers))

    def start(folder: Path) -> _Worker:
        place = free.popleft()
        return _Worker(folder=folder, place=place, process=_start(folder, place))

    def ended(worker: _Worker) -> dict[str, Any] | Death | None:
        code = worker.process.poll()
        if code is None:
            return None
        _close(worker.process)
        free.append(worker.place)
        file = worker.folder / "done.json"
        return run_folder.read_json(file) if file.exists() else _death(code)

    return drive(Engine(start=start, ended=ended, stop=_stop), folders, workers, retries, notify)


def _death(code: int) -> Death:
    if code < 0:
        return Death(how=signal.Signals(-code).name, killed=code == -signal.SIGKILL)
    return Death(how=f"exit code {code}, {CODES.get(code, 'see worker.log')}")


def _start(folder: Path, place: Place) -> subprocess.Popen[bytes]:
    """The process, out of reach of a terminal's Ctrl-C; its standard input ends when this process does."""
    (folder / "done.json").unlink(missing_ok=True)
    before = os.sched_getaffinity(0) if place.cores else set()
    if place.cores:
        os.sched_setaffinity(0, place.cores)  # of this thread; what it starts inherits it
    try:
        with (folder / "worker.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *TASK, str(folder)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | place.environment,
                start_new_session=True,
            )
    finally:
        if place.cores:
            os.sched_setaffinity(0, before)


def _stop(workers: Sequence[_Worker], signum: int) -> None:
    """Let the processes save and end; those still starting have nothing to save."""
    for worker in workers:
        worker.process.send_signal(signum)
    for worker in workers:
        worker.process.wait()
        _close(worker.process)


def _close(process: subprocess.Popen[bytes]) -> None:
    """Close the standard input of a process that has ended; a live one would take that as the word to stop."""
    if process.stdin is not None:
        process.stdin.close()
