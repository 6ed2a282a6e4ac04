"""The host's side of a training: raw curves to disk, checkpoints, and a stop at the next chunk."""

import contextlib
import dataclasses
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from experiments.harness import run_folder
from experiments.harness.exits import FULL, IO_ERROR, Interrupted, Refused, stop_signals
from lstm_sched import checkpoint, population
from lstm_sched.data.windows import Data
from lstm_sched.learner import Learner
from lstm_sched.members import Log, Member
from lstm_sched.members import Progress as State
from lstm_sched.population.layout import Layout

# How far a training is, and the time that it has left.


@contextlib.contextmanager
def bar(console: Console, epochs: int, done: int) -> Iterator[Callable[[int], None]]:
    """A bar with time left on a terminal; elsewhere a plain line at the first epoch and each tenth."""
    if console.is_terminal:
        columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("epochs"))
        clocks = (TimeElapsedColumn(), TextColumn("elapsed,"), TimeRemainingColumn(), TextColumn("left"))
        with Progress(*columns, *clocks, console=console) as progress:
            task = progress.add_task("training", total=epochs, completed=done)
            yield lambda clock: progress.update(task, completed=clock)
        return
    began, start, printed = time.monotonic(), done, [done * 10 // epochs]

    def line(clock: int) -> None:
        if clock == done + 1 or clock * 10 // epochs > printed[0]:
            printed[0] = clock * 10 // epochs
            elapsed = time.monotonic() - began
            left = elapsed / (clock - start) * (epochs - clock)
            console.print(f"epoch {clock}/{epochs}, {elapsed:.0f} s elapsed, about {left:.0f} s left")

    yield line


CHUNK_SECONDS = 3.0  # between signs of life, and so until a signal is obeyed


def probe(learner: Learner, layout: Layout, member_M: Member, data: Data) -> tuple[float, float]:
    """Seconds to compile the program, and seconds for an epoch of all members, from one epoch of a few of them."""
    began, total = time.perf_counter(), member_M.hp.rates_S.shape[0]
    at_once = population.members_at_once(learner, layout, member_M, data)  # may compile
    looked = time.perf_counter() - began
    layout, member_M = layout._replace(at_once=None), population.take(member_M, np.s_[:at_once])
    members = population.shard(member_M, layout)
    shared = population.replicate(data, layout)
    size = jax.tree.leaves(members)[0].shape[0]
    per_device = size // layout.shards
    one = np.arange(size) % per_device == 0 if layout.mapped else np.ones(size, bool)
    one &= np.arange(size) < member_M.hp.rates_S.shape[0]  # what fills up the devices costs no epoch

    def seconds(end_M: np.ndarray) -> float:
        fresh = population.shard(population.start_all(learner, member_M.origin), layout)
        jax.block_until_ready((fresh, shared, members))
        began = time.perf_counter()
        jax.block_until_ready(population.run_all(learner, layout, members, shared, fresh, end_M))
        return time.perf_counter() - began

    compiled = looked + seconds(np.zeros(size, np.int32))
    epoch = seconds(one.astype(np.int32))
    if epoch < 1:  # short enough to look twice, past what a first execution costs
        epoch = min(epoch, seconds(one.astype(np.int32)))
    return compiled, epoch * (per_device if layout.mapped else 1) * -(-total // at_once)


def chunk_of(epoch_seconds: float, epochs: int) -> int:
    """Epochs that take about CHUNK_SECONDS."""
    return int(np.clip(CHUNK_SECONDS / max(epoch_seconds, 1e-6), 1, min(epochs, population.MAX_CHUNK)))


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
    save_every: float,
    begin_M: State | None = None,
) -> State:
    """Run the population to its end, from the folder's checkpoint where there is one, or else from `begin_M`.

    Saves at the first chunk's end after each `save_every` seconds. Raises Interrupted after the chunk in which a
    signal arrived, with everything saved; Refused where nothing sound can be read, or nothing more written.
    """
    store = folder / "checkpoint"
    clock = saved = 0
    saving = 0.0
    try:
        state_M = _resumed(folder, learner, member_M, console)
        state_M = begin_M if state_M is None else state_M
        clock = saved = 0 if state_M is None else int(state_M.clock[0])
        if (folder / "metrics.jsonl").exists():
            run_folder.cut_metrics(folder, clock)
        last_saved = time.monotonic()
        train_to = partial(population.train, learner, layout, member_M, data)
        chunks = _in_chunks(train_to, clock, epochs, state_M, chunk)
        with stop_signals() as received, bar(console, epochs, clock) as show:
            for now_M, log_M in chunks:
                run_folder.append_metrics(folder, labels, clock, log_M)
                state_M, clock = now_M, clock + log_M.loss.shape[1]
                show(clock)
                if clock == epochs or received or time.monotonic() - last_saved > save_every:
                    began = time.monotonic()
                    checkpoint.save(store, state_M, {"labels": [list(label) for label in labels]})
                    last_saved, saved = time.monotonic(), clock
                    saving += last_saved - began
                stopped = bool(received) and saved == clock
                facts = {"epochs": clock, "saved": saved, "of": epochs, "seconds_saving": round(saving, 3)}
                run_folder.write_status(folder, "interrupted" if stopped else "running", **facts)
                if stopped:
                    raise Interrupted(received[0], folder)
    except OSError as e:
        if e.errno not in FULL:
            raise
        mend = f"make room, or copy {folder} to where there is some, and go on with --resume"
        raise Refused(f"{e.strerror}: of {clock} epochs trained {saved} are saved; {mend}", IO_ERROR) from e
    assert state_M is not None
    return state_M


def _in_chunks(
    train_to: Callable[..., Iterator[tuple[State, Log]]],
    clock: int,
    epochs: int,
    state_M: State | None,
    chunk: int,
) -> Iterator[tuple[State, Log]]:
    """As `population.train`, after one epoch for the first time, so that something is soon known."""
    for end in dict.fromkeys((min(clock + 1, epochs), epochs)):
        for now in train_to(end, state_M, chunk):
            yield now
            state_M = now[0]


def _resumed(folder: Path, learner: Learner, member_M: Member, console: Console) -> State | None:
    """The folder's newest sound progress; what is to be said of it is printed and recorded."""
    store = folder / "checkpoint"
    if checkpoint.latest(store) is None:
        return None
    like = population.to_host(population.start_all(learner, member_M.origin))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", checkpoint.CheckpointWarning)
        try:
            state_M = population.to_host(checkpoint.restore(store, like)[0])
        except ValueError as e:
            raise Refused(str(e)) from e
    told = [str(warning.message) for warning in caught]
    told += [f"set aside: {path}" for path in checkpoint.set_aside(store, state_M)]
    for line in told:
        console.print(line, markup=False, soft_wrap=True)
    run_folder.append_resumed(folder, int(state_M.clock[0]), told)
    return state_M


def from_dict(config: type, fields: dict[str, Any]) -> Any:
    """A configuration from its JSON; lists are tuples."""
    known = {f.name for f in dataclasses.fields(config)}
    if set(fields) != known:
        raise ValueError(
            f"config: fields {sorted(set(fields) ^ known)} differ; this version has {sorted(known)}"
        )
    return config(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})
