"""Searches that learn: batches from Optuna, of which none is trained twice, with the sweep killed in between."""

import dataclasses
import math
import sys
from typing import Any

import pytest

from experiments.harness import run_folder
from experiments.sweep import batches, learned_search, plan
from experiments.sweep.config import Config, Grid, Search
from experiments.sweep.learned_search import Outcome
from experiments.sweep.task import trials as tr
from experiments.sweep.values import Range

optuna = pytest.importorskip("optuna")
SPACE = {
    "hidden": Range(low=4, high=65, log=True, whole=True),
    "drop_last": (True, False),
    "lr": Range(low=1e-5, high=1e-1, log=True),
    "policy": ("one_fit", "drop_m@2"),
}
CHOICE = Config(
    data=("sines",),
    window=4,
    batch=512,
    hidden=2,
    epochs=6,
    workers=1,
    grid=Grid(seed=("8:10",)),
    search=Search(trials=9, kind="optuna", ask=3, policy=("one_fit", "drop_m@2"), lr=(0.1, 0.2)),
)


def loss(configuration):
    """A valley at a rate of 1e-3."""
    return (math.log10(configuration["lr"]) + 3) ** 2 + (configuration["policy"] == "one_fit")


def asked(folder, killed, count=4, size=6):
    """Configurations of every batch, and the study."""
    every_batch: list[Any] = []
    study: Any = None
    for batch in range(count):
        if killed:  # after it had asked for some, and while it wrote
            learned_search.ask(learned_search.open_study(learned_search.journal(folder), 5, batch), SPACE, 2)
            with (folder / learned_search.JOURNAL).open("ab") as journal:
                journal.write(b'{"op_code": 4, "wor')
            (folder / f"{learned_search.JOURNAL}.lock").symlink_to(folder / learned_search.JOURNAL)
        stored = learned_search.journal(folder)
        study = learned_search.open_study(stored, 5, batch)
        learned_search.forget(study, ())
        chosen = learned_search.ask(study, SPACE, size)
        states = ["finished", "pruned", "failed", "finished", "finished", "finished"]
        outcomes = {
            number: Outcome(state=state, value=math.inf if i == 3 else loss(c), epochs=10)
            for i, (state, (number, c)) in enumerate(zip(states, chosen.items(), strict=True))
        }
        for _ in range(1 + killed):  # telling again changes nothing
            learned_search.tell(study, stored, outcomes)
        every_batch.append(list(chosen.values()))
    return every_batch, study


def test_a_search_that_was_killed_goes_on_as_if_it_had_not_been(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole, study = asked(tmp_path / "a", killed=False)
    again, killed = asked(tmp_path / "b", killed=True)
    assert whole == again
    assert study.best_value == killed.best_value < 0.5
    states = [trial.state.name for trial in killed.trials]
    assert [states.count(name) for name in ("COMPLETE", "PRUNED", "FAIL", "RUNNING")] == [16, 4, 4 + 8, 0]
    assert study.trials[1].intermediate_values == {10: loss(whole[0][1])}
    assert study.trials[3].value == math.inf
    for configuration in (c for batch in whole for c in batch):
        assert list(configuration) == list(SPACE)
        assert configuration["hidden"] in range(4, 65)
        assert 1e-5 <= configuration["lr"] <= 1e-1
        assert configuration["policy"] in SPACE["policy"]
        assert type(configuration["drop_last"]) is bool


def test_where_it_is_not_installed_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ValueError, match=r"optuna is not installed; pip install 'lstm_sched\[optuna\]'"):
        learned_search.journal(tmp_path)


def row(state="finished", val: Any = 1.0, diverged: Any = False, epochs=6):
    return {"state": state, "val_selected": val, "diverged": diverged, "epochs_run": epochs}


@pytest.mark.parametrize(
    ("rows", "state", "value", "epochs"),
    [
        ([row(val=math.e), row(val=math.e**3)], "finished", 2, 6),
        ([row("pruned", epochs=2), row("pruned", math.e, epochs=2)], "pruned", 0.5, 2),
        ([row(), row(diverged=True, val=math.inf)], "finished", math.inf, 6),
        ([row("pruned", math.nan, True, 2), row("pruned", epochs=2)], "pruned", math.inf, 2),
        ([row(val=0.0), row()], "finished", -math.inf, 6),
        ([row(), row("failed", None, None, 0)], "failed", math.nan, 6),
    ],
)
def test_a_configuration_is_judged_by_the_mean_log_of_its_seeds(rows, state, value, epochs):
    outcome = batches.outcome(rows)
    assert (outcome.state, outcome.epochs) == (state, epochs)
    assert outcome.value == pytest.approx(value, nan_ok=True)


def train(folder, config, tasks):
    """The files that tasks leave, as if they had been trained; better at a higher rate."""
    for path, task in zip(plan.write(folder, config, tasks, ""), tasks, strict=True):
        rows = [tr.columns(t, task.group.setting) | row(val=1 / t["lr"]) | {"why": ""} for t in task.trials]
        run_folder.write_csv(path / "rows.csv", rows)
        run_folder.write_json(path / "done.json", {"state": "finished"})


def searched(folder, config, stop=99):
    """The trials of each batch, until the sweep is killed before it trains batch `stop`."""
    every_batch = []
    for batch, tasks in enumerate(batches.batches(folder, config)):
        every_batch.append([trial for task in tasks for trial in task.trials])
        if batch == stop:
            break
        train(folder, config, tasks)
    return every_batch


def study_of(folder):
    """The states of Optuna's trials, and the values of those that are complete."""
    study = learned_search.open_study(learned_search.journal(folder), 0, 0)
    states = [trial.state.name for trial in study.trials]
    return states, [trial.value for trial in study.trials if trial.state.name == "COMPLETE"]


def test_a_configuration_that_is_drawn_again_is_not_trained_again_but_told(tmp_path):
    trials = [trial for batch in searched(tmp_path, CHOICE) for trial in batch]
    assert [trial["number"] for trial in trials] == list(range(len(trials)))
    assert len({(t["lr"], t["policy"], t["seed"]) for t in trials}) == len(trials) <= 8
    states, values = study_of(tmp_path)
    assert states == ["COMPLETE"] * 9
    drawn = [c["lr"] for file in sorted(tmp_path.glob("batches/*")) for _, c in run_folder.read_json(file)]
    assert values == pytest.approx([-math.log(lr) for lr in drawn])


def test_batches_of_a_killed_sweep_are_those_of_the_uninterrupted_one(tmp_path):
    config = dataclasses.replace(CHOICE, search=dataclasses.replace(CHOICE.search, lr=("1e-3:1:log",)))
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole = searched(tmp_path / "whole", config)
    for stop in (0, 1, 2):
        assert searched(tmp_path / "killed", config, stop) == whole[: stop + 1]
    assert searched(tmp_path / "killed", config) == whole
    assert study_of(tmp_path / "killed") == study_of(tmp_path / "whole")
