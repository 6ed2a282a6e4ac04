"""Losses that differ, packages that are missing and times are reported from the right rows."""

from dataclasses import replace

import pytest
from helpers.packages import TINY

from experiments.harness.document import Figure, Lead, Table
from experiments.harness.peers import comparison
from experiments.harness.peers.jobs import Job, Measured, Row
from experiments.harness.peers.process import OURS
from experiments.harness.peers.timing import Spread

JOB = Job(part="one", axis="question", package=OURS, shape=TINY, epochs=3)
SAME = 1e-3


def row(package, repetition=1, seconds=1.0, losses=(0.5, 0.25)):
    return Row(
        job=replace(JOB, package=package), repetition=repetition, seconds=seconds, losses=tuple(losses)
    )


def disagreeing(rows):
    return comparison.disagreeing(rows, lambda row: row.job.part, SAME)


def test_the_first_is_left_out_and_ratios_are_taken_where_both_were_timed():
    rows = [row(OURS, r, s) for r, s in enumerate((9.0, 1.0, 10.0, 1.0))]
    rows += [row("PyTorch", r, s) for r, s in enumerate((9.0, 2.0, 20.0))]
    ours, torch = comparison.seconds_of(rows).values()
    assert (ours, torch) == ({1: 1.0, 2: 10.0, 3: 1.0}, {1: 2.0, 2: 20.0})
    assert comparison.ratio(torch, ours) == Spread(median=2, low=2, high=2)
    assert comparison.seconds_of([row(OURS, 0)]) == {}


@pytest.mark.parametrize("wrong", [0.2506, float("nan")])
def test_a_loss_that_is_not_ours_is_named_once(wrong):
    assert disagreeing([row(OURS), row("PyTorch", losses=(0.5004, 0.2501))]) == []
    [text] = disagreeing([row(OURS), *(row("PyTorch", r, losses=(0.5004, wrong)) for r in range(3))])
    for fact in ("PyTorch", "one: question", "member 1", f"{wrong:.6g}", "0.25"):
        assert fact in text


def test_where_ours_is_not_among_them_the_median_is_what_losses_must_be():
    rows = [row(name, losses=[loss]) for name, loss in {"a": 0.5, "b": 0.5, "c": 0.6}.items()]
    [text] = disagreeing(rows)
    assert text.startswith("c,")


def test_remarks_name_what_is_missing_and_whether_all_agree():
    both = Measured(rows=[row(OURS), row("PyTorch")], lost={"Keras": "no", "Flax": "never", "JAX": "no"})
    assert comparison.remarks(both, [], SAME)[:2] == ["Keras; JAX: no", "Flax: never"]
    assert "0.001" in comparison.remarks(both, [], SAME)[2]
    assert "a; b" in comparison.remarks(both, ["a", "b"], SAME)[2]
    alone = Measured(rows=[row(OURS)], lost={})
    assert comparison.remarks(alone, [], SAME) == [], "there is nothing to agree with"


def test_the_answer_comes_first_on_the_page_and_last_on_a_terminal():
    table = Table(title="Seconds", columns=("who",), rows=[("ours",)])
    figure = Figure(draw=lambda: None, shows="bars", name="figure")
    sections = comparison.sections("Who?", "Both.", ["a remark"], table, figure)
    page, terminal = ([s for s in sections if place in s.places] for place in ("page", "terminal"))
    assert page[0].title == "Who?" and page[0].blocks == [Lead(text="Both."), "a remark"]
    assert terminal[0].blocks == [table] and terminal[-1].blocks[-1] == Lead(text="Both.")
