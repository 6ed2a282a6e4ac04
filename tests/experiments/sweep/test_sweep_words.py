"""What a sweep says before and while it runs."""

import io
import math

from rich.console import Console

from experiments.sweep import plan, report
from experiments.sweep.config import Config, Grid
from experiments.sweep.engines.base import Event
from experiments.sweep.estimate import Expected

CONFIG = Config(
    data=("sines",),
    window=8,
    batch=256,
    epochs=6,
    workers=2,
    grid=Grid(hidden=(2, 3), lr=(0.1, 0.2), seed=("8:11",)),
)


def planned():
    return plan.tasks(CONFIG, plan.groups(CONFIG, plan.configurations(CONFIG, [{}])))


def plain():
    return Console(file=io.StringIO(), width=120, highlight=False)


def said(console):
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines() if line.strip()]


def test_groups_are_told_apart_by_the_fields_that_vary_and_by_what_they_take():
    out = plain()
    expected = [Expected(90.0, 2**30, "measured"), Expected(math.nan, math.nan, "too large")]
    report.say_plan(out, planned(), 2, (expected, 90.0))
    lines = said(out)
    assert lines[0] == "12 trainings in 2 tasks, 2 at a time"
    assert "hidden 2 2 6 1 90 s 1.0 GiB measured" in lines
    assert "hidden 3 2 6 1 ? ? too large" in lines
    assert lines[-1] == "expected: 90 s in all, measured on 1 of 2 groups"


def test_many_groups_are_not_all_listed(monkeypatch):
    monkeypatch.setattr(report, "MOST", 1)
    out = plain()
    report.say_plan(out, planned(), 2, None)
    assert said(out)[-1] == "and 1 groups more"


def test_durations_are_in_words_for_days_too():
    assert [report.duration(x) for x in (90.0, 600.0, 90_000.0, math.nan)] == [
        "90 s",
        "10.0 min",
        "25.0 h",
        "?",
    ]


def test_the_log_tells_events_and_how_far_all_tasks_are(tmp_path):
    out, folders = plain(), [tmp_path / "0000", tmp_path / "0001"]
    with report.watching(out, tmp_path, total=100, done=20) as tell:
        tell(Event(folders[0], "started"), 50)
        tell(Event(folders[0], "progress", 20), 50)
        tell(Event(folders[0], "died", why="SIGKILL"), 50)
        tell(Event(folders[0], "finished"), 50)
        tell(Event(folders[1], "failed", why="no memory"), 30)
    log = (tmp_path / report.LOG).read_text().splitlines()
    told = [line.split(" ", 2)[2] for line in log if line.startswith("20")]
    assert told == [
        "task 0000 started",
        "task 0000 died: SIGKILL",
        "task 0000 finished",
        "task 0001 failed: no memory",
    ]
    far = [line.partition(",")[0] for line in log if line.startswith("epoch")]
    assert far == ["epoch 40/100", "epoch 70/100", "epoch 100/100"]
    lines = said(out)
    assert [line for line in lines if line.startswith("task")] == [
        "task 0000 died: SIGKILL",
        "task 0001 failed: no memory",
    ]
    assert sum(line.startswith("epoch") for line in lines) == 3
