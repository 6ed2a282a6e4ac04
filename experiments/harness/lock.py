"""One process at a time in a run's folder.

The kernel keeps a file there locked until the holder ends, however it ends; the file names the holder. Other
hosts that share the file system may not see the lock, so they trust the file. A holder may have a pulse: it
touches the file every few seconds, so that other hosts can see when it has stopped.
"""

import contextlib
import fcntl
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Any

FILE = "lock.part"
PULSE = 10.0  # seconds
LOST = 2  # exit code of a process whose folder another one has taken over


class InUse(Exception):
    """Another process works in the folder, or may do so."""


@contextlib.contextmanager
def hold(folder: Path, silent: str = "", pulse: bool = False) -> Iterator[str]:
    """Keep other processes out. Yields a message about a holder that died, or "" if none did.

    A holder on another host is replaced only if its `sign` is still `silent`, a value that the caller has
    seen unchanged for long and knows to belong to a process that ended. A holder with a pulse that finds
    itself replaced ends its process at once, without saving. Raises InUse, which names the holder.
    """
    path = folder / FILE
    with _opened(path) as file:
        holder = _read(file)
        away = holder.get("host", socket.gethostname()) != socket.gethostname()
        if away and not (silent and sign(folder) == silent):
            raise InUse(
                f"{folder} is in use by {_words(holder)}, which cannot be looked up from {socket.gethostname()}; "
                f"if it is dead, delete {path}"
            )
        me = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now().astimezone().isoformat(timespec="seconds"),
        }
        file.seek(0)
        file.truncate()
        json.dump(me, file)
        file.flush()
        try:
            with _beating(path, json.dumps(me)) if pulse else contextlib.nullcontext():
                yield f"{folder} was left by {_words(holder)}, which is dead; taken over" if holder else ""
        finally:
            path.unlink(missing_ok=True)  # while it is locked, so that nobody's new one is deleted


def sign(folder: Path) -> str:
    """A string that changes with every beat of the holder's pulse; "" if there is no holder."""
    path = folder / FILE
    try:
        with path.open(encoding="utf-8") as file:  # opened, so that a network file system asks its server
            return f"{os.fstat(file.fileno()).st_mtime_ns} {file.read(1000)}"
    except FileNotFoundError:
        return ""


@contextlib.contextmanager
def _beating(path: Path, mine: str) -> Iterator[None]:
    over = threading.Event()

    def beat() -> None:
        while not over.wait(PULSE):
            with contextlib.suppress(OSError):  # the file server is unreachable; the next beat may reach it
                if sign(path.parent).partition(" ")[2] != mine:
                    print(f"{path.parent} was taken over by another process; this one ends", file=sys.stderr)
                    os._exit(LOST)
                os.utime(path)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    """Open the file and lock it for this process."""
    while True:
        with path.open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InUse(f"{path.parent} is in use by {_words(_read(file))}") from None
            if _is_at(path, file):
                yield file
                return


def _is_at(path: Path, file: IO[str]) -> bool:
    """False where its holder deleted it between open and lock."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _read(file: IO[str]) -> dict[str, Any]:
    """The facts that the file gives about its holder; empty if it has none, or none written yet."""
    file.seek(0)
    text = file.read(1000)
    try:
        holder = json.loads(text or "{}")
    except (ValueError, RecursionError):  # its holder was killed while it wrote this
        return {"pid": "unknown"}
    return holder if isinstance(holder, dict) else {"pid": "unknown"}


def _words(holder: dict[str, Any]) -> str:
    found = {key: holder.get(key, "unknown") for key in ("pid", "host", "since")}
    return f"process {found['pid']} on {found['host']} since {found['since']}"
