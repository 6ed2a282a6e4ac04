"""What became of a configuration, and batches of which none is trained twice."""

import dataclasses
import math
from typing import Any

import pytest

from experiments.harness import run_folder
from experiments.sweep import batches, learned_search, plan
from experiments.sweep.config import Config, Grid, Search
from experiments.sweep.learned_search import Told
from experiments.sweep.task import trials as tr

pytest.importorskip("optuna")
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


def row(state="finished", val: Any = 1.0, diverged="False", epochs=6):
    return {"state": state, "val_selected": str(val), "diverged": diverged, "epochs_run": str(epochs)}


@pytest.mark.parametrize(
    ("rows", "state", "value", "epochs"),
    [
        ([row(val=math.e), row(val=math.e**3)], "finished", 2, 6),
        ([row("pruned", epochs=2), row("pruned", math.e, epochs=2)], "pruned", 0.5, 2),
        ([row(), row(diverged="True", val="inf")], "finished", math.inf, 6),
        (
            [row("pruned", diverged="True", val="nan", epochs=2), row("pruned", epochs=2)],
            "pruned",
            math.inf,
            2,
        ),
        ([row(val=0.0), row()], "finished", -math.inf, 6),
    ],
)
def test_a_configuration_is_told_by_the_mean_log_of_its_seeds(rows, state, value, epochs):
    found = batches.outcome(rows)
    assert found._replace(value=0) == Told(state, 0, epochs)
    assert found.value == pytest.approx(value)


def test_a_configuration_of_which_a_seed_failed_is_told_as_failed():
    found = batches.outcome([row(), row("failed", "", "", 0)])
    assert (found.state, found.epochs) == ("failed", 6)
    assert math.isnan(found.value)


def train(folder, config, tasks):
    """The files that tasks leave, as if they had been trained; better at a rate of 0.2."""
    for path, one in zip(plan.write(folder, config, tasks, ""), tasks, strict=True):
        rows = [tr.columns(c, one.group.setting) | row(val=1 / c["lr"]) | {"why": ""} for c in one.cells]
        run_folder.write_csv(path / "rows.csv", rows)
        run_folder.write_json(path / "done.json", {"state": "finished"})


def searched(folder, config, stop=99):
    """The cells of each batch, as far as it gets before the sweep is killed."""
    found = []
    for batch, tasks in enumerate(batches.batches(folder, config, "s")):
        found.append([cell for task in tasks for cell in task.cells])
        if batch == stop:
            break
        train(folder, config, tasks)
    return found


def trials(folder):
    """Numbers of trials by their state, and the values of those that are complete."""
    with learned_search.storage(folder, None) as kept:
        study = learned_search.open_study(kept, "s", 0, 0)
    states = [trial.state.name for trial in study.trials]
    return states, [trial.value for trial in study.trials if trial.state.name == "COMPLETE"]


def test_a_configuration_that_is_drawn_again_is_not_trained_again_but_told(tmp_path):
    found = searched(tmp_path, CHOICE)
    all_ = [cell for batch in found for cell in batch]
    assert [cell["number"] for cell in all_] == list(range(len(all_)))
    assert len({(cell["lr"], cell["policy"], cell["seed"]) for cell in all_}) == len(all_) <= 8
    states, values = trials(tmp_path)
    assert states == ["COMPLETE"] * 9
    drawn = [
        one["lr"] for file in sorted(tmp_path.glob("batches/*")) for _, one in run_folder.read_json(file)
    ]
    assert values == pytest.approx([-math.log(lr) for lr in drawn])


@pytest.mark.parametrize("stop", [0, 1, 2])
def test_batches_of_a_killed_sweep_are_those_of_the_uninterrupted_one(stop, tmp_path):
    config = dataclasses.replace(CHOICE, search=dataclasses.replace(CHOICE.search, lr=("1e-3:1:log",)))
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole = searched(tmp_path / "whole", config)
    assert searched(tmp_path / "killed", config, stop) == whole[: stop + 1]
    assert searched(tmp_path / "killed", config) == whole
    assert trials(tmp_path / "killed") == trials(tmp_path / "whole")
