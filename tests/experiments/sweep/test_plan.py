"""Configurations, groups, cells and tasks: what a sweep decides before it trains."""

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
    groups = plan.groups(config, plan.configurations(config, search.trials(config)))
    return groups, plan.tasks(config, groups)


def test_a_grid_is_every_combination_and_the_same_training_is_there_once():
    found = plan.configurations(GRID, [{}])
    fits = [("one_fit", 6), ("drop_m", 1), ("drop_m", 2), ("drop_count", 3)]
    expected = set(itertools.product((2, 3), (1e-3, 1e-2), fits))
    assert {(one["hidden"], one["lr"], (one["policy"], one["every"])) for one in found} == expected
    assert len(found) == len(expected) == 16


def test_every_trial_of_a_search_is_trained_with_all_of_the_grid():
    config = dataclasses.replace(
        SMALL,
        grid=Grid(policy=("one_fit", "drop_m")),
        search=Search(trials=5, kind="random", lr=("1e-4:1e-1:log",), hidden=(2, 3)),
    )
    drawn = search.trials(config)
    found = plan.configurations(config, drawn)
    trials = [(trial["lr"], trial["hidden"]) for trial in drawn]
    pairs = [(one["lr"], one["hidden"], one["policy"]) for one in found]
    assert pairs == [(*trial, policy) for trial in trials for policy in ("one_fit", "drop_m")]


def test_what_can_be_one_program_is_one_group():
    groups, _ = planned(GRID)
    assert [group.setting.hidden for group in groups] == [2, 3]
    for group in groups:
        assert len(group.configurations) == 8
        assert all(
            one[field] == getattr(group.setting, field) for one in group.configurations for field in STATIC
        )
    assert groups[0].work < groups[1].work


@pytest.mark.parametrize("how", [{}, {"members_per_task": 5}, {"workers": 7}])
def test_tasks_hold_every_cell_once_whatever_the_slices(how, monkeypatch):
    monkeypatch.setattr(plan, "WORTH", 1)
    config = dataclasses.replace(GRID, **how)
    groups, tasks = planned(config)
    cells = [cell for task in tasks for cell in task.cells]
    assert [cell["number"] for cell in cells] == list(range(48))
    assert [list(cell) for cell in cells] == [["number", *TRACED, "seed"]] * 48
    for one, numbers in plan.numbered(config, groups):
        assert [cells[n]["seed"] for n in numbers] == [8, 9, 10]
        assert all(cells[n][field] == one[field] for n in numbers for field in TRACED)
    assert [task.number for task in tasks] == list(range(len(tasks)))
    assert max(len(task.cells) for task in tasks) <= (config.members_per_task or 24)


def test_work_is_shared_out_to_workers_and_what_takes_seconds_is_not_cut(monkeypatch):
    one = dataclasses.replace(GRID, grid=dataclasses.replace(GRID.grid, hidden=()))
    assert len(planned(one)[1]) == 1
    monkeypatch.setattr(plan, "WORTH", 1)
    assert len(planned(one)[1]) == 2
    assert len(planned(GRID)[1]) == 4  # finer, so that nobody waits long at the end
    monkeypatch.setattr(plan, "MOST", 5)
    assert {len(task.cells) for task in planned(GRID)[1]} <= {4, 5}
    monkeypatch.setattr(plan, "MOST", 9)
    assert [len(task.cells) for task in planned(one)[1]] == [
        6
    ] * 4  # three would leave one of two workers idle


def test_with_halving_all_of_a_group_are_ranked_together(monkeypatch):
    monkeypatch.setattr(plan, "WORTH", 1)
    config = dataclasses.replace(GRID, search=Search(halving=(2, 4), keep=0.5))
    assert len(planned(config)[1]) == 2
    assert plan.halving(config) == {"epochs": [2, 4, 6], "keep": 0.5}
    assert [plan.cost(task, config) for task in planned(config)[1]] == [3 * (8 * 2 + 4 * 2 + 2 * 2)] * 2


def test_a_task_is_written_once_and_must_stay_as_it_was(tmp_path):
    _, tasks = planned(GRID)
    folders = plan.write(tmp_path, GRID, tasks, "hash")
    assert [folder.name for folder in folders] == ["0000", "0001"]
    said = run_folder.read_json(folders[1] / "task.json")
    assert (said["number"], said["sweep"], said["halving"]) == (1, "hash", None)
    assert said["cells"] == json.loads(json.dumps(tasks[1].cells))
    assert said["config"]["hidden"] == 3
    before = [(folder / "task.json").stat().st_mtime_ns for folder in folders]
    (folders[0] / "task.json").unlink()
    assert plan.write(tmp_path, GRID, tasks, "hash") == folders
    assert (folders[1] / "task.json").stat().st_mtime_ns == before[1]
    for key, value, message in [("data", "0", "other values of sines"), ("cells", [], "another version")]:
        run_folder.write_json(folders[0] / "task.json", said | {key: value})
        with pytest.raises(exits.Refused, match=f"resume: begun .*{message}"):
            plan.write(tmp_path, GRID, tasks, "hash")


def test_the_longest_tasks_begin_first():
    _, tasks = planned(dataclasses.replace(GRID, members_per_task=20))
    order = plan.longest_first(tasks)
    assert [(task.group.setting.hidden, len(task.cells)) for task in order] == [
        (3, 12),
        (3, 12),
        (2, 12),
        (2, 12),
    ]


def test_a_file_is_found_from_wherever_a_task_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert plan.absolute("mine.csv") == str(tmp_path / "mine.csv")
    assert plan.absolute("sunspots") == "sunspots"
