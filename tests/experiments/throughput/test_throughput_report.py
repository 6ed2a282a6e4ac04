"""Ratios, limits and differences in loss are told from the right rows."""

import numpy as np
import pytest

from experiments.harness.peers import process, workload
from experiments.throughput import jobs, report
from experiments.throughput.jobs import Timed


def row(package, seconds, repetition=1, part="one", axis="question", value=1, processes=1, loss=0.5, **more):
    facts = {"cores": 2, "members": value if part == "many" else 1, "epochs": 3} | more
    return Timed(
        part, package, axis, value, processes, repetition=repetition, seconds=seconds, loss=loss, **facts
    )


def told(**seconds):
    """Rows of one training, the first of each ten times as long."""
    return [
        row(package, s, r) for package, all_ in seconds.items() for r, s in enumerate([10 * all_[0], *all_])
    ]


def test_ratios_are_taken_within_repetitions_and_the_first_is_left_out():
    rows = told(ours=[1, 10, 1]) + told(**{process.EPOCH: [2, 20, 2]})
    assert "2 [2, 2] ×" in report.last_line(rows)
    ours, flax = report.cells(rows)
    assert (ours[4], ours[5]) == ("–", "9")
    assert (flax[4], flax[5]) == ("2 [2, 2] ×", "18")


def test_runs_a_minute_are_those_of_all_members_with_compilation_and_without():
    """64 members in 6 s for 3 epochs: 200 s for 100 epochs; 20 s of compilation once."""
    rows = [row("ours", s, r, "many", value=64, members=64) for r, s in enumerate([26.0, 6.0, 6.0])]
    rows[0] = rows[0]._replace(bytes=64_000_000)
    [cell] = report.cells(rows)
    assert cell[5:] == ("20", "19.2 (17.5)", "1")
    assert report.runs_a_minute(rows[1], np.array([6.0])) == pytest.approx(60 * 64 / 200)
    assert report.runs_a_minute(rows[1], np.array([6.0]), 20.0) == pytest.approx(60 * 64 / 220)


def test_the_last_line_is_of_the_first_sizes():
    rows = told(ours=[1], **{process.EPOCH: [2]})
    rows += [r._replace(axis="large", seconds=9.0) for r in rows if r.package == process.EPOCH]
    rows += [r._replace(axis="large") for r in rows if r.package == process.OURS]
    assert "2 [2, 2] ×" in report.last_line(rows)


def test_what_it_gains_to_divide_batches_is_told_of_each_size():
    rows = told(ours=[2, 3], PyTorch=[4, 9], **{process.DIVIDED: [1, 1.5]})
    [said] = report.divided(rows)
    assert said == (
        "One training (question), its batches divided over 2 cores; others take of its time: "
        "ours 2 [2, 2] ×, PyTorch 5 [4.5, 5.5] ×."
    )
    assert report.divided(told(ours=[2])) == []


def test_the_fastest_package_is_neither_ours_nor_flax_s():
    rows = told(ours=[1], PyTorch=[4], Keras=[3], **{process.EPOCH: [2]})
    assert report.fastest(rows) == "Keras"
    assert report.fastest(told(ours=[1], **{process.EPOCH: [2]})) == process.EPOCH


def test_a_package_that_trains_something_else_is_named():
    rows = told(ours=[1], PyTorch=[4])
    assert report.disagreeing(rows) == []
    assert report.disagreeing([*rows, row("Keras", 1.0, loss=0.502)]) == [
        "Keras, 1 × question: 0.502, ours 0.5"
    ]
    assert report.disagreeing([*rows, row("Keras", 1.0, loss=float("nan"))])


def test_the_distance_to_the_limit_is_time_over_that_of_the_products():
    per_epoch = jobs.operations(workload.Shape())
    product = {"part": "limit", "axis": "product", "loss": 2e9}
    rows = [row("ours", 0.02, r, **product) for r in (0, 1)]  # 100 GFLOP/s
    rows += [row("ours", 3 * 2.5 * per_epoch / 1e11, r, part="limit") for r in (0, 1)]
    rate, times = report.limits(rows)
    assert "100 [100, 100] GFLOP/s" in rate
    assert "2.5 [2.5, 2.5] × the time" in times
