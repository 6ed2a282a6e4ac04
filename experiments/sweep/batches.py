"""The batches of a search that learns: each is asked for, written down, yielded to be trained, and told.

batches/0000.json  the trials of a batch, written before any of it is trained: what a killed sweep goes on with
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from experiments.harness import run_folder
from experiments.sweep import axes, learned_search, plan
from experiments.sweep.config import Config, Values
from experiments.sweep.learned_search import Told
from experiments.sweep.plan import Configuration, Task
from experiments.sweep.task import run as task


def batches(folder: Path, config: Config, name: str) -> Iterator[list[Task]]:
    """The tasks of each batch, the earlier ones of a sweep that goes on among them; they must have ended before the
    next is asked for. A configuration that is drawn again is not trained again."""
    _, search = axes.axes(config)
    with learned_search.storage(folder, config.search.storage) as kept:
        open_study = partial(learned_search.open_study, kept, name, config.search.seed)
        known = {number for file in folder.glob("batches/*.json") for number, _ in run_folder.read_json(file)}
        learned_search.forget(open_study(0), known)
        told: dict[tuple[Any, ...], Told] = {}
        tasks = cells = 0
        for batch in range(math.ceil(config.search.trials / config.search.ask)):
            study = open_study(batch)
            asked = _asked(folder / "batches" / f"{batch:04d}.json", study, search, config, batch)
            trials = {number: plan.configurations(config, [trial])[0] for number, trial in asked}
            fresh = {key(one): one for one in trials.values() if key(one) not in told}
            groups = plan.groups(config, fresh.values())
            made = plan.tasks(config, groups, tasks, cells)
            yield made
            rows = {int(row["number"]): row for one in made for row in task.rows(plan.place(folder, one))}
            for one, numbers in plan.numbered(config, groups, cells):
                told[key(one)] = outcome([rows[number] for number in numbers])
            learned_search.tell(study, kept, {number: told[key(one)] for number, one in trials.items()})
            tasks, cells = tasks + len(made), cells + len(rows)


def _asked(
    file: Path, study: Any, search: Mapping[str, Values], config: Config, batch: int
) -> list[tuple[int, Configuration]]:
    """The trials of a batch: those of the file, or else new ones, and the file."""
    if not file.exists():
        left = config.search.trials - batch * config.search.ask
        asked = learned_search.ask(study, search, min(left, config.search.ask))
        file.parent.mkdir(exist_ok=True)
        run_folder.write_json(file, list(asked.items()))
    return run_folder.read_json(file)


def key(one: Configuration) -> tuple[Any, ...]:
    """Equal where configurations are."""
    return tuple(one.values())


def outcome(rows: Sequence[Mapping[str, Any]]) -> Told:
    """Of the cells of one configuration: as successive halving ranks it."""
    states = {row["state"] for row in rows}
    epochs = max(int(row["epochs_run"]) for row in rows)
    if "failed" in states:
        return Told("failed", math.nan, epochs)
    state = "pruned" if "pruned" in states else "finished"
    if any(str(row["diverged"]) == "True" for row in rows):
        return Told(state, math.inf, epochs)
    vals = [float(row["val_selected"]) for row in rows]
    value = sum(math.log(val) if val > 0 else -math.inf for val in vals) / len(vals)
    return Told(state, value, epochs)
