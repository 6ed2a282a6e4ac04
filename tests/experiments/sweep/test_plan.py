"""Configurations, groups, trials and tasks: what a sweep decides before it trains."""

import dataclasses
import itertools
import json

import pytest

from experiments.harness import exits, run_folder
from experiments.sweep import plan, search
from experiments.sweep.config import STATIC, TRACED, Config, Grid, Search

SMALL = Config(data=("sines",), window=8, batch=256, epochs=6, workers=2)
GRID = dataclasses.replace(
    SMALL,
    grid=Grid(
        hidden=(2, 3),
        lr=(1e-3, 1e-2),
        policy=("one_fit", "drop_m", "adam_rel@3"),
        every=(1, 2),
        seed=("8:11",),
    ),
)


def planned(config):
    groups = plan.groups(config, plan.configurations(config, search.drawn(config)))
    return groups, plan.tasks(config, groups)


def test_a_grid_is_every_combination_and_the_same_training_is_there_once():
    chosen = plan.configurations(GRID, [{}])
    fits = [("one_fit", 6), ("drop_m", 1), ("drop_m", 2), ("drop_count", 3)]
    expected = set(itertools.product((2, 3), (1e-3, 1e-2), fits))
    assert {(c["hidden"], c["lr"], (c["policy"], c["every"])) for c in chosen} == expected
    assert len(chosen) == len(expected) == 16


def test_every_drawn_configuration_is_trained_with_all_of_the_grid():
    config = dataclasses.replace(
        SMALL,
        grid=Grid(policy=("one_fit", "drop_m")),
        search=Search(trials=5, kind="random", lr=("1e-4:1e-1:log",), hidden=(2, 3)),
    )
    drawn = search.drawn(config)
    chosen = [(c["lr"], c["hidden"], c["policy"]) for c in plan.configurations(config, drawn)]
    assert chosen == [(d["lr"], d["hidden"], policy) for d in drawn for policy in ("one_fit", "drop_m")]


def test_configurations_of_one_program_are_one_group():
    groups, _ = planned(GRID)
    assert [group.setting.hidden for group in groups] == [2, 3]
    for group in groups:
        assert len(group.configurations) == 8
        for field in STATIC:
            assert {c[field] for c in group.configurations} == {getattr(group.setting, field)}
    assert groups[0].work < groups[1].work


@pytest.mark.parametrize("how", [{}, {"members_per_task": 5}, {"workers": 7}])
def test_tasks_hold_every_trial_once_whatever_the_slices(how, monkeypatch):
    monkeypatch.setattr(plan, "WORTH", 1)
    config = dataclasses.replace(GRID, **how)
    groups, tasks = planned(config)
    trials = [trial for task in tasks for trial in task.trials]
    assert [trial["number"] for trial in trials] == list(range(48))
    assert [list(trial) for trial in trials] == [["number", *TRACED, "seed"]] * 48
    for configuration, numbers in plan.numbered(config, groups):
        assert [trials[n]["seed"] for n in numbers] == [8, 9, 10]
        assert all(trials[n][field] == configuration[field] for n in numbers for field in TRACED)
    assert [task.number for task in tasks] == list(range(len(tasks)))
    assert max(len(task.trials) for task in tasks) <= (config.members_per_task or 24)


def test_work_is_divided_among_workers_and_a_group_of_seconds_is_not_cut(monkeypatch):
    single = dataclasses.replace(GRID, grid=dataclasses.replace(GRID.grid, hidden=()))
    assert len(planned(single)[1]) == 1
    monkeypatch.setattr(plan, "WORTH", 1)
    assert len(planned(single)[1]) == 2
    assert len(planned(GRID)[1]) == 4  # finer, so that nobody waits long at the end
    monkeypatch.setattr(plan, "MOST", 5)
    assert {len(task.trials) for task in planned(GRID)[1]} <= {4, 5}
    monkeypatch.setattr(plan, "MOST", 9)  # three tasks would leave one of two workers idle
    assert [len(task.trials) for task in planned(single)[1]] == [6] * 4


def test_with_halving_all_of_a_group_are_ranked_together(monkeypatch):
    monkeypatch.setattr(plan, "WORTH", 1)
    config = dataclasses.replace(GRID, search=Search(halving=(2, 4), keep=0.5))
    assert plan.halving(config) == {"epochs": [2, 4, 6], "keep": 0.5}
    assert [plan.cost(task, config) for task in planned(config)[1]] == [3 * (8 * 2 + 4 * 2 + 2 * 2)] * 2


def test_a_task_is_written_once_and_must_stay_as_it_was(tmp_path):
    _, tasks = planned(GRID)
    folders = plan.write(tmp_path, GRID, tasks, "hash")
    assert [folder.name for folder in folders] == ["0000", "0001"]
    stored = run_folder.read_json(folders[1] / "task.json")
    assert (stored["number"], stored["sweep"], stored["halving"]) == (1, "hash", None)
    assert stored["trials"] == json.loads(json.dumps(tasks[1].trials))
    assert stored["config"]["hidden"] == 3
    before = (folders[1] / "task.json").stat().st_mtime_ns
    (folders[0] / "task.json").unlink()
    assert plan.write(tmp_path, GRID, tasks, "hash") == folders
    assert (folders[1] / "task.json").stat().st_mtime_ns == before
    run_folder.write_json(folders[0] / "task.json", stored | {"trials": []})
    with pytest.raises(
        exits.Refused, match=r"resume: .*task.json differs from what this version plans; allowed"
    ):
        plan.write(tmp_path, GRID, tasks, "hash")


def test_the_longest_tasks_begin_first():
    _, tasks = planned(dataclasses.replace(GRID, members_per_task=20))
    assert [task.group.setting.hidden for task in plan.longest_first(tasks)] == [3, 3, 2, 2]


def test_a_file_is_found_from_wherever_a_task_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert plan.absolute("mine.csv") == str(tmp_path / "mine.csv")
    assert plan.absolute("sunspots") == "sunspots"
