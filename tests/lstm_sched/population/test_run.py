"""Laws 4 and 5: a row of a population is its single run; one compilation serves all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import small

from lstm_sched import monitor, rules
from lstm_sched.evaluation import evaluate
from lstm_sched.loop import run
from lstm_sched.members import Carrying, align_redraw, start
from lstm_sched.population import (
    Layout,
    choose_layout,
    losses,
    members_at_once,
    memory,
    memory_needed,
    shard,
    stack,
    take,
    to_host,
    train,
)
from lstm_sched.population import run as population_run
from lstm_sched.presets import POLICIES, REDRAWN

EPOCHS = 5
DATA = small.data(10)
run_jit = jax.jit(run, static_argnames=("learner", "epochs"))
MAPPED = [Layout(1, True), Layout(2, True)]


def everything(learner):
    """Members that differ in policy, rule, seed and rate."""
    return small.of_every_policy(learner, DATA, EPOCHS)


def drawing(members):
    """Those whose policy is known for it draw fresh weights anew; for the others no draw is compiled."""
    drawn = [m._replace(origin=m.origin._replace(redraw=np.bool_(True))) for m in members]
    return [own if name in REDRAWN else m for name, m, own in zip(POLICIES, members, drawn, strict=True)]


def last(chunks):
    return list(chunks)[-1][0]


@pytest.mark.parametrize("batch", [4, 10], ids=["ragged", "one step an epoch"])
@pytest.mark.parametrize("lay", MAPPED, ids=str)
def test_a_mapped_row_is_its_single_run_bitwise(lay, batch):
    learner = small.learner(batch=batch)
    members = drawing(everything(learner))
    progress_M = last(train(learner, lay, stack(align_redraw(members)), DATA, EPOCHS))
    for i, member in enumerate(members):
        single, _ = run_jit(learner, member, DATA, start(learner, member.origin), EPOCHS)
        assert small.bits(take(progress_M, i)) == small.bits(single)


def test_a_vmapped_row_is_its_single_run_to_tolerance():
    learner = small.learner()
    members = everything(learner)
    progress_M = last(train(learner, Layout(2, False), stack(members), DATA, EPOCHS))
    for i, member in enumerate(members):
        single, _ = run_jit(learner, member, DATA, start(learner, member.origin), EPOCHS)
        for got, want in zip(
            jax.tree.leaves(take(progress_M, i).state.params),
            jax.tree.leaves(single.state.params),
            strict=True,
        ):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_one_compilation_serves_all_policies_rates_seeds_and_rules(caplog):
    learner = small.learner(batch=5)
    members = everything(learner)
    with jax.log_compiles():
        for chosen in (members, members[::-1]):
            last(train(learner, Layout(2, True), stack(chosen), DATA, EPOCHS, chunk=2))
    compiled = [m for m in caplog.messages if m.startswith("Finished XLA compilation of jit(run_all)")]
    assert len(compiled) == 1


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
    members = align_redraw(drawing(using_everything(learner)))
    with jax.log_compiles():
        for chosen in (members[::-1], members):
            progress_M, log_M = list(train(learner, Layout(2, True), stack(chosen), FULL, EPOCHS))[-1]
        singles = [run_jit(learner, m, FULL, start(learner, m.origin), EPOCHS) for m in members]
    for name in ("advance", "run"):
        compiled = [m for m in caplog.messages if m.startswith(f"Finished XLA compilation of jit({name})")]
        assert len(compiled) == 1, name
    for i, (single, log) in enumerate(singles):
        assert small.bits(take(progress_M, i)) == small.bits(single)
        assert small.bits(take(log_M, i)) == small.bits(log)
    assert {tuple(log.trained.tolist()) for _, log in singles} > {(True,) * EPOCHS}


@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 50])
def test_the_chunk_changes_no_bit_of_progress_or_log(chunk):
    learner = small.learner()
    members = stack(everything(learner))
    whole = list(train(learner, Layout(2, True), members, DATA, EPOCHS))
    parts = list(train(learner, Layout(2, True), members, DATA, EPOCHS, chunk=chunk))
    assert len(parts) == -(-EPOCHS // min(chunk, 10))
    assert small.bits(parts[-1][0]) == small.bits(whole[-1][0])
    joined = jax.tree.map(lambda *x: np.concatenate(x, axis=1), *[log for _, log in parts])
    assert small.bits(joined) == small.bits(whole[0][1])


def test_a_population_continued_from_the_host_is_the_uninterrupted_one():
    learner = small.learner()
    members = stack(everything(learner))
    whole = last(train(learner, Layout(2, True), members, DATA, EPOCHS))
    first, _ = next(train(learner, Layout(2, True), members, DATA, EPOCHS, chunk=2))
    for lay in MAPPED:
        assert small.bits(last(train(learner, lay, members, DATA, EPOCHS, progress_M=first))) == small.bits(
            whole
        )


def pieces(lay, at_once, learner, chunk=2):
    """What a population of everything yields, so many members at a time."""
    members = stack(everything(learner))
    return list(train(learner, lay._replace(at_once=at_once), members, DATA, EPOCHS, chunk=chunk))


@pytest.mark.parametrize("at_once", [1, 5, 8])
def test_members_mapped_in_turns_are_the_population_bitwise_in_every_chunk_of_epochs(at_once):
    learner = small.learner()
    whole, turns = (pieces(Layout(2, True), n, learner) for n in (None, at_once))
    assert len(everything(learner)) % 5
    assert len(turns) == len(whole) == 3
    for (progress_M, log_M), (want_M, log) in zip(turns, whole, strict=True):
        assert small.bits(progress_M) == small.bits(want_M)
        assert small.bits(log_M) == small.bits(log)
    [(last_M, _)] = train(
        learner, Layout(1, True, 3), stack(everything(learner)), DATA, EPOCHS, turns[1][0], chunk=50
    )
    assert small.bits(last_M) == small.bits(whole[-1][0])


def test_members_vmapped_in_turns_are_the_population_to_tolerance():
    learner = small.learner()
    whole, turns = (pieces(Layout(2, False), n, learner) for n in (None, 6))
    for got, want in zip(
        jax.tree.leaves((turns[-1][0].state.params, turns[-1][1].loss)),
        jax.tree.leaves((whole[-1][0].state.params, whole[-1][1].loss)),
        strict=True,
    ):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_members_in_turns_are_one_program(caplog):
    with jax.log_compiles():
        pieces(Layout(2, True), 4, small.learner(batch=6))
    compiled = [m for m in caplog.messages if m.startswith("Finished XLA compilation of jit(run_all)")]
    assert len(compiled) == 1


def test_as_many_are_trained_at_a_time_as_the_memory_holds(monkeypatch):
    learner = small.learner()
    members = stack(everything(learner))
    size = members.hp.rates_S.shape[0]
    asked = learner, Layout(2, False), members, DATA
    needs = memory_needed(*asked)
    for room, fits in ((1e12, size), (needs.fixed + 3.5 * needs.per_member, 6), (0, 2)):
        monkeypatch.setattr(memory, "free_bytes", lambda room=room: room / 0.9)
        assert members_at_once(*asked) == fits
    assert members_at_once(learner, Layout(2, False, 5), members, DATA) == 5
    assert members_at_once(learner, Layout(2, False, size + 1), members, DATA) == size


@pytest.mark.parametrize("mapped", [True, False])
def test_the_memory_of_a_population_is_foreseen_from_a_smaller_one(mapped):
    learner = small.learner()
    members = everything(learner)[:2] * 16
    few, many = (memory_needed(learner, Layout(1, mapped), stack(members[:n]), DATA) for n in (8, 32))
    foreseen, taken = (needs.fixed + 32 * needs.per_member for needs in (few, many))
    assert taken <= foreseen <= 1.5 * taken
    of_data = sum(leaf.nbytes for leaf in jax.tree.leaves(DATA))
    of_member = sum(leaf.nbytes for leaf in jax.tree.leaves(stack(members))) / len(members)
    assert many.fixed >= of_data
    assert many.per_member > of_member


def test_what_was_yielded_is_not_reused():
    learner = small.learner()
    seen = [
        (p, small.bits(p))
        for p, _ in train(learner, Layout(2, True), stack(everything(learner)), DATA, EPOCHS, chunk=1)
    ]
    assert all(small.bits(progress) == before for progress, before in seen)


def test_a_diverging_member_leaves_the_others_alone():
    learner = small.learner("keras_sgd")
    members = everything(learner)[:4]
    bad = members[1]._replace(hp=members[1].hp._replace(rates_S=members[1].hp.rates_S * 0 + 1e6))
    good = last(train(learner, Layout(2, True), stack(members), DATA, EPOCHS))
    mixed = last(train(learner, Layout(2, True), stack([members[0], bad, *members[2:]]), DATA, EPOCHS))
    assert not np.isfinite(take(mixed, 1).log.loss)
    for i in (0, 2, 3):
        assert small.bits(take(mixed, i)) == small.bits(take(good, i))


@pytest.mark.parametrize("lay", [*MAPPED, Layout(2, False), Layout(2, True, 2), Layout(1, False, 3)], ids=str)
def test_losses_are_each_members_evaluation(lay):
    learner = small.learner()
    params = [learner.init(jax.random.key(s)) for s in range(5)]
    got = losses(learner, lay, stack(params), DATA.test)
    np.testing.assert_allclose(got.mean(1), [evaluate(learner, p, DATA.test) for p in params], rtol=1e-6)


def test_as_many_are_evaluated_at_a_time_as_the_memory_holds(monkeypatch):
    learner, lay, sizes = small.learner(), Layout(2, False), []
    params = stack([learner.init(jax.random.key(s)) for s in range(7)])
    whole = losses(learner, lay, params, DATA.test)

    def noted(tree_M, layout, at_least=1):
        sizes.append(at_least)
        return shard(tree_M, layout, at_least)

    monkeypatch.setattr(population_run, "shard", noted)
    monkeypatch.setattr(memory, "free_bytes", lambda: 0)  # one member a device
    np.testing.assert_allclose(losses(learner, lay, params, DATA.test), whole, rtol=1e-6)
    assert sizes == [1, *[2] * 4], "all of them to look what they take, then two at a time"


def test_padding_repeats_the_last_member():
    padded = shard({"a": jnp.arange(5)}, Layout(2, True))
    assert to_host(padded)["a"].tolist() == [0, 1, 2, 3, 4, 4]


@pytest.mark.parametrize("devices", [0, 3])
def test_more_devices_than_there_are_is_refused(devices):
    with pytest.raises(ValueError, match=f"devices: {devices}; allowed: 1 to 2"):
        choose_layout(devices)


def test_a_short_table_is_refused_before_any_compilation():
    learner = small.learner()
    members = stack(everything(learner))
    with pytest.raises(ValueError, match="rates_S: 15 steps; allowed: 18 or more"):
        next(train(learner, choose_layout(), members, DATA, EPOCHS + 1))


def test_a_rate_rule_shorter_than_the_run_is_refused_before_any_compilation():
    learner = small.learner(watched=True)
    rules_of = [monitor.watch(n, monitor.compounding([0.5] * n)) for n in (EPOCHS, EPOCHS)]
    members = [small.a_member(learner, DATA, EPOCHS + 1, watching=rule) for rule in rules_of]
    with pytest.raises(ValueError, match=r"hp\.watch\.rate: a table of 5 epochs; allowed: 6 or more"):
        next(train(learner, choose_layout(), stack(members), DATA, EPOCHS + 1))
    assert len(list(train(learner, choose_layout(), stack(members), DATA, EPOCHS))) == 1


def test_at_least_one_member_is_trained_at_a_time():
    with pytest.raises(ValueError, match="at_once: 0; allowed: 1 or more members"):
        choose_layout(1, at_once=0)


def test_a_chunk_is_at_least_one_epoch():
    learner = small.learner()
    with pytest.raises(ValueError, match="chunk: 0"):
        next(train(learner, choose_layout(), stack(everything(learner)), DATA, EPOCHS, chunk=0))
