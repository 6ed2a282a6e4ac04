"""The pictures of the raw material: what they mark, and that no text of the data is in them."""

import dataclasses
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from experiments.harness import arms as ar
from experiments.harness import curves, outcome
from lstm_sched.data.series import NAMES, Series, load
from lstm_sched.data.splits import split
from lstm_sched.presets import CONTINUE

ARMS = [ar.Arm(name=name, policy=CONTINUE, seeds=3) for name in ("one_fit", "drop_m@2", "aa")]


def words(svg):
    """Texts, which are drawn as shapes and named in comments; fails where it is no XML."""
    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    nodes = ElementTree.fromstring(svg, parser).iter()
    return [(node.text or "").strip() for node in nodes if node.tag is ElementTree.Comment]


def series(columns=("a",), segment_R=None, times_R=None, rows=60):
    steps = np.arange(rows)
    times_R = np.datetime64("2020-01", "M") + steps if times_R is None else times_R
    segment_R = np.zeros(rows, int) if segment_R is None else segment_R
    return Series(
        name="x",
        columns=columns,
        target=columns[0],
        values_RF=np.sin(steps)[:, None],
        segment_R=segment_R,
        date_R=steps,
        times_R=times_R,
    )


def timeline(of):
    return curves.timeline(of, split(of, 3).extents)


def results(val):
    """Of ARMS, three seeds each, with these validation losses."""
    labels = ar.labels(ARMS)
    lost = ~np.isfinite(val[:, -1])
    fields: dict[str, Any] = dict.fromkeys(field.name for field in dataclasses.fields(outcome.Results))
    fields |= {"labels": labels, "curves": {"val": val}, "diverged_M": lost}
    return outcome.Results(**fields)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "adding"])
def test_every_series_is_drawn_with_its_parts_in_a_small_file(name):
    svg = timeline(load(name))
    assert {"train", "val", "test", "target, in its own unit"} <= set(words(svg))
    assert len(svg) < 400_000


def test_a_million_rows_in_pieces_make_no_larger_file():
    rows = 1_000_000
    svg = timeline(series(segment_R=np.arange(rows) // 100, times_R=np.arange(rows), rows=rows))
    assert len(svg) < 400_000
    assert "time or row number" in words(svg)


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "$\\frac$", "日本", '"quote" & $x_1$'])
def test_no_name_from_the_data_is_drawn(name):
    assert timeline(series((name,))) == timeline(series(("a",)))


def test_gaps_are_marked_and_a_new_group_is_none():
    pieces = np.repeat([0, 1], 30)
    in_two = np.concatenate([np.arange(30)] * 2)
    assert "gap" not in words(timeline(series()))
    assert "gap" in words(timeline(series(segment_R=pieces)))
    assert "gap" not in words(timeline(series(segment_R=pieces, times_R=in_two)))


def test_the_line_is_broken_at_a_gap_and_lone_rows_are_dots():
    def lines(svg):
        return svg.count("stroke: #0072b2"), svg.count("M ")

    whole, broken = timeline(series()), timeline(series(segment_R=np.repeat([0, 1, 2], [30, 1, 29])))
    assert lines(broken)[1] > lines(whole)[1]
    assert lines(broken)[0] > lines(whole)[0]


@pytest.mark.parametrize("first", ["0001-01-01", "9999-10-01"])
def test_dates_reach_as_far_as_years_have_four_digits(first):
    assert "time" in words(timeline(series(times_R=np.datetime64(first) + np.arange(60))))


def test_each_arm_has_a_panel_that_counts_seeds_and_divergence():
    val = np.linspace(1, 0.1, 20)[None] * np.linspace(1, 2, 9)[:, None]
    val[3, 10:] = np.nan
    val[4, 10:] = 1e30
    val[4, -1] = np.inf
    drawn = words(curves.seeds(ARMS, results(val), 100))
    assert [text for text in drawn if "seeds" in text] == [
        "one_fit, 3 seeds",
        "drop_m@2, 3 seeds, 2 diverged",
        "aa, 3 seeds",
    ]
    assert "epoch" in drawn


@pytest.mark.parametrize("val", [np.full((9, 4), np.nan), np.ones((9, 1)), np.zeros((9, 2))])
def test_curves_that_never_were_finite_or_have_one_epoch_are_drawn(val):
    assert "aa, 3 seeds" in " ".join(words(curves.seeds(ARMS, results(val), 100)))


def test_pictures_are_the_same_bytes_each_time():
    val = np.random.default_rng(0).uniform(0.1, 1, (9, 5))
    assert curves.seeds(ARMS, results(val), 100) == curves.seeds(ARMS, results(val), 100)
    assert timeline(load("co2")) == timeline(load("co2"))


def test_many_trainings_make_no_larger_file():
    arms = [ar.Arm(name="one_fit", policy=CONTINUE, seeds=200)]
    val = np.random.default_rng(0).uniform(0.1, 1, (200, 1000))
    of = dataclasses.replace(results(val), labels=ar.labels(arms))
    assert len(curves.seeds(arms, of, 100)) < 400_000
