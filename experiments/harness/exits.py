"""Signals that stop a run: at the end of the current chunk during training, at once before and after."""

import contextlib
import errno
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

IO_ERROR = 74  # exit code if a file could not be written
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Refused(Exception):
    """The run cannot go on; the message says what the user must fix, and `code` is the exit code."""

    def __init__(self, message: str, code: int = 2):
        super().__init__(message)
        self.code = code


EXIT = {
    signal.SIGINT: 130,
    signal.SIGTERM: 75,
    signal.SIGUSR2: 75,
}  # 75: try again; SIGUSR2 is what SLURM sends


class Interrupted(Exception):
    """A signal arrived while training; everything is saved in `folder`."""

    def __init__(self, signum: int, folder: Path):
        super().__init__(signum, folder)
        self.signum, self.folder = signum, folder


class Stopped(KeyboardInterrupt):
    """A signal other than Ctrl-C arrived before or after training, where there is nothing to finish first."""

    def __init__(self, signum: int):
        super().__init__(signum)
        self.signum = signum


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Yield a list to which the first signal of EXIT is appended; a second one ends the process at once."""
    received: list[int] = []

    def note(signum: int, frame: Any) -> None:
        received.append(signum)
        for s in EXIT:
            signal.signal(s, signal.SIG_DFL)

    with _handled(note, *EXIT):
        yield received


@contextlib.contextmanager
def raise_stopped() -> Iterator[None]:
    """Make SIGTERM and SIGUSR2 raise Stopped, as Ctrl-C raises KeyboardInterrupt."""

    def stop(signum: int, frame: Any) -> None:
        signal.signal(signum, signal.SIG_DFL)
        raise Stopped(signum)

    with _handled(stop, *(s for s in EXIT if s != signal.SIGINT)):
        yield


@contextlib.contextmanager
def _handled(handler: Any, *signals: signal.Signals) -> Iterator[None]:
    try:
        previous = {s: signal.signal(s, handler) for s in signals}
    except ValueError:  # not the main thread, which alone may set handlers
        yield
        return
    try:
        yield
    finally:
        for s, old in previous.items():
            signal.signal(s, old)
