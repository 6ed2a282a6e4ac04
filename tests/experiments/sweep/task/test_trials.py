"""Cells as members of a population and as rows of a table."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import tasks

from experiments.harness import arms as ar
from experiments.harness import source
from experiments.harness.setting import build
from experiments.sweep.task import trials
from lstm_sched import population


@pytest.fixture(scope="module")
def built():
    return build(tasks.SMALL, source.open_source(tasks.SMALL, "sines").split)


def test_cells_are_the_members_that_the_main_job_makes_of_the_same_arms(built):
    several = tasks.cells(lrs=(1e-3,), seeds=(8, 9))
    config = dataclasses.replace(tasks.SMALL, seeds=2, lr=1e-3)
    arms, _ = ar.parse(("one_fit", "drop_moments"), config, built)
    mine, why = trials.members(several, config, built)
    assert why == [""] * 4
    theirs = ar.members(arms, config, built)
    one, other = (population.to_host(population.stack(members)) for members in (mine, theirs))
    assert jax.tree.structure(one) == jax.tree.structure(other)
    assert all(map(np.array_equal, map(plain, jax.tree.leaves(one)), map(plain, jax.tree.leaves(other))))


def plain(leaf):
    """Numbers, also of keys."""
    return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def test_members_that_draw_weights_anew_and_members_that_do_not_are_one_population(built):
    several = tasks.cells(lrs=(1e-3,), policies=("one_fit", "skorch_fit"))
    plain, _ = trials.members(several[:1], tasks.SMALL, built)
    both, _ = trials.members(several, tasks.SMALL, built)
    assert plain[0].origin.redraw == ()
    assert population.stack(both).origin.redraw.tolist() == [False, True]


def test_members_come_in_the_order_of_their_cells(built):
    several = tasks.cells(lrs=(1e-3, 1e-2), seeds=(8, 9))[::-1]
    members, _ = trials.members(several, tasks.SMALL, built)
    assert [float(m.hp.rates_S[0]) for m in members] == [np.float32(cell["lr"]) for cell in several]


def test_a_cell_that_cannot_be_run_says_why_and_the_others_are_made(built):
    good = tasks.cells()[0]
    odd = [{**good, "every": 5}, {**good, "patience": 3}]
    several = [*tasks.cells(lrs=(1e-3, -1.0), policies=("one_fit", "forget")), *odd]
    members, why = trials.members(several, tasks.SMALL, built)
    assert len(members) == 1
    words = (
        "",
        "arms: unknown 'forget'",
        "lr: -1.0",
        "lr: -1.0",
        "every: 5; allowed: a divisor",
        "cells: fields",
    )
    assert [text[: len(start)] for text, start in zip(why, words, strict=True)] == list(words)
    assert why[0] == ""


def test_a_row_holds_the_number_and_all_that_results_may_depend_on():
    cell = tasks.cells(first=17)[1]
    row = trials.columns(cell, dataclasses.replace(tasks.SMALL, lr=5.0, features=("a", "b")))
    assert (row["number"], row["lr"], row["policy"]) == (17 + 1, 1e-3, "drop_moments")
    assert (row["data"], row["split"], row["features"], row["hidden"]) == ("sines", "0.7 0.85", "a b", 2)
    fields = {f.name for f in dataclasses.fields(tasks.SMALL)}
    assert set(row) == (fields | {"number", "policy", "seed"}) - set(trials.APART)
