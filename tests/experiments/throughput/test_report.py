"""Ratios, limits and differences in loss are reported from the right rows."""

import re
from dataclasses import replace

import pytest
from helpers import published

from experiments.harness import run_folder
from experiments.harness.peers.jobs import SHAPES, Job, Measured, Row, Shape
from experiments.harness.peers.process import EPOCH, OURS
from experiments.throughput import report

JOB = Job(part="one", axis="question", package=OURS, shape=Shape(), epochs=3, cores=((0, 1),))


def rows(job, seconds, losses=(0.5,), **facts):
    """A job's rows; the first takes ten times as long."""
    times = enumerate([10 * seconds[0], *seconds])
    return [Row(job=job, repetition=r, seconds=s, losses=losses, **facts) for r, s in times]


def one(**seconds):
    return [row for package, s in seconds.items() for row in rows(replace(JOB, package=package), s)]


@pytest.mark.parametrize("folder", ["throughput", "throughput-sizes"])
def test_the_published_rows_give_the_published_table(folder):
    asked = run_folder.read_json(published.DOCS / folder / "config.json")["config"]
    found = []
    for row in published.rows(folder):
        processes, cores, value = int(row["processes"]), int(row["cores"]), int(row["value"])
        axis, product = row["axis"], row["axis"] == "product"
        shape = SHAPES[axis if axis in SHAPES else asked["shapes"][0]]
        if axis in ("window", "hidden"):
            shape = replace(shape, **{axis: value})
        job = Job(
            part=row["part"],
            axis=axis,
            value=None if row["part"] in ("one", "limit") else value,
            package=row["package"],
            shape=shape,
            members=int(row["members"]),
            epochs=int(row["epochs"]),
            cores=(tuple(range(cores)),) if processes == 1 else tuple((core,) for core in range(cores)),
        )
        repetition, seconds, loss = int(row["repetition"]), float(row["seconds"]), float(row["loss"])
        made = Row(job=job, repetition=repetition, seconds=seconds, bytes=int(row["bytes"]))
        found.append(replace(made, flops=loss) if product else replace(made, losses=(loss,) * job.members))
    assert report.cells(found) == published.table(folder)
    text = (published.DOCS / folder / "table.md").read_text()
    for numbers in re.findall(r"[\d.]+ \[.*?\]", " ".join(report.limits(found) + report.divided(found))):
        assert numbers in text
    remarks = report.document(Measured(rows=found, lost={}), gpu=False).sections[0].blocks
    assert "All reach the same loss, to 0.002." in remarks


def test_a_few_trainings_are_compared_by_the_time_of_each():
    """100 trainings here, 2 in PyTorch: each 150 times as long, on a machine whose speed varies."""
    many = replace(JOB, part="many", value=100, members=100, epochs=7, cores=((),))
    few = replace(many, package="PyTorch", members=2)
    found = rows(many, (2.0, 4.0, 2.0)) + rows(few, (6.0, 12.0, 6.0))
    ours, torch = report.cells(found)
    assert ours[1:6] == (OURS, "–", "2 [2, 3]", "–", "18")
    assert torch[1:6] == ("PyTorch, 2 of them", "–", "6 [6, 9]", "150 [150, 150] ×", "54")
    answer = report.sentence(found, "many", None)
    for fact in ("100 trainings of 7 epochs", "2 [2, 3] s", "PyTorch", "150 [150, 150] ×"):
        assert fact in answer
    assert report.sentence(found, "one", None) == ""


def test_losses_of_a_gpu_are_compared_by_their_checks_alone():
    check = replace(JOB, part="check", repeated=False)
    found = [*one(ours=[1.0], PyTorch=[2.0]), Row(job=check, repetition=0, seconds=1.0, losses=(0.5,))]
    wrong = [Row(job=replace(check, package="PyTorch"), repetition=0, seconds=1.0, losses=(0.51,))]
    later = [replace(row, losses=(0.9,)) if row.job.package == "PyTorch" else row for row in found]

    def remarks(rows):
        return str(report.document(Measured(rows=rows, lost={}), gpu=True).sections[0].blocks)

    assert "All reach the same loss" in remarks(later)
    assert "OTHER LOSSES: PyTorch" in remarks(found + wrong)


def test_the_answer_is_about_the_first_sizes_and_flax():
    found = one(ours=[1], PyTorch=[3], **{EPOCH: [2]})
    found += [replace(row, job=replace(row.job, axis="large"), seconds=9.0) for row in found]
    answer = report.sentence(found, "one", (EPOCH,))
    assert "question" in answer and f"{EPOCH} takes 2 [2, 2] ×" in answer and "PyTorch" not in answer


def test_the_fastest_package_is_neither_ours_nor_flax_s():
    assert report.fastest(one(ours=[1], PyTorch=[4], Keras=[3], **{EPOCH: [2]})) == "Keras"
    assert report.fastest(one(ours=[1], **{EPOCH: [2]})) == EPOCH
