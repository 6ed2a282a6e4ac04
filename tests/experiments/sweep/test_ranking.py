"""The ranking of configurations against numbers worked out by hand."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from experiments.sweep import ranking


def row(
    number, lr=1e-3, policy="drop_moments", seed=8, val=1.0, every=1, hidden=2, state="finished", **facts
):
    """A row of results.parquet, with the fields that matter here."""
    fields = {"number": number, "lr": lr, "policy": policy, "every": every, "seed": seed, "hidden": hidden}
    fields |= {"window": 4, "state": state, "why": "", "epochs_run": 12, "best_epoch": 3, "diverged": False}
    return fields | {"val_selected": val, "test_selected": 2 * val, "test_end": 3 * val} | facts


def grid(lrs, policies=("drop_moments",), seeds=(8, 9), loss=lambda lr, policy, seed: lr):
    places = [(lr, policy, seed) for lr in lrs for policy in policies for seed in seeds]
    return [row(i, lr=a, policy=p, seed=s, val=loss(a, p, s)) for i, (a, p, s) in enumerate(places)]


@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=8))
def test_the_mean_is_geometric_with_a_t_interval_of_logs(losses):
    [only] = ranking.rank([row(i, seed=i, val=loss) for i, loss in enumerate(losses)]).ranked
    logs = np.log(losses)
    half = stats.t.ppf(0.975, len(losses) - 1) * logs.std(ddof=1) / math.sqrt(len(losses))
    assert only.val.mean == pytest.approx(stats.gmean(losses))
    assert only.val.lo == pytest.approx(stats.gmean(losses) * math.exp(-half))
    assert only.val.hi == pytest.approx(stats.gmean(losses) * math.exp(half))
    assert only.test.mean == pytest.approx(2 * only.val.mean)
    assert only.test_end.mean == pytest.approx(3 * only.val.mean)


def test_one_seed_has_no_interval():
    [only] = ranking.rank([row(0, val=0.5)]).ranked
    assert only.val.mean == 0.5
    assert math.isnan(only.val.lo)


def test_seeds_are_one_configuration_and_every_field_tells_two_apart():
    ranks = ranking.rank([row(0), row(1, seed=9), row(2, hidden=4), row(3, lr=0.1), row(4, policy="scratch")])
    assert sorted(len(c.seeds) for c in ranks.ranked) == [1, 1, 1, 2]
    assert ranks.varied == ["policy", "lr", "hidden"]


def test_what_ran_to_the_end_comes_first_then_pruned_then_diverged_then_failed():
    rows = [
        row(0, lr=1, state="failed", epochs_run=0, why="no room")
        | dict.fromkeys(("val_selected", "test_selected", "test_end", "best_epoch", "diverged")),
        row(1, lr=2, val=math.inf, diverged=True),
        row(2, lr=3, val=0.1, state="pruned", epochs_run=2),
        row(3, lr=4, val=0.2, state="pruned", epochs_run=6),
        row(4, lr=5, val=0.9),
        row(5, lr=6, val=0.5),
    ]
    ranks = ranking.rank(rows)
    assert [c.fields["lr"] for c in ranks.ranked] == [6, 5, 4, 3, 2, 1]
    assert ranks.counts == Counter(finished=2, pruned=2, diverged=1, failed=1)
    assert ranks.ranked[-1].why == "no room"
    assert math.isnan(ranks.ranked[-1].val.mean)


def test_one_diverged_seed_puts_its_configuration_behind_all_that_did_not():
    rows = [row(0, lr=1, val=0.1), row(1, lr=1, seed=9, val=0.1, diverged=True), row(2, lr=2, val=5.0)]
    ranks = ranking.rank(rows)
    assert [c.fields["lr"] for c in ranks.ranked] == [2, 1]
    assert (ranks.ranked[1].state, ranks.ranked[1].diverged) == ("diverged", 1)


def test_one_fit_has_no_length_of_fits():
    rows = [row(0, policy="one_fit", every=12), row(1, every=1)]
    assert ranking.rank(rows).varied == ["policy"]
    ranks = ranking.rank([*rows, row(2, every=2, val=2.0)])
    assert ranks.varied == ["policy", "every"]
    assert [ranking.name(c, ranks.varied) for c in ranks.ranked] == [
        "one_fit",
        "drop_moments, every 1",
        "drop_moments, every 2",
    ]


def test_the_response_to_a_field_is_the_best_and_the_median_whatever_the_others_are():
    loss = {("a", 1): 0.3, ("a", 2): 0.5, ("b", 1): 0.4, ("b", 2): 0.2}
    ranks = ranking.rank(grid((1, 2), ("a", "b"), loss=lambda lr, policy, seed: loss[policy, lr]))
    responses = {r.label: (r.best.val.mean, r.median, r.size, r.lost) for r in ranking.response(ranks, "lr")}
    assert responses == {"1": pytest.approx((0.3, 0.35, 2, 0)), "2": pytest.approx((0.2, 0.35, 2, 0))}
    responses = {r.label: r.best.fields["lr"] for r in ranking.response(ranks, "policy")}
    assert responses == {"a": 1, "b": 2}


def test_what_diverged_is_counted_in_a_response_and_not_averaged():
    rows = [*grid((1.0, 2.0)), row(9, lr=1.0, policy="scratch", val=math.inf, diverged=True)]
    assert [(r.label, r.size, r.lost) for r in ranking.response(ranking.rank(rows), "lr")] == [
        ("1", 1, 1),
        ("2", 1, 0),
    ]


def test_many_numbers_are_put_into_bins_that_hold_all_of_them():
    ranks = ranking.rank(grid([i / 8 for i in range(1, 33)]))
    responses = ranking.response(ranks, "lr")
    assert [r.size for r in responses] == [7, 7, 6, 6, 6]
    assert (responses[0].lo, responses[-1].hi) == (1 / 8, 4)
    assert responses[0].label == "0.125 to 0.875"
    assert [r.best.fields["lr"] for r in responses] == [r.lo for r in responses]


@pytest.mark.parametrize(("best", "edge"), [(1, "lowest"), (2, ""), (3, "highest")])
def test_a_best_rate_at_the_edge_of_those_tried_says_so(best, edge):
    ranks = ranking.rank(grid((1, 2, 3), loss=lambda lr, policy, seed: 1 + abs(lr - best)))
    [responses] = ranking.best_rates(ranks)
    assert (responses.best.fields["lr"], responses.rates, responses.edge) == (best, (1, 2, 3), edge)


def test_each_policy_has_a_best_rate_of_its_own():
    best = {"one_fit": 3, "scratch": 2}
    ranks = ranking.rank(
        grid((1, 2, 3), best, loss=lambda lr, p, s: 1 + abs(lr - best[p]) + (p == "scratch"))
    )
    assert [(b.policy, b.best.fields["lr"], b.edge) for b in ranking.best_rates(ranks)] == [
        ("one_fit", 3, "highest"),
        ("scratch", 2, ""),
    ]


def test_without_rows_there_are_no_configurations():
    assert ranking.rank([]) == ranking.Ranking(ranked=[], varied=[], counts=Counter())
