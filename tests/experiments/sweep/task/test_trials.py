"""Trials as members of a population and as rows of a table."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import tasks

from experiments.harness import arms as ar
from experiments.harness import source
from experiments.harness.setting import build
from experiments.sweep.task import trials as tr
from lstm_sched import population


@pytest.fixture(scope="module")
def built():
    return build(tasks.SMALL, source.open_source(tasks.SMALL, "sines").split)


def plain(leaf):
    """Numbers, also of keys."""
    return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def test_trials_are_the_members_that_refit_makes_of_the_same_arms(built):
    setting = dataclasses.replace(tasks.SMALL, seeds=2, lr=1e-3)
    arms, _ = ar.parse(("one_fit", "drop_moments"), setting, built)
    members, reasons = tr.members(tasks.trials(lrs=(1e-3,), seeds=(8, 9)), setting, built)
    assert reasons == [""] * 4
    of_trials, of_arms = (
        population.to_host(population.stack(several))
        for several in (members, ar.members(arms, setting, built))
    )
    assert jax.tree.structure(of_trials) == jax.tree.structure(of_arms)
    leaves = zip(jax.tree.leaves(of_trials), jax.tree.leaves(of_arms), strict=True)
    assert all(np.array_equal(plain(a), plain(b)) for a, b in leaves)


def test_members_that_draw_fresh_weights_and_members_that_do_not_are_one_population(built):
    several = tasks.trials(lrs=(1e-3,), policies=("one_fit", "skorch_fit"))
    alone, _ = tr.members(several[:1], tasks.SMALL, built)
    both, _ = tr.members(several, tasks.SMALL, built)
    assert alone[0].origin.redraw == ()
    assert population.stack(both).origin.redraw.tolist() == [False, True]


def test_members_come_in_the_order_of_their_trials(built):
    several = tasks.trials(lrs=(1e-3, 1e-2), seeds=(8, 9))[::-1]
    members, _ = tr.members(several, tasks.SMALL, built)
    assert [float(m.hp.rates_S[0]) for m in members] == [np.float32(trial["lr"]) for trial in several]


def test_a_trial_that_cannot_be_run_says_why_and_the_others_are_made(built):
    several = tasks.trials(lrs=(1e-3, -1.0), policies=("one_fit", "forget"))
    several += [{**several[0], "every": 5}, {**several[0], "patience": 3}]
    members, reasons = tr.members(several, tasks.SMALL, built)
    starts = ["", "arms: unknown 'forget'", "lr: -1.0", "lr: -1.0", "every: 5; allowed", "trials: fields"]
    assert [reason[: len(start)] for reason, start in zip(reasons, starts, strict=True)] == starts
    assert (len(members), reasons[0]) == (1, "")


def test_a_row_holds_the_number_and_all_that_results_may_depend_on():
    trial = tasks.trials(first=17)[1]
    row = tr.columns(trial, dataclasses.replace(tasks.SMALL, lr=5.0, features=("a", "b")))
    assert (row["number"], row["lr"], row["policy"]) == (17 + 1, 1e-3, "drop_moments")
    assert (row["data"], row["split"], row["features"], row["hidden"]) == ("sines", "0.7 0.85", "a b", 2)
    fields = {f.name for f in dataclasses.fields(tasks.SMALL)}
    assert set(row) == (fields | {"number", "policy", "seed"}) - set(tr.NOT_IN_ROWS)
