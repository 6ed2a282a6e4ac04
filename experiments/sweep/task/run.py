"""One task of a sweep: cells that share one compiled program, trained together by one process in one folder.

    python -m experiments.sweep.task FOLDER

task.json       what to do: {"config", "cells", "halving", "data": digest}; never changed
attempts.jsonl  what happened: each beginning, each death that was seen, and memory that did not suffice
rungs/          while it runs: raw curves and checkpoints
rows.csv        a row a cell; deterministic columns only; not where the task failed
curves.npz      loss, val, … of [cell, epoch], and the cells' numbers; nan after a cell's last epoch
timing.json     seconds, versions, host and devices of the attempt that came to the end
done.json       last of all: {"state": "finished" or "failed", "why", "baselines"}
"""

import contextlib
import csv
import dataclasses
import os
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.harness import exits, lock, report, run_folder, training
from experiments.harness.exits import EXIT, Interrupted, Stopped, raise_stopped
from experiments.harness.setting import Setting
from experiments.sweep.task import events, rungs, trials

# Seconds for which a folder may be in use by a process that was told to stop or gives no more sign.
WAIT = 60.0
WITH_PARENT = "--with-parent"  # stop when standard input ends, as it does when its writer dies


def run(folder: str, cores: int | None = None, patient: bool = False) -> dict[str, Any]:
    """Do the task that the folder holds, or go on with it; what done.json holds.

    On `cores` of the CPU, by default all that this process may use. Whoever is `patient` waits as long as another
    process works on the task, and takes over from one on another host that gives no more sign: only an engine may,
    which starts a task anew when it knows that its last process ended.

    A task that has finished is left alone, one that failed is tried again. Raises what another attempt may mend:
    Interrupted, lock.InUse, and OSError or Refused where nothing can be written; all that was trained is kept.
    """
    path = Path(folder)
    done = finished(path)
    if done is not None:
        return done
    with contextlib.ExitStack() as held:
        _enter(held, path, patient)
        done = finished(path)
        return _attempt(path, cores) if done is None else done


def finished(path: Path) -> dict[str, Any] | None:
    """What done.json holds of a task that has finished; None of any other."""
    file = path / "done.json"
    done = run_folder.read_json(file) if file.exists() else None
    return done if done is not None and done["state"] == "finished" else None


def _enter(held: contextlib.ExitStack, path: Path, patient: bool) -> None:
    since, seen, silent = time.monotonic(), lock.sign(path), ""
    while True:
        try:
            said = held.enter_context(lock.hold(path, silent, pulse=True))
            if said:
                print(said, file=sys.stderr)
            return
        except lock.InUse:
            sign = lock.sign(path)
            if patient and sign != seen:
                since, seen, silent = time.monotonic(), sign, ""
            elif time.monotonic() - since > WAIT:
                if not patient or silent:
                    raise
                silent = seen
            time.sleep(0.1 if time.monotonic() - since < 10 else 1.0)


def _attempt(path: Path, cores: int | None) -> dict[str, Any]:
    """The task until it has finished or failed, which is recorded."""
    began = time.monotonic()
    events.note(path, "began", host=socket.gethostname(), pid=os.getpid())
    task = run_folder.read_json(path / "task.json")
    config = training.from_dict(Setting, task["config"])
    config = config if cores is None else dataclasses.replace(config, devices=cores)
    climbed, why = _climb(path, task, config)
    baselines, spent = {}, {}
    if climbed is not None:
        baselines, spent = climbed.baselines, climbed.spent
        run_folder.write_csv(path / "rows.csv", climbed.rows)
        _write_curves(path / "curves.npz", climbed)
    beginnings = sum(row["event"] == "began" for row in events.read(path))
    facts = {"attempts": beginnings, "parts": events.parts(path), "cells": len(task["cells"]), **spent}
    facts |= {"seconds": time.monotonic() - began, "host": socket.gethostname()}
    run_folder.write_json(path / "timing.json", facts | run_folder.environment())
    done = {"state": "failed" if climbed is None else "finished", "why": why, "baselines": baselines}
    run_folder.write_json(path / "done.json", done)
    if climbed is not None:
        shutil.rmtree(path / "rungs", ignore_errors=True)  # of no more use
    return done


def rows(path: Path, why: str = "it was not run") -> list[dict[str, Any]]:
    """A row a cell: those of rows.csv as text, or of a task that has not finished its failure, by default for `why`."""
    if finished(path) is not None:
        with (path / "rows.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    if (path / "done.json").exists():
        why = run_folder.read_json(path / "done.json")["why"]
    task = run_folder.read_json(path / "task.json")
    config = training.from_dict(Setting, task["config"])
    return [trials.columns(cell, config) | rungs.failed(why) for cell in task["cells"]]


def _climb(path: Path, task: dict[str, Any], config: Setting) -> tuple[rungs.Climbed | None, str]:
    """What came of the cells, or why nothing did. Where memory does not suffice the slices are halved."""
    while True:
        n = events.parts(path)
        try:
            what = (task["cells"], config, task["halving"])
            return rungs.climb(path / "rungs", *what, n, report.console(), task.get("data")), ""
        except (Interrupted, OSError):
            raise
        except exits.Refused as e:
            if e.code == exits.IO_ERROR:
                raise
            return None, str(e)
        except Exception as e:  # the task's end, not the sweep's
            traceback.print_exc()
            why = f"{type(e).__name__}: {str(e).partition(chr(10))[0]}"
            if not _for_want_of_memory(e) or n >= len(task["cells"]):
                return None, why
            events.note(path, "memory", parts=2 * n, why=why)


def _for_want_of_memory(e: Exception) -> bool:
    return isinstance(e, MemoryError) or (
        isinstance(e, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(e)
    )


def _write_curves(path: Path, climbed: rungs.Climbed) -> None:
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(
            file,
            allow_pickle=False,
            dims=np.array(["cell", "epoch"]),
            number=np.array(climbed.numbers),
            epoch=np.arange(1, climbed.curves["val"].shape[1] + 1),
            **climbed.curves,
        )
    part.replace(path)


def _follow_parent() -> None:
    """Stop, as on a signal, when standard input ends. Not through sys.stdin, whose lock would outlive this thread."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main(arguments: list[str]) -> int:
    """Exit code: 0 where the task finished, 1 where it failed; as in `command_line` where it could do neither."""
    if WITH_PARENT in arguments:
        threading.Thread(target=_follow_parent, daemon=True).start()
    [folder] = [word for word in arguments if word != WITH_PARENT]
    try:
        with raise_stopped():
            done = run(folder)
    except Interrupted as e:
        sys.stdout.flush()
        os._exit(EXIT[signal.Signals(e.signum)])  # the interpreter would take a second more to end
    except KeyboardInterrupt as e:
        return EXIT[signal.Signals(e.signum) if isinstance(e, Stopped) else signal.SIGINT]
    except (exits.Refused, lock.InUse, OSError) as e:
        print(f"task {folder}: {e}", file=sys.stderr)
        return 2 if isinstance(e, lock.InUse) else exits.IO_ERROR
    print(f"{done['state']}{': ' * bool(done['why'])}{done['why']}")
    return 0 if done["state"] == "finished" else 1
