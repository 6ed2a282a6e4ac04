"""Which hyper-parameters, and which restart policies with them, train best?

    python -m experiments.sweep --grid.lr 1e-4 3e-4 1e-3 3e-3 --grid.hidden 32 64 --grid.policy one_fit keras_recompile
    python -m experiments.sweep --search.trials 512 --search.lr 1e-5:1e-1:log --search.batch 16 32 64
    python -m experiments.sweep --resume runs/sweep/…

Thousands of complete trainings on this host: those that share a compiled program are trained together, in processes
that may die and go on. `--dry-run` lists what would be trained and measures how long it takes. The exit code is 1 only
if no training succeeded; those that failed are listed. Expected: most effects of a restart are those of another
learning rate.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from experiments.harness import run_folder
from experiments.harness.experiment import Decisions, Experiment, Workplace, carry_out
from experiments.sweep import axes, batches, learned_search, progress, report, results, search
from experiments.sweep import config as co
from experiments.sweep import plan as pl
from experiments.sweep.config import Config
from experiments.sweep.engines import choice
from experiments.sweep.estimate import estimate
from experiments.sweep.plan import Group, Task
from experiments.sweep.report import Swept
from experiments.sweep.task.events import finished


@dataclass(frozen=True, kw_only=True)
class Plan(Decisions):
    """All that is decided before the first step. `config.workers` cut the tasks; `workers` run them now."""

    workers: int
    groups: Sequence[Group]
    tasks: Sequence[Task]  # of a search that learns: those of an evenly spread one, to see what it takes
    repeated: int  # configurations that were listed or drawn again, and are trained once


def decide(config: Config, stored: Mapping[str, Any]) -> list[Plan]:
    """Check everything and cut the trials into tasks. ValueError before any compilation."""
    jax.config.update("jax_platforms", "cpu")  # nothing is trained here: accelerators are for the workers
    axes.check_sweep(config)
    choice.check(config)
    if co.learns(config):
        learned_search.imported()
    workers = config.workers or choice.most(config)
    cut = stored["config"]["workers"] if stored else workers
    config = dataclasses.replace(config, workers=cut, data=(pl.absolute(config.data[0]),))
    drawn = search.drawn(config)
    chosen = pl.configurations(config, drawn)
    groups = pl.groups(config, chosen)
    data = groups[0].data
    combinations = len(drawn) * math.prod(map(len, axes.axes(config)[0].values()))
    plan = Plan(
        config=config,
        facts={"data": data},
        digest=run_folder.digest(co.substance(config) | {"digest": data["digest"]}),
        workers=workers,
        groups=groups,
        tasks=pl.tasks(config, groups),
        repeated=combinations - len(chosen),
    )
    return [plan]


def rehearse(plans: Sequence[Plan], out: Console) -> bool:
    """Print what would be trained, if the configuration asks only for that."""
    [plan] = plans
    if plan.config.dry_run:
        _announce(plan, plan.tasks, out)
    return plan.config.dry_run


def _announce(plan: Plan, tasks: Sequence[Task], out: Console) -> None:
    """Print what is to be trained and, unless that is not wanted, measure how long it takes."""
    if plan.repeated:
        out.print(f"{plan.repeated} combinations are the same training as others; each is trained once")
    groups = [group for group in plan.groups if any(task.group is group for task in tasks)]
    expected = None
    if plan.config.estimate:
        out.print("training a few groups for an epoch to see what all take (--no-estimate leaves this out)")
        expected = estimate(groups, tasks, plan.workers, pl.halving(plan.config))
    progress.show_plan(out, groups, tasks, plan.workers, expected)


def measure(plan: Plan, workplace: Workplace) -> Swept:
    """Say what is planned, train it, and put the tables together."""
    folder, out = workplace.folder, workplace.console
    learns = co.learns(plan.config)
    left = [t for t in plan.tasks if learns or finished(pl.place(folder, t)) is None]
    if left:
        _announce(plan, left, out)
    if len(left) < len(plan.tasks):
        out.print(f"{len(plan.tasks) - len(left)} of {len(plan.tasks)} tasks finished before")
    out.print(f"Ctrl-C stops it; nothing is lost. Results: {folder}", markup=False, soft_wrap=True)
    folders = _train(plan, workplace)
    rows = results.rows(folders)
    results.write(folder, folders, rows)
    return Swept(rows=rows, timing=results.timing(folders), baselines=results.baselines(folders))


def _train(plan: Plan, workplace: Workplace) -> list[Path]:
    """Train every task of every batch, and return the folders."""
    config, folder = plan.config, workplace.folder
    total = sum(pl.cost(t, config) for t in plan.tasks)
    ran_before = sum(map(pl.ran, folder.glob("tasks/*")))
    folders: list[Path] = []
    with progress.watching(workplace.console, folder, total, ran_before) as notify:
        for batch in batches.batches(folder, config) if co.learns(config) else [plan.tasks]:
            folders += pl.write(folder, config, batch, plan.digest)
            epochs = {pl.place(folder, t): pl.cost(t, config) for t in batch}
            choice.run(config)(
                [pl.place(folder, t) for t in pl.longest_first(batch)],
                plan.workers,
                config.retries,
                lambda event, epochs=epochs: notify(event, epochs[event.folder]),
            )
    return folders


def succeeded(swept: Swept) -> bool:
    """Whether any training succeeded."""
    return any(row["state"] != "failed" and not row["diverged"] for row in swept.rows)


EXPERIMENT = Experiment(
    name="sweep",
    config=Config,
    decide=decide,
    measure=measure,
    conclude=report.conclude,
    expected=succeeded,
    again=("workers", "retries", "estimate", "dry_run", ("engine", "cluster", "slurm")),
    rehearse=rehearse,
)


def main(config: Config) -> Swept | None:
    """The whole command, for Python; None for a dry run. Raises as `carry_out`."""
    swept = carry_out(EXPERIMENT, config)
    return swept[0] if swept else None
