"""The fault of a disk that fills up while a run saves."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from experiments.faults.processes import Row, differing, finish, go_on, said
from experiments.harness.exits import IO_ERROR
from lstm_sched import checkpoint

ROOM = 300  # kilobytes of the small disk: it is full after a third of the training


@contextlib.contextmanager
def small_disk(path: Path) -> Iterator[bool]:
    """Mount a file system of ROOM kilobytes at `path`; yields False if mounting is not permitted."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}k", "tmpfs", str(path)]
    done = subprocess.run(mount, capture_output=True) if shutil.which("mount") else None
    if done is None or done.returncode:
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", str(path)], check=True)


def release(path: Path) -> None:
    """Unmount the disk that a stopped run may have left at `path`."""
    if path.is_mount():
        subprocess.run(["umount", str(path)], check=True)


def full_disk(base: Path, whole: Path) -> list[Row]:
    """Fill the disk of a run, or limit its file size; then copy it elsewhere and finish it."""
    elsewhere = base / "elsewhere"
    with small_disk(base / "disk") as mounted:
        folder = base / "disk" / "run"
        log = base / "disk-full"  # not on that disk
        prefix = () if mounted else ("sh", "-c", f'ulimit -f {ROOM // 4}; exec "$@"', "sh")
        code = finish(log, "--out", str(folder), prefix=prefix)
        told = said(log)
        state = checkpoint.read(folder / "checkpoint")
        kept = int(state["clock"][""].max())
        shutil.copytree(folder, elsewhere)
    finish(elsewhere, *go_on(elsewhere))
    bits = differing(elsewhere, whole)
    clear = f" {kept} are saved" in told
    how = "a tmpfs" if mounted else "a limit on the size of files"
    return [
        Row(
            "disk full while saving",
            f"a clear message and code {IO_ERROR}; earlier steps load; resumed elsewhere bitwise",
            f"{how}: code {code}; {'told that' if clear else 'not told that'} {kept} epochs are saved, and they load; "
            f"{bits} numbers differ in the run finished elsewhere",
            code == IO_ERROR and clear and kept > 0 and bits == 0,
        )
    ]
