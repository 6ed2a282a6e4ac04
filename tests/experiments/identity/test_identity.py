"""The design has every level of every factor, states that differ are told apart, and a kill does not matter."""

import contextlib
import csv

import jax
import numpy as np
import pytest

from experiments.harness import run_folder
from experiments.harness.setting import Setting
from experiments.harness.source import open_source
from experiments.identity import report, transports
from experiments.identity import run as identity
from experiments.identity.compare import Difference, Result, difference, everything, first_apart, first_seen
from experiments.identity.design import (
    FILE,
    HERE,
    KILLED,
    PROCESS,
    SMOOTH,
    TRANSPORTS,
    Cell,
    Config,
    bound,
    cover,
    every_cell,
    expectation,
    levels,
    prepare,
)
from experiments.identity.lowerings import (
    CHOSEN,
    EPOCHS,
    LAYOUTS,
    LOWERINGS,
    RUN,
    STEPS,
    advance,
    begin,
    in_fits,
    one_fits,
)

SETTING = Setting(epochs=4, hidden=3, window=3, split=(0.1, 0.2))
SPLIT = open_source(SETTING, "sunspots").split


@pytest.fixture(scope="module")
def ones():
    """SGD with momentum in all lowerings."""
    return one_fits(SETTING, SPLIT, "momentum", LOWERINGS)


# ---- the plan


@pytest.mark.parametrize("epochs", [1, 4, 10, 20, 100])
def test_the_design_has_every_level_of_every_factor(epochs):
    cells = cover(epochs)
    assert len(cells) <= 14
    assert {cell.every for cell in cells} == set(levels(epochs))
    assert {cell.optimizer for cell in cells} == set(CHOSEN)
    assert {cell.transport for cell in cells} == set(TRANSPORTS)
    assert {cell.lowering for cell in cells} == set(LOWERINGS)


def test_the_whole_is_every_combination_once():
    cells = every_cell(10)
    assert len(set(cells)) == len(cells) == 4 * 7 * 4 * 6
    assert set(cover(10)) <= set(cells)


def test_fits_are_those_that_divide_the_epochs():
    assert levels(100) == [1, 2, 5, 10, 100]
    assert levels(15) == [1, 5]


def test_expectations_are_0_bits_and_a_bound_across_lowerings():
    assert bound(Cell(1, "adam", HERE, RUN), 1e-3) == 0
    assert bound(Cell(1, "adam", HERE, STEPS), 1e-3) == SMOOTH
    assert bound(Cell(1, "lion", HERE, STEPS), 1e-3) == pytest.approx(0.02)
    assert expectation(Cell(1, "adam", HERE, RUN), 1e-3) == "0 bits"
    assert expectation(Cell(1, "adam", HERE, STEPS), 1e-3) == "0 bits; ≤ 1e-05"


def test_what_is_expected_is_written_before_anything_is_trained(tmp_path, capsys):
    plan = prepare(Config(out=str(tmp_path / "run"), epochs=2))
    stored = run_folder.read_json(plan.folder / "config.json")
    assert [row["expected"] for row in stored["cells"]] == [expectation(cell, 1e-3) for cell in plan.cells]
    report.say_plan(report.Console(width=500), plan)
    said = capsys.readouterr().out
    assert all(f"{cell.optimizer}, {cell.lowering}, {cell.transport}" in said for cell in plan.cells)


def test_the_trainings_of_some_optimizers_can_be_asked_for(tmp_path):
    plan = prepare(Config(out=str(tmp_path / "run"), epochs=2, optimizers=("lion", "adam"), full=True))
    assert {cell.optimizer for cell in plan.cells} == {"adam", "lion"}
    assert len(plan.cells) == 2 * 2 * 4 * 6


@pytest.mark.parametrize(
    ("field", "value"), [("data", "sines"), ("epochs", 0), ("hidden", 0), ("optimizers", ("adagrad",))]
)
def test_what_cannot_be_is_refused_with_its_name(field, value, tmp_path):
    with pytest.raises(ValueError, match=f"^{field}: .*{value[0] if field == 'optimizers' else value}"):
        prepare(Config(out=str(tmp_path / "run"), **{field: value}))


# ---- differences


def test_one_bit_is_found_with_its_component_and_leaf(ones):
    progress = begin(ones[RUN])
    bias = progress.state.params["head"]["bias"].copy()
    bias[0] = np.nextafter(np.float32(1), np.float32(2))
    one = {"step": np.int32(3), "params": {"head": {"bias": np.ones(1, np.float32)}}}
    other = {"step": np.int32(3), "params": {"head": {"bias": bias}}}
    assert difference(one, one) == Difference(0, 0, 0.0, "", "")
    assert difference(one, other) == Difference(1, 1, float(np.spacing(np.float32(1))), "params", "head.bias")
    assert difference(one, one | {"step": np.int32(4)})[:2] == (3, 0)  # 011 and 100
    with pytest.raises(ValueError, match="step : int32"):
        difference(one, one | {"step": np.int64(3)})


def test_all_that_a_run_carries_is_compared(ones):
    progress = begin(ones[RUN])
    named = everything(progress)
    assert set(named) == {*progress.state._fields, "clock", "selected", "log"}
    for name in ("order", "moments", "params"):
        leaves, tree = jax.tree.flatten(getattr(progress.state, name))
        leaves[0] = jax.random.key(99) if name == "order" else leaves[0] + 1
        changed = progress._replace(state=progress.state._replace(**{name: tree.unflatten(leaves)}))
        found = difference(named, everything(changed))
        assert found.bits > 0
        assert found.component == name


# ---- lowerings and transports


@pytest.mark.parametrize("lowering", LOWERINGS)
def test_fits_in_memory_and_by_file_are_one_fit(lowering, ones, tmp_path):
    one = ones[lowering]
    whole = everything(advance(one, begin(one), one.epochs))
    cut = in_fits(one, 1)
    memory = transports.in_memory(cut, 1)
    filed = transports.by_file(cut, 1, tmp_path, one.epochs)
    assert len(memory) == len(filed) == 4
    for seen in (memory, filed):
        assert difference(everything(seen[-1]), whole).bits == 0
    assert first_seen(one, memory) is None
    trained = difference(everything(begin(one)), whole)
    assert trained.weight > 1e-4, "it is trained"


def test_a_training_that_drops_something_is_seen_to_differ_and_where(ones):
    one = ones[RUN]
    first = transports.in_memory(in_fits(one, 2), 2)[0]
    zeros = jax.tree.map(np.zeros_like, first.state.moments)
    dropped = advance(one, first._replace(state=first.state._replace(moments=zeros)), 4)
    found = first_seen(one, [first, dropped])
    assert found is not None
    assert (found.epoch, found.component, found.exact) == (4, "params", False)
    assert found.step == 4 * -(-SPLIT.data.train.size // SETTING.batch)


@pytest.mark.parametrize("steps", [1, 3, 7])
def test_two_trainings_are_told_apart_at_the_step_at_which_they_part(steps, ones):
    """Planted: another rate at one step."""
    one = ones[EPOCHS]
    rates_MS = np.array(one.member_M.hp.rates_S)
    rates_MS[:, steps - 1] *= 2
    other = one._replace(member_M=one.member_M._replace(hp=one.member_M.hp._replace(rates_S=rates_MS)))
    found = first_apart(one, other, freezes=True)
    assert found is not None
    assert (found.epoch, found.step, found.component, found.exact) == (1, steps, "params", True)
    blind = first_apart(one, other, freezes=False)
    assert blind is not None
    assert (blind.epoch, blind.exact) == (1, False)
    assert first_apart(one, one, freezes=True) is None


def test_the_populations_train_the_single_run(ones):
    single = advance(ones[RUN], begin(ones[RUN]), 2)
    for lowering in LAYOUTS:
        many = advance(ones[lowering], begin(ones[lowering]), 2)
        assert many.clock.tolist() == [2, 2]
        np.testing.assert_allclose(
            many.state.params["head"]["kernel"][0], single.state.params["head"]["kernel"], atol=1e-6
        )


def test_a_process_killed_or_gone_on_with_elsewhere_ends_in_the_bits_of_one_fit(tmp_path):
    cells = [Cell(2, "momentum", PROCESS, EPOCHS), Cell(1, "momentum", KILLED, EPOCHS)]
    results = identity.of_optimizer(SETTING, tmp_path, [*cells, Cell(1, "momentum", FILE, RUN)])
    assert [(r.same.bits, r.held) for r in results] == [(0, True)] * 3
    assert results[0].note == "fits there: 1"
    assert "killed" in results[1].note
    assert (tmp_path / "cells" / "1-momentum-after_SIGKILL-epoch_scan" / "checkpoint").is_dir()


# ---- what is said


def result(cell, bits=0, weight=0.0):
    same = Difference(bits, bits, 0.0, "params" * bool(bits), "")
    across = Difference(int(weight > 0), 1, weight, "params", "head.bias")
    held = not bits and weight <= bound(cell, 1e-3)
    return Result(cell, same, across, None, "", held)


@contextlib.contextmanager
def trained(monkeypatch, found):
    monkeypatch.setattr(identity, "_all", lambda plan, out: found(plan))
    yield


def test_the_command_writes_table_figure_and_page_and_tells_what_did_not_hold(tmp_path, monkeypatch, capsys):
    def found(plan):
        broken = plan.cells.index(next(c for c in plan.cells if c.lowering != RUN))
        return [result(c, bits=3 * (i == broken)) for i, c in enumerate(plan.cells)]

    plan = prepare(Config(out=str(tmp_path / "run"), epochs=2))
    with trained(monkeypatch, found):
        results = identity.execute(plan)
    assert not identity.held(results)
    assert identity.held([one for one in results if one.held])
    said = " ".join(capsys.readouterr().out.split())
    assert f"{len(plan.cells) - 1} of {len(plan.cells)} trainings in fits are one fit to the last bit" in said
    assert "1 expectation did not hold" in said
    names = {"config.json", "env.json", "status.json", "results.csv", "table.md", "figure.svg", "figure.png"}
    assert {p.name for p in plan.folder.iterdir()} == names | {"report.html"}
    with (plan.folder / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["held"] for row in rows].count("False") == 1
    assert [row["same_bits"] for row in rows].count("3") == 1


def test_weights_beyond_the_bound_do_not_hold(tmp_path, monkeypatch):
    plan = prepare(Config(out=str(tmp_path / "run"), epochs=2))
    with trained(
        monkeypatch, lambda plan: [result(c, weight=1e-4 * (c.lowering != RUN)) for c in plan.cells]
    ):
        found = identity.execute(plan)
    beyond = {r.cell.optimizer for r in found if not r.held}
    assert beyond == {c.optimizer for c in plan.cells if c.lowering != RUN} - {"lion"}
    assert "rounds otherwise, weights by up to 1.0e-04" in report.answer(found)
