"""Configurations asked of Optuna in batches: ask for some, train them together, tell what came of them.

The extra `optuna` is imported here, when it is asked for, and nowhere else. Its study lies on disk. A batch draws from
a generator of its own, seeded by its number, so that a search that was killed goes on as if it had not been.
"""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.sweep.config import Range, Values

JOURNAL = "optuna.journal"


class Told(NamedTuple):
    """What came of a trial."""

    state: str  # finished, pruned or failed
    value: float  # mean log validation loss, +inf where a training diverged; nothing where it failed
    epochs: int


def imported() -> Any:
    """Optuna. ValueError where it is not installed."""
    try:
        import optuna
    except ImportError as e:
        raise ValueError("search.kind: optuna is not installed; pip install 'lstm_sched[optuna]'") from e
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def check(url: str | None) -> None:
    """ValueError where Optuna is not installed, or no database answers at the URL."""
    imported()
    if url is not None:
        with storage(Path(), url):
            pass


@contextlib.contextmanager
def storage(folder: Path, url: str | None) -> Iterator[Any]:
    """The database at a URL, or a journal in the sweep's folder. ValueError where none answers at the URL."""
    optuna = imported()
    if url is None:
        path = (folder / JOURNAL).absolute()
        _mend(path)
        yield optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
        return
    try:
        kept = optuna.storages.RDBStorage(url)
    except Exception as e:  # of SQLAlchemy, or of the driver that the URL names; it may hold a password
        why = str(e).partition("\n")[0]
        raise ValueError(
            f"search.storage: {why}; allowed: a database's URL, such as sqlite:////data/study.db"
        ) from e
    try:
        yield kept
    finally:
        kept.remove_session()
        kept.engine.dispose()


def _mend(path: Path) -> None:
    """Take away what a killed sweep may leave: Optuna's lock, and a last line that is not whole."""
    path.with_name(f"{JOURNAL}.lock").unlink(missing_ok=True)
    text = path.read_bytes() if path.exists() else b""
    if not text.endswith(b"\n"):
        path.write_bytes(text[: text.rfind(b"\n") + 1])


def open_study(kept: Any, name: str, seed: int, batch: int) -> Any:
    """The study of that name, begun or gone on with, about to ask for a batch."""
    optuna = imported()
    drawn = int(np.random.SeedSequence((seed, batch)).generate_state(1)[0])
    sampler = optuna.samplers.TPESampler(seed=drawn)
    return optuna.create_study(storage=kept, sampler=sampler, study_name=name, load_if_exists=True)


def ask(study: Any, search: Mapping[str, Values], count: int) -> dict[int, dict[str, Any]]:
    """As many configurations, by the number of their trial."""
    distributions = {field: _distribution(values) for field, values in search.items()}
    trials = [study.ask(distributions) for _ in range(count)]
    return {trial.number: {field: trial.params[field] for field in search} for trial in trials}


def _distribution(values: Values) -> Any:
    distributions = imported().distributions
    if not isinstance(values, Range):
        return distributions.CategoricalDistribution(values)
    if values.whole:
        return distributions.IntDistribution(int(values.low), int(values.high) - 1, log=values.log)
    return distributions.FloatDistribution(values.low, values.high, log=values.log)


def tell(study: Any, kept: Any, told: Mapping[int, Told]) -> None:
    """What came of trials, each once: those that were told before stay as they are."""
    state = imported().trial.TrialState
    ids = kept.get_study_id_from_name(study.study_name)
    running = {trial.number for trial in study.get_trials(deepcopy=False, states=(state.RUNNING,))}
    for number, one in sorted(told.items()):
        if number not in running:
            continue
        if one.state == "failed":
            study.tell(number, state=state.FAIL)
        elif one.state == "pruned":
            trial = kept.get_trial_id_from_study_id_trial_number(ids, number)
            kept.set_trial_intermediate_value(trial, one.epochs, one.value)
            study.tell(number, state=state.PRUNED)
        else:
            study.tell(number, one.value)


def forget(study: Any, known: Collection[int]) -> None:
    """Fail the trials that were asked for but never planned, since the sweep was killed in between."""
    state = imported().trial.TrialState
    for trial in study.get_trials(deepcopy=False, states=(state.RUNNING, state.WAITING)):
        if trial.number not in known:
            study.tell(trial.number, state=state.FAIL)
