"""What a call costs is reported from the right differences; a stopped run goes on; what is missing is named."""

import csv
import importlib.util
import math

import numpy as np
import pytest
from helpers import published
from helpers.packages import pretend

from experiments.harness import exits
from experiments.harness.peers import comparison
from experiments.harness.peers.jobs import ARMS, Job, Row, Shape
from experiments.harness.peers.process import OURS
from experiments.overhead import jobs, report, run
from experiments.overhead.jobs import WHOLE, Config


def job(steps, package=OURS, arm="calls", epochs=10):
    shape = Shape(windows=32 * steps)
    return Job(part=arm, axis="steps", value=steps, package=package, shape=shape, epochs=epochs, arm=arm)


def rows(call, step=0.001, fixed=0.002, package=OURS, noise=(1.0, 1.0, 1.0)):
    """A package whose call takes `call` seconds and whose step takes `step`, on a machine of varying speed."""
    found = []
    for steps in (1, 100):
        for r, slower in enumerate(noise, 1):
            epochs = 10 * (fixed + steps * step)
            for arm, seconds in {WHOLE: epochs, "calls": epochs + 9 * call}.items():
                facts = {"seconds": slower * seconds, "losses": (0.5,)}
                found.append(Row(job=job(steps, package, arm), repetition=r, **facts))
    return found


def test_the_published_rows_give_the_published_costs_and_table():
    found = []
    for row in published.rows("overhead"):
        arm = job(int(row["steps"]), row["package"], row["arm"], int(row["epochs"]))
        assert jobs.events(arm) == int(row["events"])
        facts = {"seconds": float(row["seconds"]), "losses": (float(row["loss"]),)}
        found.append(Row(job=arm, repetition=int(row["repetition"]) + 1, **facts))
    costs = report.costs_of(found)
    assert report.cells(costs) == published.table("overhead")
    for cost, row in zip(costs, published.rows("overhead", "costs.csv"), strict=True):
        for name, value in report.flat_cost(cost).items():
            assert value == (
                row[name] if isinstance(value, str) else pytest.approx(float(row[name]), rel=1e-9)
            )
    assert "0.0431 [0.0145, 0.0611] %" in report.answer(costs)
    assert comparison.disagreeing(found, report.task, report.SAME) == []


def test_a_call_costs_what_its_arm_takes_beyond_the_same_epochs_and_a_slow_minute_does_not_move_its_share():
    short, long = report.costs_of(rows(call=0.004))
    for cost in (short, long):
        np.testing.assert_allclose([cost.call.low, cost.call.median, cost.call.high], 0.004)
    np.testing.assert_allclose((short.share.median, long.epoch.median), (0.004 / 0.003, 0.102))
    busy = report.costs_of(rows(0.004, noise=(1.0, 5.0, 2.0)))[0]
    np.testing.assert_allclose([busy.share.low, busy.share.high], short.share.median)
    assert busy.call.high > 1.4 * short.call.high


def test_a_package_that_ended_is_reported_as_far_as_it_came():
    found = rows(0.004) + [row for row in rows(0.004, package="Keras") if row.job.arm == WHOLE]
    assert {cost.package for cost in report.costs_of(found)} == {OURS}
    assert len(report.costs_of(rows(0.004)[:-1])) == 2


def test_the_break_even_is_where_a_call_is_one_percent_of_an_epoch():
    costs = report.costs_of(rows(call=0.004, step=0.001, fixed=0.002))
    n = report.break_even(costs)
    assert 0.004 / (0.002 + n * 0.001) == pytest.approx(report.MATTERS)
    assert report.break_even(report.costs_of(rows(call=-1e-6))) == 1
    assert math.isnan(report.break_even(costs[:1]))


def test_all_arms_that_train_the_same_must_reach_one_loss_and_scratch_that_of_one_epoch():
    losses = {(OURS, "calls", 10): 0.4, ("Keras", WHOLE, 10): 0.4, ("PyTorch", "calls", 10): 0.41}
    losses |= {(OURS, "scratch", 100): 0.5, ("Keras", "scratch", 2): 0.5, ("PyTorch", "scratch", 2): 0.6}
    losses |= {("PyTorch", "calls", 7): 0.45}
    found = [
        Row(job=job(1, package, arm, epochs), repetition=1, seconds=1.0, losses=(loss,))
        for (package, arm, epochs), loss in losses.items()
    ]
    texts = comparison.disagreeing(found, report.task, report.SAME)
    assert [text.split(", member")[0] for text in texts] == [
        "PyTorch, calls: steps 1",
        "PyTorch, scratch: steps 1",
    ]


def test_the_quick_form_measures_ours_alone_and_says_which_are_missing(tmp_path, monkeypatch, capsys):
    asked = pretend(monkeypatch)
    folder = tmp_path / "run"
    measured = run.main(Config(quick=True, steps=(1, 2), repetitions=2, out=str(folder)))
    printed = " ".join(capsys.readouterr().out.split())
    assert "; ".join(jobs.PEERS) + ": not measured (not asked)" in printed
    assert "an epoch of 2 steps" in printed
    assert {(r.job.arm, r.job.value) for r in measured.rows} == {
        (a, n) for a in jobs.OUR_ARMS for n in (1, 2)
    }
    assert len(asked) == len(measured.rows) == 3 * len(jobs.OUR_ARMS) * 2
    names = {path.name for path in folder.iterdir()}
    assert {"results.csv", "costs.csv", "table.md", "figure.svg", "figure.png", "report.html"} <= names
    assert not [name for name in names if name.endswith(".part")]
    for name in ("results.csv", "costs.csv"):
        with (folder / name).open(newline="", encoding="utf-8") as file:
            assert csv.DictReader(file).fieldnames == list(published.rows("overhead", name)[0])


def test_a_run_that_is_stopped_goes_on_with_what_is_missing(tmp_path, monkeypatch):
    folder, asks = tmp_path / "run", {"steps": (1, 2), "repetitions": 3, "peers": ("PyTorch",)}
    before = pretend(monkeypatch, stopped_at=50)
    with pytest.raises(exits.Interrupted):
        run.main(Config(out=str(folder), **asks))
    after = pretend(monkeypatch)
    resumed = run.main(Config(resume=str(folder)))
    whole = pretend(monkeypatch)
    expected = run.main(Config(out=str(tmp_path / "whole"), **asks))
    assert [(r.job, r.repetition, r.losses) for r in resumed.rows] == [
        (r.job, r.repetition, r.losses) for r in expected.rows
    ]
    assert len(before) == 49 and len(after) <= len(whole) - 49 + 9, "nine arms are compiled again"


def test_a_package_that_does_not_answer_is_a_remark(tmp_path, monkeypatch):
    pretend(monkeypatch, ends=("PyTorch", 6))
    run.main(Config(steps=(1, 2), repetitions=2, peers=("PyTorch",), out=str(tmp_path / "run")))
    text = (tmp_path / "run" / "table.md").read_text()
    assert "PyTorch: ended in repetition 1" in text and "no answer; killed" in text


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Config(peers=("Torch",)), "peers: unknown 'Torch'"),
        (Config(steps=(0, 1)), r"steps: \(0, 1\); allowed: .* 1 or more"),
        (Config(repetitions=0), "repetitions: 0"),
        (Config(python="nowhere"), "python: nowhere is no file"),
    ],
)
def test_what_cannot_be_measured_is_refused(config, message):
    with pytest.raises(ValueError, match=message):
        jobs.decide(config, {})


@pytest.mark.peers
@pytest.mark.parametrize(("name", "package"), [("PyTorch, one thread", "torch"), ("Keras on JAX", "keras")])
def test_the_real_package_trains_what_ours_does(name, package, tmp_path):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package}: not installed (extra `peers`)")
    config = Config(steps=(2,), repetitions=1, peers=(name,), out=str(tmp_path / "run"))
    rows = run.main(config).rows
    assert {row.job.arm for row in rows if row.job.package == name} == set(ARMS)
    assert comparison.disagreeing(rows, report.task, report.SAME) == []
