"""How long a sweep will take, against what is known of it."""

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
from experiments.sweep.plan import Group, Task

SMALL = Config(
    data=("sines",), window=8, batch=256, epochs=6, workers=2, grid=Grid(hidden=(2,), seed=("8:13",))
)


def group(work, epochs=10):
    setting = dataclasses.replace(SMALL, epochs=epochs)
    return Group(setting=setting, configurations=[], data={}, work=work)


def tasks_of(groups, trials=4):
    fields = {"lr": 0.1, "schedule": "constant", "policy": "one_fit", "every": 1}
    made = [{"number": n, "seed": n} | fields for n in range(trials)]
    return [Task(number=i, group=group, trials=made) for i, group in enumerate(groups)]


def measured(epoch=1.0, start=0.0, compiled=0.0, together=1, fixed=0.0, per_trial=0.0):
    return Measured(
        start=start, compiled=compiled, epoch=epoch, together=together, fixed=fixed, per_trial=per_trial
    )


@given(st.lists(st.floats(0.1, 10), max_size=8), st.integers(1, 4))
def test_the_last_task_ends_when_all_have_had_their_turn(seconds, workers):
    free = [0.0] * workers
    for of_task in seconds:
        free.sort()
        free[0] += of_task
    assert estimate.makespan(seconds, workers) == pytest.approx(max(free))


def test_groups_that_are_not_measured_are_extrapolated_from_the_nearest_in_work(monkeypatch):
    def in_process(group, trials, place):
        return measured(group.work / 10, start=1.0, compiled=2.0, together=2, fixed=100.0, per_trial=10.0)

    monkeypatch.setattr(estimate, "_in_process", in_process)
    groups = [group(float(work)) for work in (7, 1, 2, 3, 4, 5, 6)]
    whole = estimate.estimate(groups, tasks_of(groups), 2, None)
    assert [expected.how for expected in whole.groups].count("measured") == estimate.MEASURED
    assert {expected.how for expected in whole.groups} == {"measured", "extrapolated"}
    for expected, grouped in zip(whole.groups, groups, strict=True):
        assert expected.seconds == pytest.approx(3 + 4 / 2 * 10 * grouped.work / 10)  # 2 rounds of 10 epochs
        assert expected.bytes == 140
    seconds = [expected.seconds for expected in whole.groups]
    assert whole.seconds == pytest.approx(estimate.makespan(seconds, 2))


def test_a_group_that_cannot_be_measured_says_why_and_the_rest_is_expected(monkeypatch):
    monkeypatch.setattr(
        estimate, "_in_process", lambda group, *_: "too large" if group.work == 2 else measured()
    )
    groups = [group(1.0), group(2.0)]
    whole = estimate.estimate(groups, tasks_of(groups), 1, None)
    assert [expected.how for expected in whole.groups] == ["measured", "too large"]
    assert math.isnan(whole.groups[1].seconds)
    assert whole.seconds == pytest.approx(40)
    nothing = estimate.estimate(groups[1:], tasks_of(groups[1:]), 1, None)
    assert [expected.how for expected in nothing.groups] == ["too large"]


def test_halving_takes_less():
    halving = {"epochs": [2, 10], "keep": 0.5}
    [task] = tasks_of([group(1.0)])
    trials = [{**trial, "lr": n, "seed": 8} for n, trial in enumerate(task.trials)]
    assert estimate._seconds(measured(), task.group, task.group, trials, None) == 40
    assert estimate._seconds(measured(), task.group, task.group, trials, halving) == 4 * 2 + 2 * 8


def test_a_group_is_measured_by_one_training_a_device_of_the_program_that_it_runs(caplog):
    groups = plan.groups(SMALL, plan.configurations(SMALL, [{}]))
    [task] = plan.tasks(SMALL, groups)
    with jax.log_compiles():
        result = estimate.measure(dataclasses.asdict(task.group.setting), task.trials)
    compiled = [m for m in caplog.messages if m.startswith("Finished XLA compilation of jit(run_all)")]
    assert len(compiled) == 1  # its memory is that of the program whose time was taken
    assert result.together == jax.device_count() == 2
    assert min(result.start, result.compiled, result.epoch, result.per_trial) > 0
    weights = 4 * (4 * 2 * (1 + 2 + 1) + 2 + 1)  # bytes: kernel, recurrent and bias of an LSTM, and the head
    assert result.per_trial > 4 * weights  # weights, both moments, the first ones and the best
    assert result.fixed > 2**20


def die(fields, trials):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.fault
def test_a_process_that_is_killed_does_not_end_the_sweep(monkeypatch):
    place = Place(cores=frozenset(), environment={})
    monkeypatch.setattr(estimate, "measure", die)
    assert estimate._in_process(group(1.0), [], place) == "its process was killed: too large?"
