"""One task of a sweep: trials that share one compiled program, trained together by one process in one folder.

    python -m experiments.sweep.task FOLDER

task.json     what to do: {"config", "trials", "halving", "data": digest}; never changed
events.jsonl  what happened: each beginning, each death that was seen, and memory that did not suffice
rungs/        while it runs: raw curves and checkpoints
rows.csv      one row per trial, deterministic columns only; absent where the task failed
curves.npz    loss, val, … of [trial, epoch], and the trials' numbers; nan after a trial's last epoch
timing.json   seconds, versions, host and devices of the process that came to the end
done.json     last of all: {"state": "finished" or "failed", "why", "baselines"}
"""

import contextlib
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

from experiments.harness import document, exits, lock, run_folder
from experiments.harness.exits import EXIT, Interrupted, Stopped, raise_stopped
from experiments.harness.setting import Setting
from experiments.sweep.task import WITH_PARENT, events, rungs
from experiments.sweep.task.events import finished

WAIT = 60.0  # seconds to wait for a process that was told to stop, or that gives no sign of life


def run(folder: str, cores: int | None = None, patient: bool = False) -> dict[str, Any]:
    """Do the task that the folder holds, or go on with it, on `cores` of the CPU. Returns what done.json holds.

    A finished task is left alone, and a failed one is tried again. A `patient` caller waits as long as another process
    works on the task, and takes over from one on another host that gives no sign of life: only an engine may, since it
    starts a task again when it knows that its process ended. Raises Interrupted, lock.InUse, OSError or Refused for
    what another start may mend; all that was trained is kept.
    """
    path = Path(folder)
    done = finished(path)
    if done is not None:
        return done
    with contextlib.ExitStack() as held:
        _enter(held, path, patient)
        done = finished(path)
        return _carry_out(path, cores) if done is None else done


def _enter(held: contextlib.ExitStack, path: Path, patient: bool) -> None:
    """Hold the folder's lock, after waiting for its holder where there is one."""
    since, seen, silent = time.monotonic(), lock.sign(path), ""
    while True:
        try:
            if taken_over := held.enter_context(lock.hold(path, silent, pulse=True)):
                print(taken_over, file=sys.stderr)
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


def _carry_out(path: Path, cores: int | None) -> dict[str, Any]:
    """Train until the task has finished or failed, and record which."""
    began = time.monotonic()
    events.note(path, "began", host=socket.gethostname(), pid=os.getpid())
    task = run_folder.read_json(path / "task.json")
    setting = run_folder.config_of(Setting, task["config"])
    trained, why = _train(
        path, task, setting if cores is None else dataclasses.replace(setting, devices=cores)
    )
    done = {"state": "failed", "why": why, "baselines": {}}
    if trained is not None:
        run_folder.write_csv(path / "rows.csv", trained.rows)
        _write_curves(path / "curves.npz", trained)
        done |= {"state": "finished", "baselines": trained.baselines}
    timing = {"slices": events.slices(path), **(trained.seconds if trained is not None else {})}
    timing |= {"seconds": time.monotonic() - began, "host": socket.gethostname()}
    run_folder.write_json(path / "timing.json", timing | run_folder.environment())
    run_folder.write_json(path / "done.json", done)
    if trained is not None:
        shutil.rmtree(path / "rungs", ignore_errors=True)  # of no more use
    return done


def _train(path: Path, task: dict[str, Any], setting: Setting) -> tuple[rungs.Trained | None, str]:
    """What came of the trials, or why nothing did. Where memory does not suffice the slices are halved."""
    while True:
        slices = events.slices(path)
        try:
            return rungs.train(path / "rungs", task, setting, slices, document.console()), ""
        except (Interrupted, OSError):
            raise
        except exits.Refused as e:
            if e.code == exits.IO_ERROR:
                raise
            return None, str(e)
        except Exception as e:  # ends the task and not the sweep
            traceback.print_exc()
            why = f"{type(e).__name__}: {str(e).partition(chr(10))[0]}"
            if not _lacks_memory(e) or slices >= len(task["trials"]):
                return None, why
            events.note(path, "memory", slices=2 * slices, why=why)


def _lacks_memory(e: Exception) -> bool:
    refused = isinstance(e, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(e)
    return isinstance(e, MemoryError) or refused


def _write_curves(path: Path, trained: rungs.Trained) -> None:
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(
            file,
            allow_pickle=False,
            dims=np.array(["cell", "epoch"]),
            number=np.array(trained.numbers),
            epoch=np.arange(1, trained.curves["val"].shape[1] + 1),
            **trained.curves,
        )
    part.replace(path)


def _follow_parent() -> None:
    """Stop, as on a signal, when standard input ends. Not through sys.stdin, whose lock would outlive this thread."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main(arguments: list[str]) -> int:
    """Exit code: 0 where the task finished, 1 where it failed; where it could do neither, as `harness.cli` has them."""
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
