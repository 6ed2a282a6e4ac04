"""The host's side of a training: it writes curves and checkpoints, and stops at the end of a chunk.

Letters: M members of a population.
"""

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

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

from experiments.harness import arms, run_folder
from experiments.harness.document import duration
from experiments.harness.exits import FULL, IO_ERROR, Interrupted, Refused, stop_signals
from experiments.harness.plan import Plan
from lstm_sched import checkpoint, population
from lstm_sched.data.windows import Data
from lstm_sched.learner import Learner
from lstm_sched.members import Log, Member
from lstm_sched.members import Progress as State
from lstm_sched.population.layout import Layout

CHUNK_SECONDS = 3.0  # between progress reports, and so until a signal is obeyed
LINE_SECONDS = 30.0  # between lines of progress, at most, where there is no bar


@contextlib.contextmanager
def bar(console: Console, epochs: int, done: int) -> Iterator[Callable[[int], None]]:
    """A bar with the time left on a terminal; otherwise lines: at the first epoch, each tenth, or 30 s."""
    if console.is_terminal:
        columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("epochs"))
        clocks = (TimeElapsedColumn(), TextColumn("elapsed,"), TimeRemainingColumn(), TextColumn("left"))
        with Progress(*columns, *clocks, console=console) as progress:
            task = progress.add_task("training", total=epochs, completed=done)
            yield lambda clock: progress.update(task, completed=clock)
        return
    began = last = time.monotonic()
    tenth = done * 10 // epochs

    def line(clock: int) -> None:
        nonlocal last, tenth
        now = time.monotonic()
        if clock == done + 1 or clock * 10 // epochs > tenth or now - last > LINE_SECONDS:
            last, tenth = now, clock * 10 // epochs
            left = (now - began) / (clock - done) * (epochs - clock)
            console.print(
                f"epoch {clock}/{epochs}, {duration(now - began)} elapsed, about {duration(left)} left"
            )

    yield line


def probe(learner: Learner, layout: Layout, member_M: Member, data: Data) -> tuple[float, float]:
    """Seconds to compile, and seconds per epoch of all members, extrapolated from one epoch of a few."""
    began, total = time.perf_counter(), member_M.hp.rates_S.shape[0]
    at_once = population.members_at_once(learner, layout, member_M, data)  # may compile
    looked = time.perf_counter() - began
    layout, member_M = layout._replace(at_once=None), population.take(member_M, np.s_[:at_once])
    members = population.shard(member_M, layout)
    shared = population.replicate(data, layout)
    size = jax.tree.leaves(members)[0].shape[0]
    per_device = size // layout.shards
    probed_M = np.arange(size) % per_device == 0 if layout.mapped else np.ones(size, bool)
    probed_M &= np.arange(size) < member_M.hp.rates_S.shape[0]  # padding members train no epoch

    def seconds(end_M: np.ndarray) -> float:
        fresh = population.shard(population.start_all(learner, member_M.origin), layout)
        jax.block_until_ready((fresh, shared, members))
        began = time.perf_counter()
        jax.block_until_ready(population.run_all(learner, layout, members, shared, fresh, end_M))
        return time.perf_counter() - began

    compiled = looked + seconds(np.zeros(size, np.int32))
    epoch = seconds(probed_M.astype(np.int32))
    if epoch < 1:  # short enough to measure again, without the cost of a first execution
        epoch = min(epoch, seconds(probed_M.astype(np.int32)))
    return compiled, epoch * (per_device if layout.mapped else 1) * -(-total // at_once)


def chunk_of(epoch_seconds: float, epochs: int) -> int:
    """The number of epochs that take about CHUNK_SECONDS."""
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
    """Train the population to its end, from `begin_M` (see `resumed`) or from the beginning.

    Saves at the first chunk's end after each `save_every` seconds. Raises Interrupted after the chunk in which a
    signal arrived, with everything saved; Refused where nothing more can be written.
    """
    store = folder / "checkpoint"
    state_M = begin_M
    clock = saved = 0 if state_M is None else int(state_M.clock[0])
    saving = 0.0
    try:
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
                run_folder.note_status(folder, "interrupted" if stopped else "running", **facts)
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
    """As `population.train`, but the first chunk has one epoch, so that progress shows soon."""
    for end in dict.fromkeys((min(clock + 1, epochs), epochs)):
        for step in train_to(end, state_M, chunk):
            yield step
            state_M = step[0]


def resumed(folder: Path, learner: Learner, member_M: Member, console: Console) -> State | None:
    """The newest undamaged progress in the folder, or None; damage is printed and recorded.

    Raises Refused if all saved progress is damaged.
    """
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
    notes = [str(warning.message) for warning in caught]
    notes += [f"set aside: {path}" for path in checkpoint.set_aside(store, state_M)]
    for note in notes:
        console.print(note, markup=False, soft_wrap=True)
    run_folder.append_resumed(folder, int(state_M.clock[0]), notes)
    return state_M


def of_plan(plan: Plan, folder: Path, console: Console) -> State:
    """Train all members of a plan to the last epoch; epochs saved in the folder are not trained again."""
    config, built = plan.config, plan.built
    learner, layout, data = built.learner, built.layout, built.split.data
    member_M, labels = population.stack(arms.members(plan.arms, config, built)), arms.labels(plan.arms)
    begin_M = resumed(folder, learner, member_M, console)
    done = 0 if begin_M is None else int(begin_M.clock[0])
    if begin_M is not None and done >= config.epochs:
        console.print(f"All {config.epochs} epochs of {len(labels)} trainings are done; nothing is trained.")
        return begin_M
    counts = ", ".join(f"{arm.seeds} of {arm.name}" for arm in plan.arms)
    console.print(f"{len(labels)} trainings of {config.epochs} epochs: {counts}")
    compiled, epoch_seconds = _probed(console, learner, layout, member_M, data)
    how = "one after another" + ", each batch divided" * layout.divided if layout.mapped else "batched"
    devices = f"{layout.devices} device{'s' * (layout.devices > 1)}, members {how}"
    console.print(
        f"Compiled in {duration(compiled)}; expected: {duration(epoch_seconds * (config.epochs - done))} of "
        f"training ({devices}). Ctrl-C stops it; nothing is lost. Results: {folder}"
    )
    run_folder.note_status(folder, "running", of=config.epochs)
    chunk = chunk_of(epoch_seconds, config.epochs)
    began = time.monotonic()
    state_M = train(
        folder,
        learner,
        layout,
        member_M,
        labels,
        data,
        config.epochs,
        chunk,
        console,
        config.save_every,
        begin_M,
    )
    run_folder.note_status(folder, "running", seconds_training=round(time.monotonic() - began, 1))
    return state_M


def _probed(
    console: Console, learner: Learner, layout: Layout, member_M: Member, data: Data
) -> tuple[float, float]:
    """As `probe`, and shows meanwhile that it compiles."""
    if console.is_terminal:
        with console.status("compiling"):
            return probe(learner, layout, member_M, data)
    console.print("compiling")
    return probe(learner, layout, member_M, data)
