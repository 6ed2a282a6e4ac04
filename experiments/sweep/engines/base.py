"""The code that all engines share: it starts and watches tasks, and marks those that die too often as failed.

An engine defines how to start a task, how to see that it has ended, and how to stop it. The work is the same
in all engines: `perform` runs in a process of its own in the task's folder, where a restarted task goes on.
"""

import os
import shutil
import signal
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from experiments.harness import exits, lock, run_folder
from experiments.harness.exits import Interrupted, stop_signals
from experiments.sweep.task import events

POLL = 0.1  # seconds
LOOKS = 64  # tasks whose progress is read at a time: more take turns, as each costs a shared folder several operations
SPACE = 2**26  # bytes that must be free where a task begins: more than its files and a checkpoint
UNSEEN = 120.0  # seconds after which another host's file must be seen here; network file systems cache for one minute
H = TypeVar("H")


@dataclass(frozen=True, kw_only=True)
class Event:
    """What happened to a task."""

    folder: Path
    kind: Literal["started", "progress", "died", "finished", "failed"]
    epochs: int = 0  # that its trials have run, as far as it has reported
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Death:
    """The end of a process whose task has not ended."""

    how: str
    killed: bool = False  # as the kernel ends a process that takes too much memory
    final: bool = False  # the engine itself has tried again as often as it may


@dataclass(frozen=True, kw_only=True)
class Engine(Generic[H]):
    """The interface of an engine; H is its handle of a started task."""

    start: Callable[[Path], H]
    ended: Callable[[H], dict[str, Any] | Death | None]  # what its done.json holds; None while it goes on
    stop: Callable[[Sequence[H], int], None]  # pass the signal on, and wait until all have saved


Notify = Callable[[Event], None]
Ended = dict[Path, dict[str, Any]]  # what done.json holds of each task


def ignore(event: Event) -> None:
    """Ignore the event."""


def perform(folder: str, cores: int, gpu: bool) -> dict[str, Any]:
    """Check this host, then do a task of a shared folder, in a process that an engine of many hosts started.

    On so many cores of the CPU, or on the GPUs that it was promised. Returns what done.json holds. Raises as
    `task.run`, and Refused where this host lacks something.
    """
    from experiments.sweep.task import run as task  # an engine's own process does not wait for JAX

    check_host(Path(folder), gpu)
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return task.run(folder, None if gpu else max(1, min(cores, allowed)), patient=True)


def check_host(folder: Path, gpu: bool = False) -> None:
    """Write in the shared folder, read it back, and look for space and a GPU. Refused with what is missing."""
    host = socket.gethostname()
    if not (folder / "task.json").exists():
        allowed = "allowed: --out in a folder that all hosts share under the same name"
        raise exits.Refused(f"{host} does not see {folder}; {allowed}", exits.IO_ERROR)
    probe = folder / f"probe-{host}-{os.getpid()}.part"
    written = os.urandom(16)
    try:
        probe.write_bytes(written)
        read = probe.read_bytes()
        probe.unlink()
    except OSError as e:
        raise exits.Refused(f"{host} cannot write in {folder}: {e.strerror}", exits.IO_ERROR) from e
    if read != written:
        raise exits.Refused(f"{host} wrote a file in {folder} and read something else", exits.IO_ERROR)
    free = shutil.disk_usage(folder).free
    if free < SPACE:
        space = f"{free / 2**20:.0f} MiB are free in {folder}, as {host} sees it"
        raise exits.Refused(f"{space}; allowed: {SPACE / 2**20:.0f} MiB or more", exits.IO_ERROR)
    if gpu:
        import jax

        if jax.default_backend() == "cpu":
            raise exits.Refused(f"{host} was asked for a GPU, and JAX finds none there", exits.IO_ERROR)


def drive(
    engine: Engine[H],
    folders: Sequence[Path],
    at_once: int,
    retries: int,
    notify: Notify = ignore,
    pause: float = POLL,
) -> Ended:
    """Carry out tasks, `at_once` at a time, until all have ended; one that finished before is not run again.

    A task whose process dies more than `retries` times has failed. Raises Interrupted, with the folder around the
    tasks, when a signal told this process to stop: it was passed on, and every task has saved what it has.
    """
    if at_once < 1 or retries < 0:
        raise ValueError(f"workers: {at_once}, retries: {retries}; allowed: 1 or more, 0 or more")
    ended = {folder: done for folder in folders if (done := events.finished(folder)) is not None}
    waiting = deque(folder for folder in folders if folder not in ended)
    running: list[tuple[Path, H]] = []
    deaths: Counter[Path] = Counter()
    epochs: dict[Path, int] = {}
    turn = 0
    with stop_signals() as received:
        try:
            while (waiting or running) and not received:
                while waiting and len(running) < at_once:
                    folder = waiting.popleft()
                    running.append((folder, engine.start(folder)))
                    notify(Event(folder=folder, kind="started"))
                time.sleep(pause)
                turn, turns = turn + 1, -(-len(running) // LOOKS)
                for i, (folder, handle) in enumerate(list(running)):
                    if i % turns == turn % turns:
                        _progress(folder, epochs, notify)
                    end = engine.ended(handle)
                    if end is None:
                        continue
                    running.remove((folder, handle))
                    if isinstance(end, Death):
                        done = _died(folder, end, deaths, retries, notify)
                    else:
                        done = end
                        notify(Event(folder=folder, kind=done["state"], why=done["why"]))
                    if done is None:
                        waiting.append(folder)
                    else:
                        ended[folder] = done
        finally:
            engine.stop([handle for _, handle in running], received[0] if received else signal.SIGTERM)
    if received:
        raise Interrupted(received[0], folders[0].parent)
    _wait_until_seen([folder for folder, done in ended.items() if done["state"] == "finished"])
    return {folder: ended[folder] for folder in folders}


def _progress(folder: Path, epochs: dict[Path, int], notify: Notify) -> None:
    try:
        now = events.progress(folder)
    except OSError:  # it has just ended, and deleted its rungs
        return
    if now > epochs.get(folder, 0):
        epochs[folder] = now
        notify(Event(folder=folder, kind="progress", epochs=now))


def _died(
    folder: Path, death: Death, deaths: Counter[Path], retries: int, notify: Notify
) -> dict[str, Any] | None:
    """The outcome of the task; None if it must be started again."""
    deaths[folder] = retries + 1 if death.final else deaths[folder] + 1
    notify(Event(folder=folder, kind="died", why=death.how))
    times = f"{deaths[folder]} time{'s' * (deaths[folder] > 1)}"
    done = {"state": "failed", "why": f"its process died {times}: {death.how}", "baselines": {}}
    over = deaths[folder] > retries
    try:
        events.note(folder, "died", how=death.how)
        if death.killed and deaths[folder] > 1:
            events.note(folder, "memory", slices=2 * events.slices(folder), why=death.how)
        if over:
            with lock.hold(folder):  # a process that lives after all may be about to finish the task
                if (finished := events.finished(folder)) is not None:
                    notify(Event(folder=folder, kind="finished"))
                    return finished
                run_folder.write_json(folder / "done.json", done)
    except (OSError, lock.InUse) as e:  # as on a full disk: the task fails without a file that says so
        notify(Event(folder=folder, kind="died", why=f"this cannot be noted: {e}"))
    if over:
        notify(Event(folder=folder, kind="failed", why=done["why"]))
    return done if over else None


def _wait_until_seen(folders: Sequence[Path]) -> None:
    """Wait until this host sees the files that other hosts wrote. Refused if it does not."""
    until = time.monotonic() + UNSEEN
    for folder in folders:
        while events.finished(folder) is None:
            if time.monotonic() > until:
                raise exits.Refused(
                    f"{socket.gethostname()} does not see {folder / 'done.json'}", exits.IO_ERROR
                )
            time.sleep(1)
