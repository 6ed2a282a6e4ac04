"""Two tasks of one program, run by an engine in a process of its own; how far they are, and what came of them."""

import subprocess
import sys
import time
from pathlib import Path

from helpers import tasks

from experiments.sweep import results
from experiments.sweep.task import events, rungs

EPOCHS = 240  # long enough for whatever is to be killed while it trains
PROGRAM = (
    "import sys; from pathlib import Path; from experiments import {module};"
    "from experiments.sweep.config import Cluster, Slurm;"
    "found = {module}.run([Path(p) for p in sys.argv[1:]], 2, 2, lambda e: print(*e, flush=True), {options});"
    "print([done['state'] for done in found.values()])"
)


def two(base):
    return [
        tasks.write(base / str(i), tasks.cells(lrs=(1e-3, 1e-2), seeds=(8 + i,), first=4 * i), epochs=EPOCHS)
        for i in range(2)
    ]


def controller(folders, module, options="", environment=None):
    """A process that has the engine run the tasks."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(module=module, options=options), *map(str, folders)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process):
    """What it said, once it has ended as it should."""
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert said.strip().endswith("['finished', 'finished']"), said
    return said


def beginnings(folder: Path):
    return [row for row in events.read(folder) if row["event"] == "began"]


def wait_until(happened, process):
    """What `happened` says once it is true. ValueError where the process ends first."""
    while not (found := happened()):
        if process.poll() is not None:
            raise ValueError(process.communicate()[0])
        time.sleep(0.02)
    return found


def far(folder, beginning=1):
    """Whether the task trains, for the given time."""
    return len(beginnings(folder)) == beginning and rungs.progress(folder / "rungs") > 0


def tables(folders):
    """results.csv and curves.npz, bit for bit."""
    place = folders[0].parent
    results.write(place, folders)
    return (place / "results.csv").read_bytes(), (place / "curves.npz").read_bytes()
