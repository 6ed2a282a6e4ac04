"""Engines in processes of their own, so that they can be killed, and how far their tasks are."""

import os
import subprocess
import sys
import time

from experiments.harness import run_folder
from experiments.sweep.task import events

PROGRAM = (
    "import sys; from pathlib import Path; from experiments.sweep.engines import {module};"
    "from experiments.sweep.engines.options import Cluster, Slurm;"
    "ended = {module}.run([Path(p) for p in sys.argv[1:]], 2, 2, lambda e: print(e, flush=True), {options});"
    "print([done['state'] for done in ended.values()])"
)
PATIENCE = 120  # seconds


def environment(*folders):
    """This process's, with which another one finds the modules in these folders and of the tests."""
    paths = [*map(str, folders), *sys.path]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def controller(folders, module, options="", environment=None):
    """A process that has the engine carry out the tasks."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(module=module, options=options), *map(str, folders)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(process, tasks):
    """The events that the controller printed, once all its tasks have finished."""
    printed, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, printed
    assert printed.strip().endswith(str(["finished"] * tasks)), printed
    return printed


def beginnings(folder):
    return [row for row in events.read(folder) if row["event"] == "began"]


def resumed(folder):
    """The epochs from which processes went on with the task."""
    files = folder.glob("rungs/*/*/*/resumed.jsonl")
    return [row["epoch"] for file in files for row in run_folder.read_lines(file)]


def trains(folder, beginning=1):
    """Whether a process trains the task and has saved a checkpoint, or has gone on from one that was saved before."""
    statuses = map(run_folder.read_json, folder.glob("rungs/*/*/*/status.json"))
    saved = any(status["saved"] for status in statuses)
    return saved and len(beginnings(folder)) == beginning and len(resumed(folder)) == beginning - 1


def wait_until(true, process):
    """The first value of `true` that is true, while the process runs."""
    began = time.monotonic()
    while not (value := true()):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() - began < PATIENCE
        time.sleep(0.02)
    return value
