"""Jobs carried out, each in processes of its own that are asked in turn.

Letters: R repetitions.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from experiments.harness import report
from experiments.harness.peers import process as pr
from experiments.harness.peers import timing, workload
from experiments.harness.peers.workload import RATES
from experiments.throughput.jobs import Job, Plan, Timed

Processes = list[pr.Process]


def timed(plan: Plan, jobs: list[Job], out: Console, missing: dict[str, str]) -> list[Timed]:
    """A row for the first, and for each repetition, of each job. A package that is not there, or ends, is noted in
    `missing` and left out."""
    files = _data(plan.folder, jobs)
    rows, going, opened = [], {}, {}
    with ExitStack() as running:
        for job in jobs:
            if job.package in missing:
                continue
            try:
                processes = [_open(plan, running, opened, job.package, cores) for cores in job.cores]
                if processes[0].why_not:
                    missing[job.package] = processes[0].why_not
                    continue
                going[job] = partial(_once, plan, job, processes, files[job.shape])
                first = going[job](repetition=0)
            except pr.Lost as e:
                missing[job.package] = str(e)
                going.pop(job, None)
                continue
            if job.package == pr.OURS and job.arm != "product":
                first = first._replace(bytes=_memory(plan, job, processes[0], files[job.shape]))
            rows.append(first)
            version = f"{processes[0].version}, first in {report.duration(first.seconds)}"
            out.print(f"{in_words(first)}: {version}", markup=False)
        order = np.random.default_rng(0)
        for all_ in timing.interleaved(going, plan.config.repetitions, order).values():
            rows += [row._replace(repetition=r) for r, row in enumerate(all_, 1)]
    for path in files.values():
        path.unlink()
    return rows


def in_words(row: Timed) -> str:
    """What was timed, in a few words."""
    what = "a matrix product" if row.axis == "product" else f"{row.members} × {row.epochs} epochs"
    along = f", {row.axis} {row.value}" if row.part == "growth" else ""
    processes = f" in {row.processes} processes" if row.processes > 1 else ""
    return f"{row.package}, {what}{along}, {row.cores} core{'s' * (row.cores > 1)}{processes}"


def _data(folder: Path, jobs: list[Job]) -> dict[workload.Shape, Path]:
    """A file for each shape, with weights for the most members that any job trains."""
    most = {
        shape: max(job.members for job in jobs if job.shape == shape) for shape in {j.shape for j in jobs}
    }
    return {
        shape: workload.save(
            folder / f"data-{'-'.join(map(str, (*shape, members)))}.npz", workload.arrays(shape, members)
        )
        for shape, members in most.items()
    }


def _open(plan: Plan, running: ExitStack, opened: dict, package: str, cores: tuple[int, ...]) -> pr.Process:
    """One process for all jobs of a package on these cores: no two of them train with the same program."""
    if (package, cores) not in opened:
        process = running.enter_context(pr.opened(plan.config.python, package, _errors(plan), cores))
        opened[package, cores] = process
    return opened[package, cores]


def _errors(plan: Plan) -> Path:
    return plan.folder / "peers.log"


def _asked(job: Job, path: Path) -> tuple[dict[str, Any], list[tuple[int, float]]]:
    """What a process is told, and the members that are shared out."""
    members = [(m, RATES[m % len(RATES)] if job.members > 1 else workload.RATE) for m in range(job.members)]
    sizes = {"hidden": job.shape.hidden, "batch": job.shape.batch, "rate": workload.RATE}
    return {"data": str(path.resolve()), "arm": job.arm, "epochs": job.epochs} | sizes, members


def _memory(plan: Plan, job: Job, process: pr.Process, path: Path) -> int:
    """Bytes of the program that has just trained."""
    asked, members = _asked(job, path)
    told = asked | {"arm": "memory", "members": members}
    return pr.ask(process, job.package, _errors(plan), told)["bytes"]


def _once(plan: Plan, job: Job, processes: Processes, path: Path, repetition: int = 0) -> Timed:
    """Every process trains its share at the same time; the seconds are those until the last has answered."""
    asked, members = _asked(job, path)

    def ask(n: int) -> dict[str, Any]:
        mine = asked | {"members": members[n :: len(processes)]}
        return pr.ask(processes[n], job.package, _errors(plan), mine)

    began = time.perf_counter()
    with ThreadPoolExecutor(len(processes)) as pool:
        said = list(pool.map(ask, range(len(processes))))
    seconds = time.perf_counter() - began
    if job.arm == "product":
        seconds, loss = said[0]["seconds"], said[0]["flops"]
    else:
        loss = sum(sum(answer["loss"]) for answer in said) / job.members
    cores = len({core for some in job.cores for core in some})
    what = (job.part, job.package, job.axis, job.value, len(processes), cores, job.members, job.epochs)
    return Timed(*what, repetition, seconds, loss)
