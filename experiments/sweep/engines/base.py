"""What all engines share: tasks are started, watched and told of; those that die too often have failed.

An engine says how a task is started, how to see that it has ended, and how to stop it. What is done is the same for
all: `perform` in a process that is the task's alone, in the task's own folder, which a task goes on from.
"""

import os
import shutil
import signal
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import jax

from experiments.harness import exits, lock, run_folder
from experiments.harness.exits import Interrupted, stop_signals
from experiments.sweep.task import events, rungs
from experiments.sweep.task import run as task

POLL = 0.1  # seconds
LOOKS = 64  # tasks whose progress is read at a time: more take turns, as each costs a shared folder several operations
SPACE = 2**26  # bytes that must be free where a task begins: more than its files and a checkpoint
UNSEEN = 120.0  # seconds after which another host's file must be seen here; network file systems cache for one minute
H = TypeVar("H")


class Event(NamedTuple):
    """What happened to a task."""

    folder: Path
    what: Literal["started", "progress", "died", "finished", "failed"]
    epochs: int = 0  # that its cells have run, as far as it has said
    why: str = ""


class Death(NamedTuple):
    """The end of a process whose task has not ended."""

    how: str
    killed: bool = False  # as the kernel ends what takes too much memory
    final: bool = False  # the engine has tried again by itself as often as it may


class Engine(NamedTuple, Generic[H]):
    """How tasks become processes. H stands for one that was started."""

    start: Callable[[Path], H]
    ended: Callable[[H], dict[str, Any] | Death | None]  # what its done.json holds; None while it goes on
    stop: Callable[[Sequence[H], int], None]  # pass the signal on, and wait until all have saved


def perform(folder: str, cores: int, gpu: bool) -> dict[str, Any]:
    """What an engine of many hosts has a process do: see that the host can, then the task. What done.json holds.

    On as many cores of the CPU, or on the GPUs that it was given.

    Raises what `task.run` does, and Refused where this host does not see the folder or a GPU that it was promised.
    """
    check_host(Path(folder), gpu)
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return task.run(folder, None if gpu else max(1, min(cores, mine)), patient=True)


def check_host(folder: Path, gpu: bool = False) -> None:
    """Write in the shared folder, read it back, and look for space and a GPU. Refused in a sentence."""
    host = socket.gethostname()
    if not (folder / "task.json").exists():
        where = "allowed: --out in a folder that all hosts share under the same name"
        raise exits.Refused(f"{host} does not see {folder}; {where}", exits.IO_ERROR)
    probe = folder / f"probe-{host}-{os.getpid()}.part"
    word = os.urandom(16)
    try:
        probe.write_bytes(word)
        back = probe.read_bytes()
        probe.unlink()
    except OSError as e:
        raise exits.Refused(f"{host} cannot write in {folder}: {e.strerror}", exits.IO_ERROR) from e
    if back != word:
        raise exits.Refused(f"{host} reads in {folder} not what it wrote there", exits.IO_ERROR)
    free = shutil.disk_usage(folder).free
    if free < SPACE:
        told = f"{free / 2**20:.0f} MiB are free in {folder}, as {host} sees it"
        raise exits.Refused(f"{told}; allowed: {SPACE / 2**20:.0f} MiB or more", exits.IO_ERROR)
    if gpu and jax.default_backend() == "cpu":
        raise exits.Refused(f"{host} was asked for a GPU, and JAX finds none there", exits.IO_ERROR)


def drive(
    engine: Engine[H],
    folders: Sequence[Path],
    at_once: int,
    retries: int,
    tell: Callable[[Event], None],
    pause: float = POLL,
) -> dict[Path, dict[str, Any]]:
    """What done.json holds of each task, once all have ended; one that finished before is not run again.

    A task whose process dies more than `retries` times has failed. Raises Interrupted, with the folder around the
    tasks, when a signal told this process to stop: it is passed on, and every task has saved what it has.
    """
    if at_once < 1 or retries < 0:
        raise ValueError(f"workers: {at_once}, retries: {retries}; allowed: 1 or more, 0 or more")
    found = {folder: done for folder in folders if (done := task.finished(folder)) is not None}
    waiting = deque(folder for folder in folders if folder not in found)
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
                    tell(Event(folder, "started"))
                time.sleep(pause)
                turn, turns = turn + 1, -(-len(running) // LOOKS)
                for i, one in enumerate(list(running)):
                    folder, handle = one
                    if i % turns == turn % turns:
                        _progress(folder, epochs, tell)
                    end = engine.ended(handle)
                    if end is None:
                        continue
                    running.remove(one)
                    done = _died(folder, end, deaths, retries, tell) if isinstance(end, Death) else end
                    if done is None:
                        waiting.append(folder)
                        continue
                    if not isinstance(end, Death):
                        tell(Event(folder, done["state"], why=done["why"]))
                    found[folder] = done
        finally:
            engine.stop([handle for _, handle in running], received[0] if received else signal.SIGTERM)
    if received:
        raise Interrupted(received[0], folders[0].parent)
    _see([folder for folder, done in found.items() if done["state"] == "finished"])
    return {folder: found[folder] for folder in folders}


def _progress(folder: Path, epochs: dict[Path, int], tell: Callable[[Event], None]) -> None:
    try:
        now = rungs.progress(folder / "rungs")
    except OSError:  # it has just ended, and deleted what it said
        return
    if now > epochs.get(folder, 0):
        epochs[folder] = now
        tell(Event(folder, "progress", now))


def _died(
    folder: Path, death: Death, deaths: Counter[Path], retries: int, tell: Callable[[Event], None]
) -> dict[str, Any] | None:
    """What became of the task; None where it is to be started again."""
    how = death.how
    deaths[folder] = retries + 1 if death.final else deaths[folder] + 1
    tell(Event(folder, "died", why=how))
    often = f"{deaths[folder]} time{'s' * (deaths[folder] > 1)}"
    done = {"state": "failed", "why": f"its process died {often}: {how}", "baselines": {}}
    over = deaths[folder] > retries
    try:
        events.note(folder, "died", how=how)
        if death.killed and deaths[folder] > 1:
            events.note(folder, "memory", parts=2 * events.parts(folder), why=how)
        if over:
            with lock.hold(folder):  # a process that lives after all may be about to finish the task
                if (finished := task.finished(folder)) is not None:
                    tell(Event(folder, "finished"))
                    return finished
                run_folder.write_json(folder / "done.json", done)
    except (OSError, lock.InUse) as e:  # as on a full disk: it fails without a file that says so
        tell(Event(folder, "died", why=f"this cannot be noted: {e}"))
    if over:
        tell(Event(folder, "failed", why=done["why"]))
    return done if over else None


def _see(folders: Sequence[Path]) -> None:
    """Wait until what other hosts wrote is seen here. Refused where it is not."""
    until = time.monotonic() + UNSEEN
    for folder in folders:
        while task.finished(folder) is None:
            if time.monotonic() > until:
                raise exits.Refused(f"{socket.gethostname()} does not see {folder / 'done.json'}", 74)
            time.sleep(1)
