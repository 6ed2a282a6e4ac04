"""The design has every level of every factor, states that differ are told apart, and neither kill nor stop matters."""

import contextlib
import csv
import dataclasses
import multiprocessing
import time

import jax
import numpy as np
import pytest
from helpers import small
from helpers.pools import OnePool

from experiments.harness import document, run_folder
from experiments.harness.exits import Interrupted
from experiments.harness.setting import Setting
from experiments.identity import design, lowerings, report, run, transports
from experiments.identity.compare import (
    Difference,
    Result,
    difference,
    everything,
    first_apart,
    first_seen,
)
from experiments.identity.design import HERE, KILLED, PROCESS, Cell, Config, bound, decide, expectation
from experiments.identity.lowerings import EPOCHS, LOWERINGS, RUN, STEPS, advance, begin, in_fits
from lstm_sched import loop, population
from lstm_sched.learner import steps_per_epoch

DATA = small.data(40)


NETWORK = small.learner("momentum", batch=8)
SOON = {
    f"{f.__name__}_jit": jax.jit(f, static_argnames=static, compiler_options=small.SOON)
    for f, *static in ((loop.step, "learner"), (loop.epoch, "learner"), (loop.run, "learner", "epochs"))
}


@pytest.fixture
def trainings(monkeypatch):
    """One fit of four epochs in every lowering; network and programs are small and soon compiled."""
    for name, program in SOON.items():
        monkeypatch.setattr(lowerings, name, program)
    member_M = population.stack([small.a_member(NETWORK, DATA, 4, seed) for seed in lowerings.SEEDS])
    common = {"learner": NETWORK, "member_M": member_M, "data": DATA, "epochs": 4}
    return {name: lowerings.Training(lowering=name, **common) for name in LOWERINGS}


def cell(optimizer="adam", lowering=RUN, transport=HERE, every=1):
    return Cell(every=every, optimizer=optimizer, transport=transport, lowering=lowering)


# ---- the design


@pytest.mark.parametrize("epochs", [1, 4, 10, 20, 100])
def test_the_design_has_every_level_of_every_factor(epochs):
    cells, fits = design.cover(epochs), [n for n in (1, 2, 5, 10, 100) if epochs % n == 0]
    assert len(cells) <= 14
    assert {cell.every for cell in cells} == set(fits)
    assert {cell.optimizer for cell in cells} == set(lowerings.CHOSEN)
    assert {cell.transport for cell in cells} == set(design.TRANSPORTS)
    assert {cell.lowering for cell in cells} == set(LOWERINGS)
    combinations = design.every_cell(epochs)
    assert len(set(combinations)) == len(combinations) == len(fits) * 7 * 4 * 6
    assert set(cells) <= set(combinations)


@pytest.mark.parametrize(
    ("asked", "limit", "text"),
    [
        (cell(), 0, "0 bits"),
        (cell(lowering=STEPS), 1e-5, "0 bits; ≤ 1e-05"),
        (cell("lion", STEPS), 0.02, "0 bits; ≤ 0.02"),
    ],
)
def test_expectations_are_0_bits_and_a_bound_across_lowerings(asked, limit, text):
    assert bound(asked, 1e-3) == pytest.approx(limit)
    assert expectation(asked, 1e-3) == text


def test_only_the_optimizers_asked_for_are_trained_and_what_is_expected_is_decided_first():
    [decided] = decide(Config(epochs=2, optimizers=("lion", "adam"), full=True), {})
    assert {cell.optimizer for cell in decided.cells} == {"adam", "lion"}
    assert len(decided.cells) == 2 * 2 * 4 * 6
    assert decided.facts["expected"] == {str(cell): expectation(cell, 1e-3) for cell in decided.cells}


@pytest.mark.parametrize(
    ("field", "value"), [("data", "sines"), ("epochs", 0), ("hidden", 0), ("optimizers", ("adagrad",))]
)
def test_what_cannot_be_is_refused_with_its_name(field, value):
    with pytest.raises(ValueError, match=f"^{field}: .*{value[0] if field == 'optimizers' else value}"):
        decide(Config(**{field: value}), {})


# ---- differences


def test_one_bit_is_found_with_its_component_and_leaf():
    state = {"step": np.int32(3), "params": {"head": {"bias": np.ones(1, np.float32)}}}
    spacing = np.spacing(np.float32(1))
    nudged = state | {"params": {"head": {"bias": np.ones(1, np.float32) + spacing}}}
    assert difference(state, state) == Difference()
    where = {"component": "params", "leaf": "head.bias"}
    assert difference(state, nudged) == Difference(bits=1, ulp=1, weight=float(spacing), **where)
    assert difference(state, state | {"step": np.int32(4)}).bits == 3  # 011 and 100
    with pytest.raises(ValueError, match="step : int32"):
        difference(state, state | {"step": np.int64(3)})


def test_all_that_a_run_carries_is_compared(trainings):
    progress = begin(trainings[RUN])
    named = everything(progress)
    assert set(named) == {*progress.state._fields, "clock", "selected", "log"}
    for name in ("order", "moments", "params"):
        leaves, tree = jax.tree.flatten(getattr(progress.state, name))
        leaves[0] = jax.random.key(99) if name == "order" else leaves[0] + 1
        changed = progress._replace(state=progress.state._replace(**{name: tree.unflatten(leaves)}))
        apart = difference(named, everything(changed))
        assert apart.bits > 0
        assert apart.component == name


def test_a_training_that_drops_something_is_seen_to_differ_and_where(trainings):
    training = trainings[RUN]
    first = transports.in_memory(in_fits(training, 2), 2)[0]
    zeros = jax.tree.map(np.zeros_like, first.state.moments)
    dropped = advance(training, first._replace(state=first.state._replace(moments=zeros)), 4)
    seen = first_seen(training, [first, dropped])
    assert seen is not None
    assert (seen.epoch, seen.component, seen.exact) == (4, "params", False)
    assert seen.step == 4 * steps_per_epoch(training.learner, DATA.train.size)


@pytest.mark.parametrize("step", [1, 3, 5])
def test_two_trainings_are_told_apart_at_the_step_at_which_they_part(step, trainings):
    """The second has twice the rate at one step."""
    training = trainings[EPOCHS]
    rates_MS = np.array(training.member_M.hp.rates_S)
    rates_MS[:, step - 1] *= 2
    hp = training.member_M.hp._replace(rates_S=rates_MS)
    other = dataclasses.replace(training, member_M=training.member_M._replace(hp=hp))
    seen, late = (first_apart(training, other, freezes=freezes) for freezes in (True, False))
    assert seen is not None and late is not None
    assert (seen.epoch, seen.step, seen.component, seen.exact) == (1, step, "params", True)
    assert (late.epoch, late.exact) == (1, False)
    assert first_apart(training, training, freezes=True) is None


# ---- lowerings and transports


@pytest.mark.parametrize("lowering", LOWERINGS)
def test_fits_in_memory_and_by_file_are_one_fit_and_all_lowerings_one_training(lowering, trainings, tmp_path):
    training = trainings[lowering]
    end = advance(training, begin(training), 4)
    cut = in_fits(training, 1)
    memory, filed = transports.in_memory(cut, 1), transports.by_file(cut, 1, tmp_path, 4)
    assert len(memory) == len(filed) == 4
    assert [difference(everything(seen[-1]), everything(end)).bits for seen in (memory, filed)] == [0, 0]
    assert first_seen(training, memory) is None
    assert difference(everything(begin(training)), everything(end)).weight > 1e-3, "it is trained"
    params = population.take(end.state.params, 0) if lowering in lowerings.LAYOUTS else end.state.params
    single = advance(trainings[RUN], begin(trainings[RUN]), 4).state.params
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), params, single)


def test_a_process_killed_or_continued_elsewhere_ends_in_the_bits_of_one_fit(tmp_path):
    cells = [cell("momentum", RUN, PROCESS), cell("momentum", RUN, KILLED)]
    folder = tmp_path / "cells" / "1-momentum-after_SIGKILL-run_scan"
    (folder / "checkpoint" / "1").mkdir(parents=True)  # as where the command was stopped meanwhile
    setting = Setting(data=("sunspots",), epochs=2, hidden=2, window=2, split=(0.1, 0.2))
    rows = run.compare_group(setting, tmp_path, cells)
    assert [(row["same"]["bits"], row["held"]) for row in rows] == [(0, True)] * 2
    assert rows[0]["note"] == "fits there: 1"
    assert "killed" in rows[1]["note"]
    assert len(list((folder / "checkpoint").iterdir())) == 2


# ---- the whole command


def test_workers_end_at_once_where_the_command_is_stopped():
    with pytest.raises(KeyboardInterrupt), run.two_workers() as pool:
        sleeping = pool.submit(time.sleep, 3600)
        while not sleeping.running():
            time.sleep(0.01)
        raise KeyboardInterrupt
    assert not multiprocessing.active_children()


def result_of(asked, bits=0, weight=0.0):
    same = Difference(bits=bits, ulp=bits, component="params" * bool(bits))
    across = Difference(bits=int(weight > 0), ulp=1, weight=weight, component="params", leaf="head.bias")
    held = not bits and weight <= bound(asked, 1e-3)
    return Result(cell=asked, same=same, across=across, first=None, note="", held=held)


def test_a_run_that_is_stopped_continues_with_what_was_not_compared(tmp_path, monkeypatch, capsys):
    calls, stop_at = [], ["adam, vmapped population"]

    def compare_group(setting, folder, cells):
        if cells[0].group in stop_at:
            raise KeyboardInterrupt
        calls.append(cells[0].group)
        bits = 3 * (cells[0].optimizer == "sgd")
        return [dataclasses.asdict(result_of(c, bits * (c.every > 1))) for c in cells]

    monkeypatch.setattr(run, "compare_group", compare_group)
    monkeypatch.setattr(run, "two_workers", lambda afresh: contextlib.nullcontext(OnePool()))
    monkeypatch.setattr(run, "as_completed", list)
    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        run.main(Config(out=str(folder), epochs=2))
    calls.clear()
    stop_at.clear()
    results = run.main(Config(resume=str(folder)))
    assert "rmsprop, mapped population" not in calls and "adam, vmapped population" in calls
    assert [result.cell for result in results] == decide(Config(epochs=2), {})[0].cells
    assert not run.expected(results) and run.expected([result for result in results if result.held])
    shown = capsys.readouterr().out
    assert "2 of 14 trainings were compared before" in shown
    assert shown.count("NOT AS EXPECTED") == 1
    names = {"config.json", "env.json", "status.json", "measured.jsonl", "results.csv", "table.md"}
    assert {path.name for path in folder.iterdir()} == names | {"figure.svg", "figure.png", "report.html"}
    with (folder / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["config"] for row in rows} == {run_folder.read_json(folder / "config.json")["hash"]}
    assert [(row["held"], row["same_bits"]) for row in rows].count(("False", "3")) == 1


def test_the_answer_counts_what_is_equal_and_the_terminal_shows_what_is_not():
    [decided] = decide(Config(epochs=2), {})
    results = [result_of(c, weight=1e-4 * (c.lowering != RUN)) for c in decided.cells]
    broken = sum(c.lowering != RUN and c.optimizer != "lion" for c in decided.cells)
    for fact in ("14 of 14", "0 of 12", "at most 1.0e-04", f"{broken} expectations did not hold"):
        assert fact in report.answer(results)
    shown = document.blocks(report.conclude(decided, results * 6), "terminal")
    assert [len(block.rows) for block in shown if isinstance(block, document.Table)] == [6 * broken]
