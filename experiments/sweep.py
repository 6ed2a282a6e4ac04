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

from experiments import (
    command_line,
    engines,
    lock,
    record,
    report,
    signals,
    sweep_axes,
    sweep_batches,
    sweep_config,
    sweep_estimate,
    sweep_optuna,
    sweep_plan,
    sweep_report,
    sweep_results,
    sweep_search,
    sweep_words,
    task,
)
from experiments.halving import cost
from experiments.sweep_config import Config
from experiments.sweep_plan import Task
from experiments.sweep_ranking import Answered

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
    sweep_axes.check_sweep(known)
    engines.check(known)
    if sweep_config.learns(known):
        sweep_optuna.check(known.search.storage)
    workers = config.workers or known.workers or engines.most(known)
    if config.resume is None:
        known = dataclasses.replace(known, workers=workers, data=(sweep_plan.absolute(known.data[0]),))
    drawn = sweep_search.trials(known)
    chosen = sweep_plan.configurations(known, drawn)
    groups = sweep_plan.groups(known, chosen)
    digest = record.digest(sweep_config.substance(known) | {"digest": groups[0].source.digest})
    folder = None if config.resume is None else Path(config.resume)
    if folder is None and not config.dry_run:
        folder = _new_folder(config.out, known, groups[0].source, digest)
    asked = len(drawn) * math.prod(map(len, sweep_axes.axes(known)[0].values()))
    again = asked - len(chosen)
    here = {field: getattr(config, field) for field in AGAIN} | {"workers": known.workers}
    tasks = sweep_plan.tasks(known, groups)  # shared out as the first time, whatever the workers are now
    return Plan(dataclasses.replace(known, **here), folder, workers, digest, tasks, again)


def _new_folder(out: str | None, config: Config, source: sweep_plan.Data, digest: str) -> Path:
    """With config.json, from which alone a sweep is resumed, and env.json."""
    folder = record.new_folder(out, EXPERIMENT)
    study = str(folder.absolute())  # what a database that serves many sweeps calls it
    record.decide(folder, EXPERIMENT, config, {"hash": digest, "study": study, "data": source._asdict()})
    return folder


def _stored(config: Config) -> Config:
    """The configuration of the sweep that is to go on."""
    fields = {f.name for f in dataclasses.fields(config) if getattr(config, f.name) != f.default}
    if others := sorted(fields - {"resume", *AGAIN, *ENGINE}):
        raise ValueError(
            f"resume: the configuration is read from {config.resume}; leave out {', '.join(others)}"
        )
    stored = record.read_json(Path(str(config.resume)) / "config.json")
    if stored.get("experiment") != EXPERIMENT:
        raise ValueError(
            f"resume: {config.resume} is a run of {stored.get('experiment')}; allowed: of {EXPERIMENT}"
        )
    return sweep_config.of_dict(stored["config"])


def execute(plan: Plan) -> Answered | None:
    """Say what is planned; then train, put together, compare, write and print. None of a dry run."""
    out, config = report.console(), plan.config
    halving = sweep_plan.halving(config)
    expected = sweep_estimate.expect(plan.tasks, plan.workers, halving) if config.estimate else None
    sweep_words.say_plan(out, plan.tasks, plan.workers, expected)
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
        record.write_status(folder, "running")
        try:
            places = _train(plan, folder, out)
        except signals.Interrupted as e:
            record.write_status(folder, "interrupted")
            raise signals.Interrupted(e.signum, folder) from e
        trained = time.monotonic() - began
        sweep_results.write(folder, places)
        told = sweep_report.write(folder)
        sweep_report.say(out, folder, told)
        spent = {"seconds_training": round(trained, 1), "seconds": round(time.monotonic() - began, 1)}
        record.write_status(folder, "finished", **told.answered.cells, **spent)
    return told.answered


def _train(plan: Plan, folder: Path, out: Console) -> list[Path]:
    """Every task of every batch: their folders."""
    total = sum(sweep_plan.cost(one, plan.config) for one in plan.tasks)
    places: list[Path] = []
    with sweep_words.watching(out, folder, total, _ran_before(folder)) as tell:
        for batch in _batches(plan, folder):
            places += sweep_plan.write(folder, plan.config, batch, plan.digest)
            whole = {sweep_plan.place(folder, one): sweep_plan.cost(one, plan.config) for one in batch}
            engines.run(plan.config)(
                [sweep_plan.place(folder, one) for one in sweep_plan.longest_first(batch)],
                plan.workers,
                plan.config.retries,
                lambda event, whole=whole: tell(event, whole[event.folder]),
            )
    return places


def _batches(plan: Plan, folder: Path) -> Iterable[list[Task]]:
    """One, or those that a search that learns asks for, each after the one before has been trained."""
    if sweep_config.learns(plan.config):
        return sweep_batches.batches(folder, plan.config, record.read_json(folder / "config.json")["study"])
    return [plan.tasks]


def _ran_before(folder: Path) -> int:
    """Epochs of all cells of the tasks that have finished."""
    done = [
        file.parent for file in folder.glob("tasks/*/done.json") if task.finished(file.parent) is not None
    ]
    told = [record.read_json(place / "task.json") for place in done]
    return sum(cost(one["cells"], one["halving"], one["config"]["epochs"]) for one in told)


def main(config: Config) -> Answered | None:
    """The whole command, for Python. ValueError for what the command line would refuse."""
    return execute(prepare(config))


def held(answered: Answered | None) -> bool:
    """Whether anything succeeded."""
    return answered is None or answered.cells["finished"] + answered.cells["pruned"] > 0


if __name__ == "__main__":
    command_line.run(EXPERIMENT, Config, prepare, execute, __doc__ or "", held)
