"""The batches of a search that learns: each comes from Optuna, and its results go back to Optuna.

batches/0000.json  the configurations of a batch, written before any is trained, so that a sweep can resume
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from experiments.harness import run_folder
from experiments.sweep import axes, learned_search, plan, results
from experiments.sweep.config import Config
from experiments.sweep.learned_search import Outcome
from experiments.sweep.plan import Configuration, Task
from experiments.sweep.values import Values


def batches(folder: Path, config: Config) -> Iterator[list[Task]]:
    """The tasks of each batch, including batches that a resumed sweep has already begun.

    The caller runs the tasks before it takes the next batch. A configuration is never trained twice.
    """
    _, search = axes.axes(config)
    stored = learned_search.journal(folder)
    open_study = partial(learned_search.open_study, stored, config.search.seed)
    known = {number for file in folder.glob("batches/*.json") for number, _ in run_folder.read_json(file)}
    learned_search.forget(open_study(0), known)
    outcomes: dict[tuple[Any, ...], Outcome] = {}
    tasks = trials = 0
    for batch in range(math.ceil(config.search.trials / config.search.ask)):
        study = open_study(batch)
        asked = _asked(folder / "batches" / f"{batch:04d}.json", study, search, config, batch)
        chosen = {number: plan.configurations(config, [values])[0] for number, values in asked}
        new = {key(c): c for c in chosen.values() if key(c) not in outcomes}
        groups = plan.groups(config, new.values())
        made = plan.tasks(config, groups, tasks, trials)
        yield made
        rows = {row["number"]: row for row in results.rows(plan.place(folder, task) for task in made)}
        for configuration, numbers in plan.numbered(config, groups, trials):
            outcomes[key(configuration)] = outcome([rows[number] for number in numbers])
        learned_search.tell(study, stored, {number: outcomes[key(c)] for number, c in chosen.items()})
        tasks, trials = tasks + len(made), trials + len(rows)


def _asked(
    file: Path, study: Any, search: Mapping[str, Values], config: Config, batch: int
) -> list[tuple[int, Configuration]]:
    """The configurations of a batch, read from the file, or else drawn and written to it."""
    if not file.exists():
        left = config.search.trials - batch * config.search.ask
        asked = learned_search.ask(study, search, min(left, config.search.ask))
        file.parent.mkdir(exist_ok=True)
        run_folder.write_json(file, list(asked.items()))
    return run_folder.read_json(file)


def key(configuration: Configuration) -> tuple[Any, ...]:
    """A hashable key that is equal for equal configurations."""
    return tuple(configuration.values())


def outcome(rows: Sequence[Mapping[str, Any]]) -> Outcome:
    """The outcome of a configuration, from the rows of its seeds, with the score of successive halving."""
    states = {row["state"] for row in rows}
    epochs = max(row["epochs_run"] for row in rows)
    if "failed" in states:
        return Outcome(state="failed", value=math.nan, epochs=epochs)
    state = "pruned" if "pruned" in states else "finished"
    if any(row["diverged"] for row in rows):
        return Outcome(state=state, value=math.inf, epochs=epochs)
    losses = [row["val_selected"] for row in rows]
    value = sum(math.log(loss) if loss > 0 else -math.inf for loss in losses) / len(losses)
    return Outcome(state=state, value=value, epochs=epochs)
