"""What a call costs is told from the right differences; all arms train the same; what is missing is named."""

import csv
import importlib.util
import math

import numpy as np
import pytest

from experiments.claims import results
from experiments.harness import exits, run_folder
from experiments.harness.peers import workload
from experiments.harness.peers.timing import Spread
from experiments.overhead import ours as ou
from experiments.overhead import report
from experiments.overhead import run as overhead
from experiments.overhead.report import OURS, WHOLE, Cost, Row

SHAPE = workload.Shape(hidden=3, batch=2, window=4, features=2, windows=4)


def rows(call, step=0.001, beside=0.002, package=OURS, arm="calls", noise=(1.0, 1.0, 1.0)):
    """Of a package whose call takes `call` seconds and whose step takes `step`, on a machine of varying speed."""
    found = []
    for steps in (1, 100):
        for r, slower in enumerate(noise):
            epoch = beside + steps * step
            found.append(Row(package, WHOLE, steps, r, slower * 10 * epoch, 0, 10, 0.5))
            found.append(Row(package, arm, steps, r, slower * (10 * epoch + 9 * call), 9, 10, 0.5))
    return found


def test_a_call_costs_what_its_arm_takes_beyond_the_same_epochs_in_one_call():
    short, long = report.costs(rows(call=0.004))
    assert (short.steps, long.steps) == (1, 100)
    np.testing.assert_allclose([*short.call, *long.call], 0.004)
    np.testing.assert_allclose(short.share.median, 0.004 / 0.003)
    np.testing.assert_allclose(long.epoch.median, 0.102)


def test_epochs_of_another_number_are_set_against_as_many():
    """What takes seconds is done twice, and each of the two calls is beyond the one."""
    told = [Row("Keras", WHOLE, 1, 0, 2.0, 0, 20, 0.5), Row("Keras", "recompile", 1, 0, 6.2, 2, 2, 0.5)]
    [cost] = report.costs(told)
    assert cost.call.median == pytest.approx(3.0)


def test_a_slow_minute_does_not_move_the_share():
    quiet, busy = (report.costs(rows(0.004, noise=n)) for n in ((1.0, 1.0, 1.0), (1.0, 5.0, 2.0)))
    assert quiet[0].share == pytest.approx(busy[0].share)
    assert busy[0].call.high > 1.4 * quiet[0].call.high


def test_the_break_even_is_where_a_call_is_one_percent_of_an_epoch():
    found = report.costs(rows(call=0.004, step=0.001, beside=0.002))
    n = report.break_even(found)
    assert 0.004 / (0.002 + n * 0.001) == pytest.approx(report.MATTERS)
    assert report.break_even(report.costs(rows(call=-1e-6))) == 1
    assert math.isnan(report.break_even(found[:1]))


@pytest.fixture(scope="module")
def timed():
    arms = ou.arms(SHAPE, workload.arrays(SHAPE), epochs=5)
    return {name: arm() for name, arm in arms.items()}


def test_our_arms_train_the_same_and_only_scratch_returns_to_the_beginning(timed):
    assert timed["keep"].loss == timed["one_call"].loss == timed["calls"].loss
    assert timed["recompile"].loss != timed["one_call"].loss
    first = ou.arms(SHAPE, workload.arrays(SHAPE), epochs=1)["one_call"]().loss
    assert timed["scratch"].loss == pytest.approx(first, rel=1e-6)
    assert timed["one_call"].loss < 0.99 * first


def test_every_epoch_but_the_first_has_its_boundary_or_call(timed):
    assert {name: t.events for name, t in timed.items()} == {
        "one_call": 0,
        "keep": 4,
        "recompile": 4,
        "scratch": 4,
        "calls": 4,
    }
    assert {t.epochs for t in timed.values()} == {5}
    assert min(t.seconds for t in timed.values()) > 0


def test_an_arm_that_trains_something_else_is_named():
    same = rows(0.004) + rows(0.004, package="PyTorch")
    assert report.disagreeing(same) == []
    off = [r._replace(loss=0.51) if r.package == "PyTorch" and r.steps == 100 else r for r in same]
    off += rows(0.004, package="Keras")
    assert report.disagreeing(off) == [
        "PyTorch one_call at 100 steps: 0.51",
        "PyTorch calls at 100 steps: 0.51",
    ]


def test_the_last_line_is_the_boundary_that_drops_everything_beside_an_epoch_of_the_question():
    def cost(steps, call, epoch, arm="scratch"):
        return Cost(
            OURS, arm, steps, Spread(epoch, epoch, epoch), Spread(call, call, 2 * call), Spread(1, 1, 1)
        )

    found = [cost(1, 1e-4, 1e-3), cost(64, 9.0, 0.1), cost(1000, 9.0, 2.0), cost(1, 5.0, 1.0, "keep")]
    assert report.last_line(found).endswith("epoch of 64 steps: 0.1 [0.1, 0.2] %")


def test_the_quick_form_runs_without_packages_and_says_which_are_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(overhead.QUICK, "steps", (1, 2))
    monkeypatch.setattr(overhead, "epochs_of", lambda steps, ours: 3)
    folder = tmp_path / "overhead" / "run"
    found = overhead.main(overhead.Config(quick=True, repetitions=2, out=str(folder)))
    said = capsys.readouterr().out
    assert all(f"{name}: not measured (not asked)" in said for name in overhead.ASKED)
    assert "share of an epoch of 2 steps" in said.rstrip().splitlines()[-1]
    assert {(r.arm, r.steps) for r in found} == {(arm, n) for arm in ou.ARMS for n in (1, 2)}
    assert len(found) == 2 * len(ou.ARMS) * 2
    names = {p.name for p in folder.iterdir()}
    assert {
        "results.csv",
        "costs.csv",
        "table.md",
        "figure.svg",
        "figure.png",
        "report.html",
        "config.json",
    } <= names
    assert not [name for name in names if name.endswith((".npz", ".part"))]
    with (folder / "results.csv").open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == len(found)
    assert run_folder.read_json(folder / "status.json")["state"] == "finished"
    monkeypatch.setattr(results, "KERAS", "ours")
    costs, told = report.costs(found), results.calls(tmp_path)
    assert [(c.package, c.arm, c.steps, c.seconds) for c in told] == [
        (c.package, c.arm, c.steps, c.call.median) for c in costs
    ]
    assert [(c.low, c.share, c.high) for c in told] == [
        (c.share.low, c.share.median, c.share.high) for c in costs
    ]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (overhead.Config(peers=("Torch",)), "peers"),
        (overhead.Config(steps=(0, 1)), "steps"),
        (overhead.Config(repetitions=0), "repetitions: 0"),
        (overhead.Config(python="nowhere"), "python: nowhere is no file"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(config, message):
    with pytest.raises(ValueError, match=message):
        overhead.prepare(config)


@pytest.mark.peers
@pytest.mark.parametrize(("name", "package"), [("PyTorch, one thread", "torch"), ("Keras on JAX", "keras")])
def test_the_real_package_trains_what_ours_does(name, package, tmp_path):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package}: not installed (extra `peers`)")
    found = overhead.main(
        overhead.Config(steps=(2,), repetitions=1, peers=(name,), out=str(tmp_path / "run"))
    )
    assert {r.arm for r in found if r.package == name} == {"one_call", "calls", "recompile", "scratch"}
    assert report.disagreeing(found) == []


def test_a_package_that_does_not_answer_ends_the_command_in_a_sentence(tmp_path, monkeypatch):
    def lost(plan, out):
        raise overhead.pr.Lost("PyTorch: no answer; killed")

    monkeypatch.setattr(overhead, "measure", lost)
    plan = overhead.prepare(overhead.Config(out=str(tmp_path / "run")))
    with pytest.raises(exits.Refused, match="PyTorch: no answer; killed") as e:
        overhead.execute(plan)
    assert e.value.code == 1
    assert run_folder.read_json(plan.folder / "status.json")["state"] == "failed"
