"""What a sweep will take, against what is known of it."""

import dataclasses
import math
import os
import signal

import jax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.sweep import estimate, plan
from experiments.sweep.config import Config, Grid
from experiments.sweep.engines.local_engine import Place
from experiments.sweep.estimate import Measured
from experiments.sweep.plan import Data, Group, Task

SMALL = Config(
    data=("sines",), window=8, batch=256, epochs=6, workers=2, grid=Grid(hidden=(2,), seed=("8:13",))
)


def group(work, epochs=10):
    return Group(dataclasses.replace(SMALL, epochs=epochs), [], Data({}, ""), work)


def tasks_of(groups, cells=4):
    one = {"schedule": "constant", "policy": "one_fit", "every": 1}
    made = [{"number": n, "lr": 0.1, "seed": n} | one for n in range(cells)]
    return [Task(i, group, made) for i, group in enumerate(groups)]


@given(st.lists(st.floats(0.1, 10), max_size=8), st.integers(1, 4))
def test_the_last_task_ends_when_all_have_had_their_turn(seconds, workers):
    free = [0.0] * workers
    for one in seconds:
        free.sort()
        free[0] += one
    assert estimate.makespan(seconds, workers) == pytest.approx(max(free))


def test_groups_that_are_not_measured_are_extrapolated_from_the_nearest_in_work(monkeypatch):
    def apart(group, cells, place):
        return Measured(start=1.0, compiled=2.0, epoch=group.work / 10, together=2, fixed=100.0, each=10.0)

    monkeypatch.setattr(estimate, "_apart", apart)
    groups = [group(float(work)) for work in (7, 1, 2, 3, 4, 5, 6)]
    expected, seconds = estimate.expect(tasks_of(groups), 2, None)
    assert [one.how for one in expected].count("measured") == estimate.MEASURED
    assert {one.how for one in expected} == {"measured", "extrapolated"}
    for one, grouped in zip(expected, groups, strict=True):
        assert one.seconds == pytest.approx(3 + 4 / 2 * 10 * grouped.work / 10)  # 2 rounds of 10 epochs
        assert one.bytes == 140
    assert seconds == pytest.approx(estimate.makespan([one.seconds for one in expected], 2))


def test_what_cannot_be_measured_is_said_and_the_rest_is_expected(monkeypatch):
    def apart(group, cells, place):
        return "too large" if group.work == 2 else Measured(0.0, 0.0, 1.0, 1, 0.0, 0.0)

    monkeypatch.setattr(estimate, "_apart", apart)
    expected, seconds = estimate.expect(tasks_of([group(1.0), group(2.0)]), 1, None)
    assert [one.how for one in expected] == ["measured", "too large"]
    assert math.isnan(expected[1].seconds)
    assert seconds == pytest.approx(40)
    nothing, _ = estimate.expect(tasks_of([group(2.0)]), 1, None)
    assert [one.how for one in nothing] == ["too large"]


def test_halving_takes_less():
    halving = {"epochs": [2, 10], "keep": 0.5}
    [task] = tasks_of([group(1.0)])
    for lr, cell in zip((0.1, 0.2, 0.3, 0.4), task.cells, strict=True):
        cell |= {"lr": lr, "seed": 8}
    one = Measured(0.0, 0.0, 1.0, 1, 0.0, 0.0)
    assert estimate._seconds(one, task.group, task.group, task.cells, None) == 40
    assert estimate._seconds(one, task.group, task.group, task.cells, halving) == 4 * 2 + 2 * 8


def test_a_group_is_measured_by_one_training_a_device_of_the_program_that_it_runs(caplog):
    groups = plan.groups(SMALL, plan.configurations(SMALL, [{}]))
    [task] = plan.tasks(SMALL, groups)
    with jax.log_compiles():
        found = estimate.measure(dataclasses.asdict(task.group.setting), task.cells)
    compiled = [m for m in caplog.messages if m.startswith("Finished XLA compilation of jit(run_all)")]
    assert len(compiled) == 1  # its memory is that of the program whose time was taken
    assert found.together == jax.device_count() == 2
    assert min(found.start, found.compiled, found.epoch, found.each) > 0
    weights = 4 * (4 * 2 * (1 + 2 + 1) + 2 + 1)  # bytes: kernel, recurrent and bias of an LSTM, and the head
    assert found.each > 4 * weights  # weights, both moments, the first ones and the best
    assert found.fixed > 2**20


def die(fields, cells):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.fault
def test_a_process_that_is_killed_is_no_end_of_the_sweep(monkeypatch):
    monkeypatch.setattr(estimate, "measure", die)
    assert estimate._apart(group(1.0), [], Place(frozenset(), {})) == "its process was killed: too large?"
