"""Tasks on this host: a process each, as many at once as there are workers, each on its own share of cores or GPUs.

A process that dies is started again and goes on from its checkpoint. Nothing of a task depends on who runs it.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from experiments import attempts, record, rungs, task, training
from experiments.signals import Interrupted, stop_signals

POLL = 0.1  # seconds
GPUS = Path("/proc/driver/nvidia/gpus")
CODES = {training.IO_ERROR: "nothing more could be written", 2: "its folder is in use"}


class Event(NamedTuple):
    """What happened to a task."""

    folder: Path
    what: Literal["started", "progress", "died", "finished", "failed"]
    epochs: int = 0  # that its cells have run, as far as it has said
    why: str = ""


class Place(NamedTuple):
    """Where a worker runs."""

    cores: frozenset[int]  # none where they cannot be chosen
    environment: dict[str, str]


class _Worker(NamedTuple):
    folder: Path
    place: Place
    process: subprocess.Popen[bytes]


def places(workers: int) -> list[Place]:
    """Shares of the cores, and of the GPUs where there are any, as even as can be."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    gpus, found = _gpus(), []
    for i in range(workers):
        environment = {}
        if gpus:
            environment = {"CUDA_VISIBLE_DEVICES": ",".join(_share(gpus, i, workers))}
            environment["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # several may share one
        found.append(Place(frozenset(_share(cores, i, workers)), environment))
    return found


def most() -> int:
    """Workers that have a GPU each, or a core each where there is no GPU."""
    return len(_gpus()) or len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else [0])


def _gpus() -> list[str]:
    if os.environ.get("JAX_PLATFORMS") == "cpu":
        return []
    told = os.environ.get("CUDA_VISIBLE_DEVICES")
    return (
        [str(i) for i, _ in enumerate(GPUS.glob("*"))] if told is None else [g for g in told.split(",") if g]
    )


def _share(things: list[Any], i: int, workers: int) -> list[Any]:
    """Of worker i: one of the things, or several where there are more of them than workers."""
    if len(things) < workers:
        return [things[i % len(things)]] if things else []
    return things[i * len(things) // workers : (i + 1) * len(things) // workers]


def run(
    folders: Sequence[Path], workers: int, retries: int, tell: Callable[[Event], None] = lambda event: None
) -> dict[Path, dict[str, Any]]:
    """What done.json holds of each task, once all have ended; one that finished before is not run again.

    A task whose process dies more than `retries` times has failed. Raises Interrupted, with the folder around the
    tasks, when a signal told this process to stop: it is passed on, and every task has saved what it has.
    """
    if workers < 1 or retries < 0:
        raise ValueError(f"workers: {workers}, retries: {retries}; allowed: 1 or more, 0 or more")
    found = {folder: done for folder in folders if (done := task.finished(folder)) is not None}
    waiting = deque(folder for folder in folders if folder not in found)
    free = deque(places(workers))
    running: list[_Worker] = []
    deaths: Counter[Path] = Counter()
    epochs: dict[Path, int] = {}
    with stop_signals() as received:
        try:
            while (waiting or running) and not received:
                while waiting and free:
                    place, folder = free.popleft(), waiting.popleft()
                    running.append(_Worker(folder, place, _start(folder, place)))
                    tell(Event(folder, "started"))
                time.sleep(POLL)
                for worker in list(running):
                    folder, place, process = worker
                    _progress(folder, epochs, tell)
                    if process.poll() is None:
                        continue
                    _close(process)
                    running.remove(worker)
                    free.append(place)
                    done = _ended(folder, process.returncode, deaths, retries, tell)
                    if done is None:
                        waiting.append(folder)
                    else:
                        found[folder] = done
        finally:
            _stop([worker.process for worker in running], received)
    if received:
        raise Interrupted(received[0], folders[0].parent)
    return {folder: found[folder] for folder in folders}


def _start(folder: Path, place: Place) -> subprocess.Popen[bytes]:
    """The process, out of reach of a terminal's Ctrl-C; its standard input ends when this process does."""
    (folder / "done.json").unlink(missing_ok=True)
    before = os.sched_getaffinity(0) if place.cores else set()
    if place.cores:
        os.sched_setaffinity(0, place.cores)  # of this thread; what it starts inherits it
    try:
        with (folder / "worker.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "experiments.task", task.WITH_PARENT, str(folder)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | place.environment,
                start_new_session=True,
            )
    finally:
        if place.cores:
            os.sched_setaffinity(0, before)


def _progress(folder: Path, epochs: dict[Path, int], tell: Callable[[Event], None]) -> None:
    now = rungs.progress(folder / "rungs")
    if now > epochs.get(folder, 0):
        epochs[folder] = now
        tell(Event(folder, "progress", now))


def _ended(
    folder: Path, code: int, deaths: Counter[Path], retries: int, tell: Callable[[Event], None]
) -> dict[str, Any] | None:
    """What became of the task; None where it is to be started again."""
    file = folder / "done.json"
    if file.exists():
        done = record.read_json(file)
        tell(Event(folder, done["state"], why=done["why"]))
        return done
    deaths[folder] += 1
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}, {CODES.get(code, 'see worker.log')}"
    tell(Event(folder, "died", why=how))
    done = {"state": "failed", "why": f"its process died {deaths[folder]} times: {how}", "baselines": {}}
    over = deaths[folder] > retries
    try:
        attempts.note(folder, "died", how=how)
        if code == -signal.SIGKILL and deaths[folder] > 1:  # as the kernel ends what takes too much memory
            attempts.note(folder, "memory", parts=2 * attempts.parts(folder), why=how)
        if over:
            record.write_json(file, done)
    except OSError as e:  # on a full disk the task fails without a file that says so
        tell(Event(folder, "died", why=f"this cannot be noted: {e}"))
    if over:
        tell(Event(folder, "failed", why=done["why"]))
    return done if over else None


def _stop(processes: Sequence[subprocess.Popen[bytes]], received: list[int]) -> None:
    """Let them save and end; those still starting have nothing to save."""
    for process in processes:
        process.send_signal(received[0] if received else signal.SIGTERM)
    for process in processes:
        process.wait()
        _close(process)


def _close(process: subprocess.Popen[bytes]) -> None:
    """The standard input of a process that has ended: of one that lives it would be the word to stop."""
    if process.stdin is not None:
        process.stdin.close()
