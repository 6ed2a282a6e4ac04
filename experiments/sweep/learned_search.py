"""Configurations from Optuna in batches: ask for some, train them together, tell Optuna how they did.

The extra `optuna` is imported here, when it is asked for, and nowhere else. A batch draws from a generator of its own,
seeded by the batch's number, so that a search that was killed goes on as if it had not been.
What Optuna calls a trial is a configuration here, trained on all seeds.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.sweep.values import Range, Values

JOURNAL, STUDY = "optuna.journal", "sweep"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a configuration."""

    state: str  # finished, pruned or failed
    value: float  # mean log validation loss; +inf where a training diverged, nan where one failed
    epochs: int


def imported() -> Any:
    """Optuna, imported. ValueError where it is not installed."""
    try:
        import optuna
    except ImportError as e:
        raise ValueError("search.kind: optuna is not installed; pip install 'lstm_sched[optuna]'") from e
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def journal(folder: Path) -> Any:
    """The journal in the sweep's folder, without what a killed sweep may leave: a lock, and a line cut short."""
    optuna = imported()
    path = (folder / JOURNAL).absolute()
    path.with_name(f"{JOURNAL}.lock").unlink(missing_ok=True)
    text = path.read_bytes() if path.exists() else b""
    if not text.endswith(b"\n"):
        path.write_bytes(text[: text.rfind(b"\n") + 1])
    return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))


def open_study(stored: Any, seed: int, batch: int) -> Any:
    """The journal's study, new or continued, about to ask for a batch."""
    optuna = imported()
    of_batch = int(np.random.SeedSequence((seed, batch)).generate_state(1)[0])
    sampler = optuna.samplers.TPESampler(seed=of_batch)
    return optuna.create_study(storage=stored, sampler=sampler, study_name=STUDY, load_if_exists=True)


def ask(study: Any, search: Mapping[str, Values], count: int) -> dict[int, dict[str, Any]]:
    """New configurations from Optuna, by its trial number."""
    distributions = {field: _distribution(values) for field, values in search.items()}
    asked = [study.ask(distributions) for _ in range(count)]
    return {trial.number: {field: trial.params[field] for field in search} for trial in asked}


def _distribution(values: Values) -> Any:
    distributions = imported().distributions
    if not isinstance(values, Range):
        return distributions.CategoricalDistribution(values)
    if values.whole:
        return distributions.IntDistribution(int(values.low), int(values.high) - 1, log=values.log)
    return distributions.FloatDistribution(values.low, values.high, log=values.log)


def tell(study: Any, stored: Any, outcomes: Mapping[int, Outcome]) -> None:
    """Report results to Optuna, except for configurations whose results it already has."""
    state = imported().trial.TrialState
    ids = stored.get_study_id_from_name(study.study_name)
    running = {trial.number for trial in study.get_trials(deepcopy=False, states=(state.RUNNING,))}
    for number, outcome in sorted(outcomes.items()):
        if number not in running:
            continue
        if outcome.state == "failed":
            study.tell(number, state=state.FAIL)
        elif outcome.state == "pruned":
            trial = stored.get_trial_id_from_study_id_trial_number(ids, number)
            stored.set_trial_intermediate_value(trial, outcome.epochs, outcome.value)
            study.tell(number, state=state.PRUNED)
        else:
            study.tell(number, outcome.value)


def forget(study: Any, known: Collection[int]) -> None:
    """Fail the configurations that were asked for but never planned, since the sweep was killed in between."""
    state = imported().trial.TrialState
    for trial in study.get_trials(deepcopy=False, states=(state.RUNNING, state.WAITING)):
        if trial.number not in known:
            study.tell(trial.number, state=state.FAIL)
