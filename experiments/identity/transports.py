"""How the state of a training gets from one fit to the next: in memory, by file, to another process, past a SIGKILL.

    python -m experiments.identity.transports FOLDER

is that other process: it goes on with the training of FOLDER/cell.json from what is saved there, saves after every
fit, and then waits until its input ends.
"""

import dataclasses
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.harness import run_folder, training
from experiments.harness.setting import Setting
from experiments.harness.source import open_source
from experiments.identity.design import HERE, KILLED, PROCESS, Cell
from experiments.identity.lowerings import Training, advance, begin, in_fits, one_fits, use_two_devices
from lstm_sched import checkpoint, population
from lstm_sched.members import Progress

SAVED = "checkpoint"  # in the folder of a cell
LIMIT = 300.0  # seconds that another process may take
MOMENT = 0.2  # seconds after the beginning of a fit within which it is killed


def in_memory(one: Training, every: int) -> list[Progress]:
    """The state after each fit."""
    progress, seen = begin(one), []
    for end in range(every, one.epochs + 1, every):
        progress = advance(one, progress, end)
        seen.append(progress)
    return seen


def saved(one: Training, folder: Path) -> Progress:
    """The newest state in the folder; the beginning where there is none."""
    if checkpoint.latest(folder) is None:
        return begin(one)
    return _read(one, folder)


def _read(one: Training, folder: Path) -> Progress:
    return population.to_host(checkpoint.restore(folder, begin(one))[0], ...)


def by_file(
    one: Training, every: int, folder: Path, last: int, begins: Callable[[int], None] = lambda fit: None
) -> list[Progress]:
    """Goes on from what is saved up to epoch `last`: saved after each fit, and read again before the next."""
    progress, seen = saved(one, folder), []
    for end in range(int(progress.clock.max()) + every, last + 1, every):
        begins(end // every)
        checkpoint.save(folder, advance(one, progress, end), {"fits of": every})
        progress = _read(one, folder)
        seen.append(progress)
    return seen


def carried(setting: Setting, folder: Path, cell: Cell, one: Training) -> tuple[list[Progress], str]:
    """The state after each fit that ended here, the last of them the training's; and what happened elsewhere."""
    if cell.transport == HERE:
        return in_memory(one, cell.every), ""
    fits, note, seen = one.epochs // cell.every, "", []
    folder = folder / "cells" / run_folder.safe_names(["-".join(map(str, cell))])[0]
    write(folder, setting, cell)
    store = folder / SAVED
    if cell.transport == KILLED:
        note = kill(folder, fits)
    if cell.transport == PROCESS:
        seen = by_file(one, cell.every, store, fits // 2 * cell.every)
        note = go_on(folder)
    seen += by_file(one, cell.every, store, one.epochs)
    return [*seen, saved(one, store)], note


def write(folder: Path, setting: Setting, cell: Cell) -> None:
    """What the other process is to do."""
    folder.mkdir(parents=True)
    asked = {"setting": dataclasses.asdict(setting), "cell": cell._asdict()}
    run_folder.write_json(folder / "cell.json", asked)


def _other(folder: Path, **streams: Any) -> subprocess.Popen:
    command = [sys.executable, "-m", "experiments.identity.transports", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **streams)


def go_on(folder: Path) -> str:
    """Another process finishes what is saved in the folder. RuntimeError where it fails."""
    with _other(folder, stdin=subprocess.DEVNULL) as other:
        out, _ = other.communicate(timeout=LIMIT)
    if other.returncode:
        raise RuntimeError(f"identity: the process that went on in {folder} ended with {other.returncode}")
    return f"fits there: {out.count('fit')}"


def kill(folder: Path, fits: int) -> str:
    """Another process begins, and is killed at a random moment of a random fit."""
    fit, wait = random.randint(1, fits), random.uniform(0, MOMENT)
    with _other(folder, stdin=subprocess.PIPE) as other:
        assert other.stdout
        for line in other.stdout:
            if line.split() == ["fit", str(fit)]:
                break
        time.sleep(wait)
        other.send_signal(signal.SIGKILL)
    if other.returncode != -signal.SIGKILL:
        raise RuntimeError(f"identity: the process to be killed in {folder} ended with {other.returncode}")
    return f"killed {1000 * wait:.0f} ms after the beginning of fit {fit} of {fits}"


def main(folder: Path) -> None:
    """The other process."""
    use_two_devices()
    asked = run_folder.read_json(folder / "cell.json")
    setting, cell = training.from_dict(Setting, asked["setting"]), Cell(**asked["cell"])
    split = open_source(setting, setting.data[0]).split
    [one] = one_fits(setting, split, cell.optimizer, [cell.lowering]).values()
    one = in_fits(one, cell.every)
    by_file(one, cell.every, folder / SAVED, one.epochs, lambda fit: print(f"fit {fit}", flush=True))
    sys.stdin.read()  # it is not over before the moment has come at which it is to be killed


if __name__ == "__main__":
    main(Path(sys.argv[1]))
