"""The host's side of a training: progress with time left, raw curves to disk, checkpoints, a stop at the next chunk."""

import contextlib
import dataclasses
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from experiments import record
from lstm_sched import checkpoint, population
from lstm_sched.data import Data
from lstm_sched.learner import Learner
from lstm_sched.member import Member
from lstm_sched.member import Progress as State
from lstm_sched.population import Layout

SAVE_EVERY = 30.0  # seconds between checkpoints
CHUNK_SECONDS = 3.0  # between signs of life, and so until a signal is obeyed
EXIT = {signal.SIGINT: 130, signal.SIGTERM: 75}


class Interrupted(Exception):
    """A signal arrived; everything is saved in `folder`."""

    def __init__(self, signum: int, folder: Path):
        super().__init__(signum, folder)
        self.signum, self.folder = signum, folder


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """A list that receives SIGINT and SIGTERM; the second of them ends the process at once."""
    received: list[int] = []

    def note(signum: int, frame: Any) -> None:
        received.append(signum)
        for s in previous:
            signal.signal(s, signal.SIG_DFL)

    try:
        previous = {s: signal.signal(s, note) for s in EXIT}
    except ValueError:  # not the main thread, which alone may set handlers
        yield received
        return
    try:
        yield received
    finally:
        for s, handler in previous.items():
            signal.signal(s, handler)


def probe(learner: Learner, layout: Layout, member_M: Member, data: Data) -> tuple[float, float]:
    """Seconds to compile the program, and seconds for an epoch of all members, from one epoch of a few of them."""
    members = population.pad(member_M, layout)
    shared = population.share(data, layout)
    size = jax.tree.leaves(members)[0].shape[0]
    per_device = size // layout.devices
    one = np.arange(size) % per_device == 0 if layout.mapped else np.ones(size, bool)
    one &= np.arange(size) < member_M.hp.rates_S.shape[0]  # what fills up the devices costs no epoch

    def seconds(end_M: np.ndarray) -> float:
        fresh = population.pad(population.begin_all(learner, member_M.origin), layout)
        jax.block_until_ready((fresh, shared, members))
        began = time.perf_counter()
        jax.block_until_ready(population.advance(learner, layout, members, shared, fresh, end_M))
        return time.perf_counter() - began

    compiled = seconds(np.zeros(size, np.int32))
    epoch = seconds(one.astype(np.int32))
    if epoch < 1:  # short enough to look twice, past what a first execution costs
        epoch = min(epoch, seconds(one.astype(np.int32)))
    return compiled, epoch * (per_device if layout.mapped else 1)


def chunk_of(epoch_seconds: float, epochs: int) -> int:
    """Epochs that take about CHUNK_SECONDS."""
    return int(np.clip(CHUNK_SECONDS / max(epoch_seconds, 1e-6), 1, min(epochs, population.SCAN)))


def train(
    folder: Path,
    learner: Learner,
    layout: Layout,
    member_M: Member,
    labels: Sequence[tuple[str, int]],
    data: Data,
    epochs: int,
    chunk: int,
    console: Console,
) -> State:
    """Run the population to its end, from the folder's checkpoint where there is one.

    Raises Interrupted after the chunk in which a signal arrived, with everything saved.
    """
    store = folder / "checkpoint"
    state_M, clock = None, 0
    if checkpoint.latest(store) is not None:
        like = population.fetch(population.begin_all(learner, member_M.origin))
        state_M = population.fetch(checkpoint.restore(store, like)[0])
        clock = int(state_M.clock[0])
    if (folder / "metrics.jsonl").exists():
        record.cut_metrics(folder, clock)
    last_saved = time.monotonic()
    chunks = population.train(learner, layout, member_M, data, epochs, state_M, chunk)
    with stop_signals() as received, bar(console, epochs, clock) as show:
        for now_M, log_M in chunks:
            record.append_metrics(folder, labels, clock, log_M)
            state_M, clock = now_M, clock + log_M.loss.shape[1]
            show(clock)
            record.write_status(folder, "running", epochs=clock, of=epochs)
            if clock == epochs or received or time.monotonic() - last_saved > SAVE_EVERY:
                checkpoint.save(store, state_M, {"labels": [list(label) for label in labels]})
                last_saved = time.monotonic()
            if received and clock < epochs:
                record.write_status(folder, "interrupted", epochs=clock, of=epochs)
                raise Interrupted(received[0], folder)
    assert state_M is not None
    return state_M


@contextlib.contextmanager
def bar(console: Console, epochs: int, done: int) -> Iterator[Callable[[int], None]]:
    """A bar with time left on a terminal; elsewhere a plain line at each tenth."""
    if console.is_terminal:
        columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("epochs"))
        clocks = (TimeElapsedColumn(), TextColumn("elapsed,"), TimeRemainingColumn(), TextColumn("left"))
        with Progress(*columns, *clocks, console=console) as progress:
            task = progress.add_task("training", total=epochs, completed=done)
            yield lambda clock: progress.update(task, completed=clock)
        return
    began, start, printed = time.monotonic(), done, [done * 10 // epochs]

    def line(clock: int) -> None:
        if clock * 10 // epochs > printed[0]:
            printed[0] = clock * 10 // epochs
            elapsed = time.monotonic() - began
            left = elapsed / (clock - start) * (epochs - clock)
            console.print(f"epoch {clock}/{epochs}, {elapsed:.0f} s elapsed, about {left:.0f} s left")

    yield line


def command_line(
    experiment: str,
    config: type,
    prepare: Callable[[Any], Any],
    execute: Callable[[Any], Any],
    description: str,
) -> None:
    """Parse the flags and run. What `prepare` refuses is the user's to mend: one sentence and exit code 2."""
    asked = tyro.cli(config, prog=f"python -m experiments.{experiment}", description=description)
    try:
        plan = prepare(asked)
    except (ValueError, TypeError, OSError) as e:
        print(f"{experiment}: {e}", file=sys.stderr)
        sys.exit(2)
    try:
        execute(plan)
    except Interrupted as e:
        resume = f"python -m experiments.{experiment} --resume {e.folder}"
        print(
            f"stopped by {signal.Signals(e.signum).name}; all is saved. To go on: {resume}", file=sys.stderr
        )
        sys.exit(EXIT[signal.Signals(e.signum)])
    except KeyboardInterrupt:  # before or after the training, where there is nothing to finish first
        print("stopped; what was trained is saved, and --resume with the folder goes on", file=sys.stderr)
        sys.exit(EXIT[signal.SIGINT])


def from_dict(config: type, fields: dict[str, Any]) -> Any:
    """A configuration from its JSON; lists are tuples."""
    known = {f.name for f in dataclasses.fields(config)}
    if set(fields) != known:
        raise ValueError(
            f"config: fields {sorted(set(fields) ^ known)} differ; this version has {sorted(known)}"
        )
    return config(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})
