"""Laws 4 and 5: a row of a population is its single run; one compilation serves all.

One population, of small.learner() and every policy, serves all tests but the first.
"""

import functools

import jax
import numpy as np
import pytest
from helpers import small

from lstm_sched import monitor, rules
from lstm_sched.evaluation import evaluate
from lstm_sched.loop import run
from lstm_sched.members import Carrying, align_redraw, start
from lstm_sched.population import Layout, losses, members_at_once, memory, memory_needed, stack, take, train
from lstm_sched.population import run as population_run
from lstm_sched.population.layout import padded_size
from lstm_sched.presets import POLICIES, REDRAWN

EPOCHS = 5
DATA = small.data(10)
LEARNER = small.learner()
run_jit = jax.jit(run, static_argnames=("learner", "epochs"))


def drawing(members):
    """Members whose policy is known for it draw fresh weights at a boundary; for the others no draw is compiled."""
    redraw = [m._replace(origin=m.origin._replace(redraw=np.bool_(True))) for m in members]
    redrawn = [r if name in REDRAWN else m for name, m, r in zip(POLICIES, members, redraw, strict=True)]
    return align_redraw(redrawn)


@functools.cache
def members_of(learner=LEARNER):
    """Members that differ in policy, rule, seed and rate."""
    return drawing(small.of_every_policy(learner, DATA, EPOCHS))


@functools.cache
def singles(learner=LEARNER):
    return [run_jit(learner, m, DATA, start(learner, m.origin), EPOCHS)[0] for m in members_of(learner)]


def trained(layout, progress_M=None, chunk=EPOCHS):
    return list(train(LEARNER, layout, stack(members_of()), DATA, EPOCHS, progress_M, chunk))


@pytest.fixture(scope="module")
def whole():
    """Progress and log of the population in one chunk."""
    [chunk] = trained(Layout(2, True))
    return chunk


def compilations(caplog, name):
    return sum(m.startswith(f"Finished XLA compilation of jit({name})") for m in caplog.messages)


FULL = small.data(12, val=4)
RULES = [
    monitor.watch(EPOCHS),
    monitor.watch(EPOCHS, stopping=monitor.stopping(1, min_delta=10.0, restore=True)),
    monitor.watch(EPOCHS, monitor.compounding([0.5] * EPOCHS), plateau=monitor.plateau(0, 0.1)),
    monitor.watch(
        EPOCHS, monitor.absolute([1.0, 0.5, 2.0, 1.0, 0.0]), monitor.stopping(0), validation_freq=2
    ),
]


def using_everything(learner):
    """Members that differ in all that they may, every component of the state in use."""
    whens = [rules.never(EPOCHS), rules.every(1, EPOCHS), rules.at_epochs([3], EPOCHS)]
    ends = [rules.ends(1, EPOCHS), rules.never(EPOCHS)]
    return [
        small.a_member(
            learner,
            FULL,
            EPOCHS,
            seed=i,
            rate=0.003 * (i + 1),
            policy=policy,
            when=whens[i % 3],
            ends=ends[i % 2],
            watching=RULES[i % 4],
            average=0.1 * (i % 9),
            carry=Carrying(reset=i % 5 == 0, through=i % 3 == 0),
        )
        for i, policy in enumerate(POLICIES.values())
    ]


def test_one_compilation_serves_every_component_and_each_mapped_row_is_its_single_run_bitwise(caplog):
    learner = small.everything()
    members = drawing(using_everything(learner))
    with jax.log_compiles():
        list(train(learner, Layout(2, True), stack(members[::-1]), FULL, EPOCHS, chunk=2))
        [(progress_M, log_M)] = train(learner, Layout(2, True), stack(members), FULL, EPOCHS)
        single_runs = [run_jit(learner, m, FULL, start(learner, m.origin), EPOCHS) for m in members]
    assert compilations(caplog, "run_all") == compilations(caplog, "run") == 1
    for i, (progress, log) in enumerate(single_runs):
        assert small.bits(take(progress_M, i)) == small.bits(progress)
        assert small.bits(take(log_M, i)) == small.bits(log)
    assert {tuple(log.trained.tolist()) for _, log in single_runs} > {(True,) * EPOCHS}


def test_a_mapped_row_is_its_single_run_bitwise(whole):
    for i, single in enumerate(singles()):
        assert small.bits(take(whole[0], i)) == small.bits(single)


def test_a_mapped_row_is_its_single_run_bitwise_with_one_step_per_epoch():
    learner = small.learner(batch=10)
    [(progress_M, _)] = train(learner, Layout(1, True), stack(members_of(learner)), DATA, EPOCHS)
    for i, single in enumerate(singles(learner)):
        assert small.bits(take(progress_M, i)) == small.bits(single)


def test_a_vmapped_row_is_its_single_run_to_tolerance_in_turns_too():
    progress_M = trained(Layout(2, False, at_once=16), chunk=2)[-1][0]
    assert len(members_of()) % 16, "the last turn is shorter"
    for i, single in enumerate(singles()):
        row = take(progress_M, i).state.params
        for leaf, want in zip(jax.tree.leaves(row), jax.tree.leaves(single.state.params), strict=True):
            np.testing.assert_allclose(leaf, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 50])
def test_the_chunk_changes_no_bit_of_progress_or_log_and_no_chunk_changes_afterwards(chunk, whole):
    parts = [(progress, log, small.bits(progress)) for progress, log in trained(Layout(2, True), chunk=chunk)]
    assert len(parts) == -(-EPOCHS // min(chunk, 10))
    assert small.bits(parts[-1][0]) == small.bits(whole[0])
    log_M = jax.tree.map(lambda *logs: np.concatenate(logs, axis=1), *[log for _, log, _ in parts])
    assert small.bits(log_M) == small.bits(whole[1])
    assert all(small.bits(progress) == when_yielded for progress, _, when_yielded in parts)


@pytest.mark.parametrize("layout", [Layout(2, True), Layout(1, True, at_once=3)], ids=str)
def test_a_population_continued_from_the_host_is_the_uninterrupted_one(layout, whole):
    first_M, _ = trained(Layout(2, True), chunk=2)[0]
    assert small.bits(trained(layout, first_M, chunk=50)[-1][0]) == small.bits(whole[0])


def test_members_mapped_in_turns_are_the_population_bitwise_in_every_chunk_and_one_program(caplog):
    with jax.log_compiles():
        turns = trained(Layout(2, True, at_once=15), chunk=2)
    assert compilations(caplog, "run_all") == 1
    assert len(members_of()) % 15, "the last turn is shorter"
    at_once = trained(Layout(2, True), chunk=2)
    assert len(turns) == len(at_once) == 3
    for (progress_M, log_M), (want_M, want_log_M) in zip(turns, at_once, strict=True):
        assert small.bits(progress_M) == small.bits(want_M)
        assert small.bits(log_M) == small.bits(want_log_M)


def test_as_many_are_trained_at_a_time_as_the_memory_holds(monkeypatch):
    members = stack(members_of())
    size = len(members_of())
    needs = memory_needed(LEARNER, Layout(2, False), members, DATA)
    for free, fits in ((1e12, size), (needs.fixed + 3.5 * needs.per_member, 6), (0, 2)):
        monkeypatch.setattr(memory, "free_bytes", lambda free=free: free / (1 - memory.SPARE))
        assert members_at_once(LEARNER, Layout(2, False), members, DATA) == fits
    for at_once, fits in ((5, 5), (size + 1, size)):
        assert members_at_once(LEARNER, Layout(2, False, at_once), members, DATA) == fits


@pytest.mark.parametrize("mapped", [True, False])
def test_the_memory_of_a_population_is_foreseen_from_a_smaller_one(mapped):
    members, layout = (
        members_of(),
        Layout(2, mapped),
    )  # and shapes of the tests above, whose programs are kept
    few = memory_needed(LEARNER, layout, stack(members[:16]), DATA)
    many = memory_needed(LEARNER, layout, stack(members), DATA)
    of_device = padded_size(len(members), layout) // 2
    foreseen, taken = (needs.fixed + of_device * needs.per_member for needs in (few, many))
    assert taken <= foreseen <= 1.5 * taken
    assert many.fixed >= memory.bytes_of(DATA)
    assert many.per_member > memory.bytes_of(stack(members)) / len(members)


def test_a_diverging_member_leaves_the_others_alone(whole):
    members = [*members_of()]
    hp = members[1].hp
    members[1] = members[1]._replace(hp=hp._replace(rates_S=0 * hp.rates_S + 1e30))
    [(progress_M, _)] = train(LEARNER, Layout(2, True), stack(members), DATA, EPOCHS)
    assert not np.isfinite(take(progress_M, 1).log.loss)
    for i in {*range(len(members))} - {1}:
        assert small.bits(take(progress_M, i)) == small.bits(take(whole[0], i))


@pytest.mark.parametrize(
    "layout",
    [Layout(1, True), Layout(2, True), Layout(2, False), Layout(2, True, 2), Layout(1, False, 3)],
    ids=str,
)
def test_losses_are_each_members_evaluation(layout):
    params = [m.origin.params for m in members_of()[:5]]
    loss_MN = losses(LEARNER, layout, stack(params), DATA.test)
    np.testing.assert_allclose(loss_MN.mean(1), [evaluate(LEARNER, p, DATA.test) for p in params], rtol=1e-6)


def test_as_many_are_evaluated_at_a_time_as_the_memory_holds(monkeypatch):
    params_M = stack([m.origin.params for m in members_of()[:7]])
    whole, sizes, shard = losses(LEARNER, Layout(2, False), params_M, DATA.test), [], population_run.shard

    def noted(tree_M, layout, at_least=1):
        sizes.append(at_least)
        return shard(tree_M, layout, at_least)

    monkeypatch.setattr(population_run, "shard", noted)
    monkeypatch.setattr(memory, "free_bytes", lambda: 0)  # one member per device
    np.testing.assert_allclose(losses(LEARNER, Layout(2, False), params_M, DATA.test), whole, rtol=1e-6)
    assert sizes == [1, *[2] * 4], "all of them to look what they take, then two at a time"


@pytest.mark.parametrize(
    ("epochs", "chunk", "message"),
    [(EPOCHS + 1, 1, "rates_S: 15 steps; allowed: 18 or more"), (EPOCHS, 0, "chunk: 0; allowed: 1 or more")],
)
def test_a_short_table_and_an_empty_chunk_are_refused(epochs, chunk, message):
    with pytest.raises(ValueError, match=message):
        next(train(LEARNER, Layout(2, True), stack(members_of()), DATA, epochs, chunk=chunk))


def test_a_rate_rule_shorter_than_the_run_is_refused():
    learner = small.learner(watched=True)
    watching = monitor.watch(EPOCHS, monitor.compounding([0.5] * EPOCHS))
    members = stack([small.a_member(learner, DATA, EPOCHS + 1, watching=watching)] * 2)
    with pytest.raises(ValueError, match=r"hp\.watch\.rate: a table of 5 epochs; allowed: 6 or more"):
        next(train(learner, Layout(2, True), members, DATA, EPOCHS + 1))


def test_members_of_unequal_clocks_are_refused(whole):
    progress_M = whole[0]._replace(clock=np.arange(len(members_of())))
    with pytest.raises(ValueError, match=r"progress_M: clocks \[0, 1, .*\]; allowed: one clock"):
        trained(Layout(2, True), progress_M)
