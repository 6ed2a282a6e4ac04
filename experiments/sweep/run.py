"""Which hyper-parameters, and which restart policies with them, train best?

    python -m experiments.sweep --grid.lr 1e-4 3e-4 1e-3 3e-3 --grid.hidden 32 64 --grid.policy one_fit keras_recompile
    python -m experiments.sweep --search.trials 512 --search.lr 1e-5:1e-1:log --search.batch 16 32 64
    python -m experiments.sweep --resume runs/sweep/…

Thousands of complete trainings on this host: those that one compiled program serves are trained together, in
processes that may die and go on. `--dry-run` says what would be trained and how long it takes. Exit code 1 only if
nothing succeeded; what failed is listed. Expected: most effects of a restart are those of another learning rate.
"""

import dataclasses
import math
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import jax
from rich.console import Console

from experiments.harness import exits, lock, report, run_folder
from experiments.sweep import axes, batches, estimate, learned_search, results, search
from experiments.sweep import config as co
from experiments.sweep import plan as pl
from experiments.sweep import report as re
from experiments.sweep import report as rep
from experiments.sweep.config import Config
from experiments.sweep.engines import choice
from experiments.sweep.plan import Task
from experiments.sweep.ranking import Answered
from experiments.sweep.task import run as task
from experiments.sweep.task.halving import cost

EXPERIMENT = "sweep"
AGAIN = ("workers", "retries", "estimate", "dry_run")  # fields that may be given with --resume
ENGINE = ("engine", "cluster", "slurm")  # likewise; all as before if none is given


class Plan(NamedTuple):
    """All that is decided before the first step."""

    config: Config
    folder: Path | None  # none where nothing is to be trained
    workers: int
    digest: str  # of all that results depend on
    tasks: list[Task]  # of a search that learns: those of an evenly spread one
    repeated: int  # configurations that were listed or drawn again, and are trained once


def prepare(config: Config) -> Plan:
    """Check everything, then make the folder. ValueError before any compilation."""
    jax.config.update("jax_platforms", "cpu")  # nothing is trained here: accelerators are for the workers
    known = config if config.resume is None else _stored(config)
    given = config if any(getattr(config, field) != getattr(Config, field) for field in ENGINE) else known
    known = dataclasses.replace(known, **{field: getattr(given, field) for field in ENGINE})
    axes.check_sweep(known)
    choice.check(known)
    if co.learns(known):
        learned_search.check(known.search.storage)
    workers = config.workers or known.workers or choice.most(known)
    if config.resume is None:
        known = dataclasses.replace(known, workers=workers, data=(pl.absolute(known.data[0]),))
    drawn = search.trials(known)
    chosen = pl.configurations(known, drawn)
    groups = pl.groups(known, chosen)
    digest = run_folder.digest(co.substance(known) | {"digest": groups[0].source.digest})
    folder = None if config.resume is None else Path(config.resume)
    if folder is None and not config.dry_run:
        folder = _new_folder(config.out, known, groups[0].source, digest)
    asked = len(drawn) * math.prod(map(len, axes.axes(known)[0].values()))
    again = asked - len(chosen)
    here = {field: getattr(config, field) for field in AGAIN} | {"workers": known.workers}
    tasks = pl.tasks(known, groups)  # shared out as the first time, whatever the workers are now
    return Plan(dataclasses.replace(known, **here), folder, workers, digest, tasks, again)


def _new_folder(out: str | None, config: Config, source: pl.Data, digest: str) -> Path:
    """With config.json, from which alone a sweep is resumed, and env.json."""
    folder = run_folder.new_folder(out, EXPERIMENT)
    study = str(folder.absolute())  # what a database that serves many sweeps calls it
    run_folder.decide(folder, EXPERIMENT, config, {"hash": digest, "study": study, "data": source._asdict()})
    return folder


def _stored(config: Config) -> Config:
    """The configuration of the sweep that is to go on."""
    fields = {f.name for f in dataclasses.fields(config) if getattr(config, f.name) != f.default}
    if others := sorted(fields - {"resume", *AGAIN, *ENGINE}):
        raise ValueError(
            f"resume: the configuration is read from {config.resume}; leave out {', '.join(others)}"
        )
    stored = run_folder.read_json(Path(str(config.resume)) / "config.json")
    if stored.get("experiment") != EXPERIMENT:
        raise ValueError(
            f"resume: {config.resume} is a run of {stored.get('experiment')}; allowed: of {EXPERIMENT}"
        )
    return co.of_dict(stored["config"])


def execute(plan: Plan) -> Answered | None:
    """Say what is planned; then train, put together, compare, write and print. None of a dry run."""
    out, config = report.console(), plan.config
    halving = pl.halving(config)
    expected = estimate.expect(plan.tasks, plan.workers, halving) if config.estimate else None
    rep.say_plan(out, plan.tasks, plan.workers, expected)
    if plan.repeated:
        out.print(f"{plan.repeated} combinations are the same training as others; each is trained once")
    if config.dry_run or plan.folder is None:
        return None
    folder = plan.folder
    with lock.hold(folder) as said:
        if said:
            print(said, file=sys.stderr)
        out.print(f"Ctrl-C stops it; nothing is lost. Results: {folder}", markup=False, soft_wrap=True)
        began = time.monotonic()
        run_folder.write_status(folder, "running")
        try:
            places = _train(plan, folder, out)
        except exits.Interrupted as e:
            run_folder.write_status(folder, "interrupted")
            raise exits.Interrupted(e.signum, folder) from e
        trained = time.monotonic() - began
        results.write(folder, places)
        told = re.write(folder)
        re.say(out, folder, told)
        spent = {"seconds_training": round(trained, 1), "seconds": round(time.monotonic() - began, 1)}
        run_folder.write_status(folder, "finished", **told.answered.cells, **spent)
    return told.answered


def _train(plan: Plan, folder: Path, out: Console) -> list[Path]:
    """Every task of every batch: their folders."""
    total = sum(pl.cost(one, plan.config) for one in plan.tasks)
    places: list[Path] = []
    with rep.watching(out, folder, total, _ran_before(folder)) as tell:
        for batch in _batches(plan, folder):
            places += pl.write(folder, plan.config, batch, plan.digest)
            whole = {pl.place(folder, one): pl.cost(one, plan.config) for one in batch}
            choice.run(plan.config)(
                [pl.place(folder, one) for one in pl.longest_first(batch)],
                plan.workers,
                plan.config.retries,
                lambda event, whole=whole: tell(event, whole[event.folder]),
            )
    return places


def _batches(plan: Plan, folder: Path) -> Iterable[list[Task]]:
    """One, or those that a search that learns asks for, each after the one before has been trained."""
    if co.learns(plan.config):
        return batches.batches(folder, plan.config, run_folder.read_json(folder / "config.json")["study"])
    return [plan.tasks]


def _ran_before(folder: Path) -> int:
    """Epochs of all cells of the tasks that have finished."""
    done = [
        file.parent for file in folder.glob("tasks/*/done.json") if task.finished(file.parent) is not None
    ]
    told = [run_folder.read_json(place / "task.json") for place in done]
    return sum(cost(one["cells"], one["halving"], one["config"]["epochs"]) for one in told)


def main(config: Config) -> Answered | None:
    """The whole command, for Python. ValueError for what the command line would refuse."""
    return execute(prepare(config))


def held(answered: Answered | None) -> bool:
    """Whether anything succeeded."""
    return answered is None or answered.cells["finished"] + answered.cells["pruned"] > 0
