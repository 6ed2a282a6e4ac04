"""How the state of a training gets from one fit to the next: in memory, by file, to another process, past a SIGKILL.

    python -m experiments.identity.transports FOLDER

is that other process: it continues the training of FOLDER/cell.json from what is saved there, saves after every fit,
and then waits until its input ends.
"""

import contextlib
import dataclasses
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from experiments.harness import run_folder
from experiments.harness.setting import Setting
from experiments.harness.source import open_source
from experiments.identity.design import HERE, KILLED, PROCESS, Cell
from experiments.identity.lowerings import Training, advance, begin, in_fits, one_fits, use_two_devices
from lstm_sched import checkpoint, population
from lstm_sched.members import Progress

SAVED = "checkpoint"  # in the folder of a cell
LIMIT = 300.0  # seconds that another process may take
MOMENT = 0.2  # seconds after the beginning of a fit within which it is killed


def in_memory(training: Training, every: int) -> list[Progress]:
    """The state after each fit."""
    progress, after_fits = begin(training), []
    for end in range(every, training.epochs + 1, every):
        progress = advance(training, progress, end)
        after_fits.append(progress)
    return after_fits


def by_file(
    training: Training,
    every: int,
    store: Path,
    last: int,
    begins: Callable[[int], None] = lambda fit: None,
) -> list[Progress]:
    """Continue from the saved state up to epoch `last`; each state is saved after a fit and read again."""
    progress, after_fits = saved(training, store), []
    for end in range(int(progress.clock.max()) + every, last + 1, every):
        begins(end // every)
        checkpoint.save(store, advance(training, progress, end), {"fits of": every})
        progress = saved(training, store)
        after_fits.append(progress)
    return after_fits


def saved(training: Training, store: Path) -> Progress:
    """The newest state in the folder, or the initial state if there is none."""
    if checkpoint.latest(store) is None:
        return begin(training)
    return population.to_host(checkpoint.restore(store, begin(training))[0], ...)


def carry(setting: Setting, folder: Path, cell: Cell, training: Training) -> tuple[list[Progress], str]:
    """The states after the fits in this process and the final state; and a note on the other process."""
    if cell.transport == HERE:
        return in_memory(training, cell.every), ""
    fits, note, after_fits = training.epochs // cell.every, "", []
    folder = folder / "cells" / run_folder.safe_names(["-".join(map(str, dataclasses.astuple(cell)))])[0]
    shutil.rmtree(folder, ignore_errors=True)  # a cell in which the run was stopped starts again
    write(folder, setting, cell)
    store = folder / SAVED
    if cell.transport == KILLED:
        note = kill(folder, fits)
    if cell.transport == PROCESS:
        after_fits = by_file(training, cell.every, store, fits // 2 * cell.every)
        note = finish_elsewhere(folder)
    after_fits += by_file(training, cell.every, store, training.epochs)
    return [*after_fits, saved(training, store)], note


def write(folder: Path, setting: Setting, cell: Cell) -> None:
    """Write cell.json, which tells the other process its task."""
    folder.mkdir(parents=True)
    asked = {"setting": dataclasses.asdict(setting), "cell": dataclasses.asdict(cell)}
    run_folder.write_json(folder / "cell.json", asked)


@contextlib.contextmanager
def _elsewhere(folder: Path, stdin: int) -> Iterator[subprocess.Popen]:
    """Run the other process; it is killed at the end of the block."""
    command = [sys.executable, "-m", "experiments.identity.transports", str(folder)]
    with subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def finish_elsewhere(folder: Path) -> str:
    """Finish the training saved in the folder in another process. RuntimeError if that fails."""
    with _elsewhere(folder, subprocess.DEVNULL) as process:
        out, _ = process.communicate(timeout=LIMIT)
    if process.returncode:
        raise RuntimeError(
            f"identity: the process that continued {folder} ended with code {process.returncode}"
        )
    return f"fits there: {out.count('fit')}"


def kill(folder: Path, fits: int) -> str:
    """Start another process, and kill it at a random moment of a random fit."""
    fit, wait = random.randint(1, fits), random.uniform(0, MOMENT)
    with _elsewhere(folder, subprocess.PIPE) as process:
        assert process.stdout
        for line in process.stdout:
            if line.split() == ["fit", str(fit)]:
                break
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
    if process.returncode != -signal.SIGKILL:
        raise RuntimeError(
            f"identity: the process to be killed in {folder} ended with code {process.returncode}"
        )
    return f"killed {1000 * wait:.0f} ms after the beginning of fit {fit} of {fits}"


def main(folder: Path) -> None:
    """Continue the training, as the other process."""
    use_two_devices()
    asked = run_folder.read_json(folder / "cell.json")
    setting, cell = run_folder.config_of(Setting, asked["setting"]), Cell(**asked["cell"])
    split = open_source(setting, setting.data[0]).split
    [training] = one_fits(setting, split, cell.optimizer, [cell.lowering]).values()
    training = in_fits(training, cell.every)
    by_file(
        training,
        cell.every,
        folder / SAVED,
        training.epochs,
        lambda fit: print(f"fit {fit}", flush=True),
    )
    sys.stdin.read()  # stay alive until the moment of the kill


if __name__ == "__main__":
    main(Path(sys.argv[1]))
