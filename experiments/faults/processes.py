"""Faults of a process, tried on real ones: kills, signals, and a second process in the folder."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from experiments.harness import arms, compile_cache, run_folder
from experiments.harness.exits import EXIT
from lstm_sched import checkpoint

ROOT = Path(__file__).resolve().parents[2]
PAUSE = 0.01  # seconds between checks of a process
PATIENCE = 300  # seconds until a process is given up
KILLS = 5  # of one run, at most


@dataclass(frozen=True)
class Row:
    """A fault, and its result."""

    fault: str
    expected: str
    seen: str
    held: bool


def launch(folder: Path, *flags: str, prefix: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
    """Start a training, whose output goes to a file next to its folder."""
    # A folder of its own: a program whose writing is cut short harms nobody else.
    programs = {compile_cache.SWITCH: str(folder.parent.absolute() / "cache")}
    with folder.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            [*prefix, sys.executable, "-m", "experiments.faults.victim", *flags],
            cwd=ROOT,
            env=os.environ | programs,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


@contextlib.contextmanager
def running(folder: Path, *flags: str, prefix: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """Run a training that is ended at the end of the block at the latest."""
    process = launch(folder, *flags, prefix=prefix)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def finish(folder: Path, *flags: str, prefix: tuple[str, ...] = ()) -> int:
    """Run a training to its end, and return its exit code."""
    with running(folder, *flags, prefix=prefix) as process:
        return process.wait(PATIENCE)


def go_on(folder: Path) -> tuple[str, ...]:
    """Flags that begin a run in the folder, or resume the one that is there."""
    return ("--resume" if (folder / "config.json").exists() else "--out", str(folder))


def saved(folder: Path) -> int:
    """The number of epochs that the run has reported as saved."""
    path = folder / "status.json"
    return run_folder.read_json(path).get("saved", 0) if path.exists() else 0


def until_saved(process: subprocess.Popen[bytes], folder: Path, before: int) -> None:
    """Wait for the first save after `before` epochs. RuntimeError if the training ends instead."""
    started = time.monotonic()
    while saved(folder) <= before:
        if process.poll() is not None or time.monotonic() - started > PATIENCE:
            raise RuntimeError(f"{folder}: nothing saved; see {folder.with_suffix('.log')}")
        time.sleep(PAUSE)


def said(folder: Path) -> str:
    """The text that the run has printed."""
    return folder.with_suffix(".log").read_text(encoding="utf-8")


def differing(folder: Path, whole: Path) -> int:
    """How many numbers and curves differ between the finished run and the uninterrupted one."""
    states = [checkpoint.read(run / "checkpoint") for run in (folder, whole)]
    curves = [sorted((run / "metrics.jsonl").read_text().splitlines()) for run in (folder, whole)]
    return arms.differing(*states) + sum(a != b for a, b in zip(*curves, strict=True))


def kills(base: Path, whole: Path, count: int, seed: int = 0) -> list[Row]:
    """Kill each of several runs repeatedly at random moments, and try to enter its folder meanwhile."""
    rng = random.Random(seed)
    reopened = killed = lost = bits = 0
    second: list[bool] = []
    stale: list[bool] = []
    folders = [base / f"killed-{i}" for i in range(-(-count // KILLS))]
    for i in range(count):
        folder = folders[i // KILLS]
        with running(folder, *go_on(folder)) as process:
            until_saved(process, folder, saved(folder))
            if i == 0:
                code = finish(base / "second", "--resume", str(folder))
                second.append(code == 2 and f"in use by process {process.pid} on" in said(base / "second"))
            time.sleep(rng.uniform(0, 0.5))
            process.kill()
            killed += process.wait() == -signal.SIGKILL
        acknowledged = saved(folder)
        clock = checkpoint.read(folder / "checkpoint")["clock"][""]
        reopened += 1
        lost += int(clock.max()) < acknowledged
    for folder in folders:
        finish(folder, *go_on(folder))
        stale.append("which is dead; taken over" in said(folder))
        bits += differing(folder, whole)
    n = f"of {killed}"
    return [
        Row(
            "SIGKILL at a random moment while training and saving",
            "all reopen; 0 acknowledged saves lost; the finished runs bitwise the uninterrupted one",
            f"{reopened} {n} reopen; {lost} acknowledged saves lost; {bits} numbers differ in {len(folders)} "
            "finished runs",
            (reopened, lost, bits) == (killed, 0, 0) and killed == count,
        ),
        Row(
            "two processes in one folder",
            "the second is refused (code 2) and told who works there; a dead holder is named and replaced",
            f"{sum(second)} of {len(second)} refused and told; {sum(stale)} of {len(stale)} dead holders named",
            all(second) and all(stale),
        ),
    ]


def signals(base: Path, whole: Path) -> list[Row]:
    """Send each signal to the same run, one after another, and then finish it."""
    folder = base / "signalled"
    codes, seconds, lost, chunks = [], [], 0, []
    for signum in EXIT:
        with running(folder, *go_on(folder)) as process:
            until_saved(process, folder, saved(folder))
            before, started = saved(folder), time.monotonic()
            until_saved(process, folder, before)
            chunks.append(time.monotonic() - started)  # a chunk and its save
            started = time.monotonic()
            process.send_signal(signum)
            codes.append(process.wait(PATIENCE) == EXIT[signum])
            seconds.append(time.monotonic() - started)
        status = run_folder.read_json(folder / "status.json")
        rows = (folder / "metrics.jsonl").read_text().splitlines()
        trained = len(rows) // len({(row["arm"], row["seed"]) for row in map(json.loads, rows)})
        lost += trained - int(checkpoint.read(folder / "checkpoint")["clock"][""].max())
        lost += status["epochs"] - status["saved"]
    finish(folder, *go_on(folder))
    bits = differing(folder, whole)
    names = ", ".join(signum.name for signum in EXIT)
    return [
        Row(
            names,
            "exit within one chunk + 1 s with code 75 (130 for Ctrl-C); 0 epochs lost; resumed bitwise",
            f"{sum(codes)} of {len(codes)} codes; after {max(seconds):.1f} s at most (a chunk with its save: "
            f"{max(chunks):.2f} s); {lost} epochs lost; {bits} numbers differ",
            all(codes) and max(seconds) <= max(chunks) + 1 and (lost, bits) == (0, 0),
        )
    ]
