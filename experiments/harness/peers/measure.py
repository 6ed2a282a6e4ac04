"""Jobs measured in turn, each package in processes of its own; what was measured before a run was stopped is kept."""

import contextlib
import shutil
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import astuple, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.harness.experiment import Workplace
from experiments.harness.peers import process, timing
from experiments.harness.peers.jobs import RATE, RATES, Job, Row, Shape
from experiments.harness.peers.process import Lost, Process


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The processes that are open, and what they work on.

    waited  whether seconds are those that the caller waits, preparation included, or those of the training alone
    warm    jobs that their processes have compiled
    """

    workplace: Workplace
    python: str | None
    platform: str
    waited: bool
    lost: dict[str, str]
    running: contextlib.ExitStack
    processes: dict[tuple[str, tuple[int, ...]], Process] = field(default_factory=dict)
    warm: set[Job] = field(default_factory=set)

    @property
    def data(self) -> Path:
        """Folder of what the packages train on; it is gone at the end."""
        return self.workplace.folder / "data.part"


@contextlib.contextmanager
def bench(
    workplace: Workplace,
    python: str | None,
    lost: dict[str, str],
    platform: str = "cpu",
    waited: bool = False,
) -> Iterator[Bench]:
    """A place to measure, whose processes end with the block; packages that are lost are added to `lost`."""
    with contextlib.ExitStack() as running:
        made = Bench(
            workplace=workplace, python=python, platform=platform, waited=waited, lost=lost, running=running
        )
        shutil.rmtree(made.data, ignore_errors=True)  # of a process that was killed
        running.callback(shutil.rmtree, made.data, ignore_errors=True)
        yield made


def timed(
    place: Bench, jobs: Sequence[Job], repetitions: int, group: Callable[[Job], Hashable] = lambda job: job
) -> list[Row]:
    """A row for the first time that each job is done, which compiles, and for each repetition.

    Jobs of one group follow each other closely, so that their times can be compared. Packages in `place.lost` are left
    out. Raises Lost where this package itself cannot be measured.
    """
    most = {job.shape: job.members for job in sorted(jobs, key=lambda job: job.members)}
    rows = []
    for job in jobs:
        for row in _row(place, job, 0, most[job.shape]):
            rows.append(row)
            text = f"{job.title}, {job.package}: {row.version}, first in {timing.number(row.seconds)} s"
            place.workplace.console.print(text, markup=False)
    order = np.random.default_rng(0)
    repeated = [row.job for row in rows if row.job.repeated]
    for repetition in range(1, repetitions + 1):
        for job in timing.turns(repeated, group, order):
            rows += _row(place, job, repetition, most[job.shape])
    return rows


def _row(place: Bench, job: Job, repetition: int, members: int) -> list[Row]:
    """The row of a repetition; none where the package is lost."""
    if job.package in place.lost:
        return []
    key = f"{job.key}, repetition {repetition}"
    answer = place.workplace.once(key, partial(_measure, place, job, repetition, members))
    if "lost" in answer:
        place.lost[job.package] = answer["lost"]
        return []
    return [Row(job=job, repetition=repetition, **answer | {"losses": tuple(answer["losses"])})]


def _measure(place: Bench, job: Job, repetition: int, members: int) -> dict[str, Any]:
    """The fields of a Row, or why the package is lost."""
    try:
        processes = [_process(place, job.package, cores) for cores in job.cores]
        path = _file(place, job.shape, members)
        if repetition and job not in place.warm:  # an earlier process has compiled it
            _train(place, job, processes, path)
        place.warm.add(job)
        answer = _train(place, job, processes, path)
        if job.memory and not repetition:
            [task] = _tasks(place, job, path)
            [sizes] = process.ask(processes, [task | {"arm": "memory"}])
            answer["bytes"] = sizes["bytes"]
        return answer
    except Lost as e:
        if job.package == process.OURS:
            raise Lost(f"{job.package}: {e}") from e
        when = f"ended in repetition {repetition} of {job.title}" if repetition else "not measured"
        return {"lost": f"{when} ({e})"}


def _process(place: Bench, package: str, cores: tuple[int, ...]) -> Process:
    """One process for all jobs of a package on these cores: no two of them train with the same program."""
    if (package, cores) not in place.processes:
        log = place.workplace.folder / "peers.log"
        opened = process.opened(package, place.python, log, cores, place.platform)
        place.processes[package, cores] = place.running.enter_context(opened)
    return place.processes[package, cores]


def _file(place: Bench, shape: Shape, members: int) -> Path:
    """What is trained, with first weights of so many members."""
    path = place.data.resolve() / f"{'-'.join(map(str, astuple(shape)))}-{members}.npz"
    if not path.exists():
        from experiments.harness.peers import workload  # JAX

        path.parent.mkdir(exist_ok=True)
        workload.save(path, workload.arrays(shape, members))
    return path


def _tasks(place: Bench, job: Job, path: Path) -> list[dict[str, Any]]:
    """What each process is asked; the members are shared out in turn."""
    task = {"data": str(path), "arm": job.arm, "epochs": job.epochs, "device": place.platform}
    task |= {"hidden": job.shape.hidden, "batch": job.shape.batch}
    rates = [RATE] if job.members == 1 else [RATES[m % len(RATES)] for m in range(job.members)]
    members = list(enumerate(rates))
    return [task | {"members": members[n :: len(job.cores)]} for n in range(len(job.cores))]


def _train(place: Bench, job: Job, processes: Sequence[Process], path: Path) -> dict[str, Any]:
    """The fields of a Row, once."""
    began = time.perf_counter()
    answers = process.ask(processes, _tasks(place, job, path))
    seconds = time.perf_counter() - began
    if not place.waited or job.arm == "product":
        seconds = max(answer["seconds"] for answer in answers)
    losses = [0.0] * sum(len(answer["loss"]) for answer in answers)
    for n, answer in enumerate(answers):
        losses[n :: len(answers)] = answer["loss"]
    facts = {"seconds": seconds, "losses": losses, "version": processes[0].version}
    return facts | {"flops": answers[0].get("flops", 0)}
