"""What a call costs is reported from the right differences; a stopped run goes on; what is missing is named."""

import csv
import importlib.util
import math
from dataclasses import replace

import numpy as np
import pytest
from helpers import published
from helpers.packages import pretend

from experiments.harness import exits
from experiments.harness.peers import comparison
from experiments.harness.peers.jobs import ARMS, Job, Row, Shape
from experiments.harness.peers.process import OURS
from experiments.harness.peers.timing import Spread
from experiments.overhead import jobs, report, run
from experiments.overhead.jobs import WHOLE, Config
from experiments.overhead.report import Cost


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


def test_a_call_costs_what_its_arm_takes_beyond_the_same_epochs_in_one_call():
    short, long = report.costs_of(rows(call=0.004))
    assert (short.steps, long.steps) == (1, 100)
    for cost in (short, long):
        np.testing.assert_allclose([cost.call.low, cost.call.median, cost.call.high], 0.004)
    np.testing.assert_allclose((short.share.median, long.epoch.median), (0.004 / 0.003, 0.102))


def test_epochs_of_another_number_are_compared_with_as_many():
    """What takes seconds is done twice, and each of the two calls has the cost."""
    whole, again = job(1, "Keras", WHOLE, 20), job(1, "Keras", "recompile", 2)
    [cost] = report.costs_of(
        [Row(job=whole, repetition=1, seconds=2.0), Row(job=again, repetition=1, seconds=6.2)]
    )
    assert cost.call.median == pytest.approx(3.0)


def test_a_slow_minute_does_not_move_the_share():
    quiet, busy = (report.costs_of(rows(0.004, noise=n))[0] for n in ((1.0, 1.0, 1.0), (1.0, 5.0, 2.0)))
    for name in ("low", "median", "high"):
        assert getattr(quiet.share, name) == pytest.approx(getattr(busy.share, name))
    assert busy.call.high > 1.4 * quiet.call.high


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


def test_an_arm_that_trains_something_else_is_named():
    found = rows(0.004) + rows(0.004, package="PyTorch")
    assert comparison.disagreeing(found, report.task, report.SAME) == []
    wrong = [replace(r, losses=(0.51,)) if r.job.title == "calls: steps 100" else r for r in found]
    texts = comparison.disagreeing(rows(0.004) + wrong[len(wrong) // 2 :], report.task, report.SAME)
    assert [text.split(", member")[0] for text in texts] == ["PyTorch, calls: steps 100"]


def test_scratch_must_reach_the_loss_of_one_epoch_whatever_their_number():
    found = [
        Row(job=job(1, name, "scratch", n), repetition=1, seconds=1.0, losses=(loss,))
        for name, n, loss in ((OURS, 100, 0.5), ("Keras", 2, 0.5), ("PyTorch", 2, 0.6))
    ]
    [text] = comparison.disagreeing(found, report.task, report.SAME)
    assert text.startswith("PyTorch")


def test_the_answer_is_the_boundary_that_drops_everything_in_an_epoch_of_the_question():
    def cost(steps, call, epoch, arm="scratch"):
        spreads = ((epoch, epoch, epoch), (call, call, 2 * call), (1, 1, 1))
        epoch, call, share = (Spread(median=m, low=low, high=high) for m, low, high in spreads)
        return Cost(package=OURS, arm=arm, steps=steps, epoch=epoch, call=call, share=share)

    answer = report.answer(
        [cost(1, 1e-4, 1e-3), cost(64, 9.0, 0.1), cost(1000, 9.0, 2.0), cost(1, 5.0, 1.0, "keep")]
    )
    assert "0.1 [0.1, 0.2] %" in answer and "64 steps" in answer


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
