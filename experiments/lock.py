"""One process at a time in a run's folder.

The kernel locks a file there for as long as its holder lives, however it ends; the file says who that is. Across hosts
that share a file system such locks may not be seen, so the word of another host's process is taken.
"""

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Any

FILE = "lock.part"


class InUse(Exception):
    """Another process works in the folder, or may do so."""


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[str]:
    """Keep other processes out. Yields what is to be said of a holder that died; "" where none did.

    Raises InUse, which names the holder.
    """
    path = folder / FILE
    with _opened(path) as file:
        holder = _read(file)
        if holder.get("host", socket.gethostname()) != socket.gethostname():
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
            yield f"{folder} was left by {_words(holder)}, which is dead; taken over" if holder else ""
        finally:
            path.unlink(missing_ok=True)  # while it is locked, so that nobody's new one is deleted


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    """The file, locked by this process."""
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
    """Who holds it; empty where nobody did, or where it has not yet been said."""
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
