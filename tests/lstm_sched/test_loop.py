"""Law 1, and what one epoch and one run are; that training is a plain loop is the subject of test_plain_loop.py."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import small
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lstm_sched import monitor, rules
from lstm_sched.batches import Batch
from lstm_sched.loop import epoch, step
from lstm_sched.members import Carrying, start
from lstm_sched.presets import KERAS_LOOP, KERAS_RECOMPILE, POLICIES, SCRATCH

EPOCHS = 6
DATA = small.data(10)
PLAIN, DROPOUT = small.learner(), small.learner(dropout=True)


def in_chunks(learner, member, sizes, data=DATA, compiled=small.run_soon):
    """The run's end and its whole log, in chunks of at most these sizes."""
    progress, logs = start(learner, member.origin), []
    for n in [*sizes, EPOCHS]:
        before = int(progress.clock)
        end = min(before + n, EPOCHS)
        progress, log = compiled(learner, member, data, progress, EPOCHS, end)
        logs.append(jax.tree.map(lambda leaf, n=end - before: np.asarray(leaf)[:n], log))
    return progress, jax.tree.map(lambda *parts: np.concatenate(parts), *logs)


def without_log(progress):
    return small.bits(progress._replace(log=()))


def test_the_functions_are_usable_one_at_a_time():
    member = small.a_member(PLAIN, DATA)
    whole, log = small.finish(PLAIN, member, DATA, EPOCHS)
    begun = state = start(PLAIN, member.origin).state
    losses = []
    one_epoch = jax.jit(partial(epoch, PLAIN), compiler_options=small.SOON)
    for _ in range(EPOCHS):
        state, log_of_epoch = one_epoch(member.hp, DATA, state)
        losses.append(float(log_of_epoch.loss))
    close = partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-6)
    jax.tree.map(close, state.params, whole.state.params)
    np.testing.assert_allclose(losses, log.loss, rtol=1e-6)
    _, index_N = PLAIN.order.draw(begun.order, DATA.train.size)
    batch = Batch(index_N[:4], jnp.ones(4, float))
    one_step = jax.jit(partial(step, PLAIN), compiler_options=small.SOON)
    after, loss = one_step(member.hp, DATA, begun, batch)
    assert int(after.step) == 1
    assert np.isfinite(loss)


# ---- law 1: nothing dropped, nothing different


@pytest.mark.parametrize("batch", [4, 10], ids=["ragged", "one step per epoch"])
def test_continue_under_every_partition_into_fits_is_one_run_bitwise_with_every_optimizer(batch):
    learner = small.of_every_optimizer(batch, dropout=True)
    whole, whole_log = small.finish(learner, small.a_member(learner, DATA), DATA, EPOCHS)
    for n in range(1, EPOCHS):
        member = small.a_member(learner, DATA, when=rules.every(n, EPOCHS))
        progress, log = small.finish(learner, member, DATA, EPOCHS)
        for name, params in whole.state.params.items():
            assert small.bits(progress.state.params[name]) == small.bits(params), name
        assert without_log(progress) == without_log(whole)
        assert small.bits(log.val) == small.bits(whole_log.val)
        assert int(log.boundary.sum()) == len(range(n, EPOCHS, n))


@pytest.mark.parametrize("batch", [4, 10], ids=["ragged", "one step per epoch"])
@pytest.mark.parametrize("policy", ["one_fit", "keras_recompile", "scratch"])
@given(sizes=st.lists(st.integers(1, EPOCHS), min_size=1, max_size=EPOCHS))
@settings(max_examples=25)
def test_any_split_into_chunks_is_one_run_bitwise(policy, batch, sizes):
    learner = small.learner(batch=batch, dropout=True)
    member = small.a_member(learner, DATA, policy=POLICIES[policy], when=rules.every(2, EPOCHS))
    whole = small.finish(learner, member, DATA, EPOCHS, compiled=small.run_jit)
    assert small.bits(in_chunks(learner, member, sizes, compiled=small.run_jit)) == small.bits(whole)


@pytest.mark.parametrize("batch", [4, 10], ids=["ragged", "one step per epoch"])
def test_shorter_compiled_runs_are_one_run_bitwise(batch):
    learner = small.learner(batch=batch, dropout=True)
    member = small.a_member(learner, DATA)
    whole, _ = small.finish(learner, member, DATA, EPOCHS, compiled=small.run_jit)
    for n in (1, 3):
        progress = start(learner, member.origin)
        for _ in range(EPOCHS // n):
            progress, log = small.run_jit(learner, member, DATA, progress, n)
            assert log.val.shape == (n,)
        assert small.bits(progress) == small.bits(whole)


def test_a_loop_that_resets_only_what_nothing_reads_has_the_same_weights():
    whole, log = small.finish(DROPOUT, small.a_member(DROPOUT, DATA), DATA, EPOCHS)
    member = small.a_member(DROPOUT, DATA, policy=KERAS_LOOP, when=rules.every(1, EPOCHS))
    looped, looped_log = small.finish(DROPOUT, member, DATA, EPOCHS)
    assert int(looped.state.epoch) == 1
    assert small.bits(looped.state._replace(epoch=())) == small.bits(whole.state._replace(epoch=()))
    assert small.bits(looped.selected) == small.bits(whole.selected)
    assert small.bits(looped_log.val) == small.bits(log.val)


def test_scratch_every_epoch_repeats_the_first_epoch_for_ever():
    member = small.a_member(DROPOUT, DATA, policy=SCRATCH, when=rules.every(1, EPOCHS))
    _, log = small.finish(DROPOUT, member, DATA, EPOCHS)
    assert len(set(log.val.tolist())) == 1


# ---- law 1 with every component in use

FULL = small.data(12, val=4)


def watches():
    """Rules that stop, lower the rate and multiply it, some before the run's end, some never."""
    stopping = st.builds(
        monitor.stopping,
        patience=st.integers(0, 3),
        min_delta=st.sampled_from([0.0, 10.0]),  # nothing is an improvement of 10
        start_from=st.integers(0, 2),
        restore=st.booleans(),
    )
    plateau = st.builds(
        monitor.plateau,
        patience=st.integers(0, 2),
        factor=st.sampled_from([0.1, 0.5]),
        min_delta=st.sampled_from([0.0, 10.0]),
        cooldown=st.integers(0, 1),
    )
    factors = st.lists(st.sampled_from([0.5, 1.0, 2.0]), min_size=EPOCHS, max_size=EPOCHS)
    rate = st.one_of(factors.map(monitor.compounding), factors.map(monitor.absolute))
    stopping_or_none = st.one_of(st.none(), stopping)
    return st.builds(monitor.watch, st.just(EPOCHS), rate, stopping_or_none, plateau, st.integers(1, 2))


STOPS = monitor.watch(
    EPOCHS,
    stopping=monitor.stopping(patience=2, min_delta=10.0, restore=True),
    plateau=monitor.plateau(patience=1, min_delta=10.0),
)


@pytest.mark.parametrize("steps", [1, 4], ids=["epochs divide the pass", "a pass ends within an epoch"])
@given(
    watching=watches(),
    fits=st.sets(st.integers(1, EPOCHS - 1)),
    sizes=st.lists(st.integers(1, EPOCHS), max_size=EPOCHS),
    ends=st.sampled_from([rules.never(EPOCHS), rules.ends(1, EPOCHS), rules.ends(4, EPOCHS)]),
    carry=st.builds(Carrying, reset=st.booleans(), through=st.booleans()),
    seed=st.integers(0, 3),
)
@settings(max_examples=20)
@example(STOPS, {1, 2, 3, 4, 5}, [1] * EPOCHS, rules.ends(4, EPOCHS), small.KERAS, 0)
def test_continue_is_one_run_bitwise_with_every_component_in_use(
    steps, watching, fits, sizes, ends, carry, seed
):
    learner = small.everything(steps)
    made = partial(small.a_member, learner, FULL, EPOCHS, seed, ends=ends, watching=watching, carry=carry)
    want, want_log = in_chunks(learner, made(), [], FULL, small.run_jit)
    parted = made(when=rules.at_epochs(fits, EPOCHS))
    progress, log = in_chunks(learner, parted, sizes, FULL, small.run_jit)
    assert log.boundary.tolist() == [e in fits for e in range(EPOCHS)]
    assert small.bits(log._replace(boundary=())) == small.bits(want_log._replace(boundary=()))
    assert without_log(progress) == without_log(want)


@pytest.mark.parametrize("steps", [1, 4])
def test_shorter_compiled_runs_are_one_run_bitwise_with_every_component_in_use(steps):
    learner = small.everything(steps)
    member = small.a_member(learner, FULL, watching=STOPS, ends=rules.ends(1, EPOCHS))
    whole, log = in_chunks(learner, member, [], FULL, small.run_jit)
    progress = start(learner, member.origin)
    for e in range(EPOCHS):
        progress, _ = small.run_jit(learner, member, FULL, progress, 1, e + 1)
    assert small.bits(progress) == small.bits(whole)
    assert log.trained.tolist() == [True] * 3 + [False] * 3
    assert small.bits(whole.state.params) == small.bits(whole.state.best) != small.bits(whole.state.average)


# ---- what is reported


def test_selected_holds_the_weights_of_the_lowest_validation_loss():
    learner = small.learner("sgd")
    member = small.a_member(learner, DATA, rate=0.3, epochs=12)
    progress, log = small.finish(learner, member, DATA, 12, 12)
    best = int(np.argmin(log.val))
    assert 0 < best < 11, "the rate is chosen so that the best epoch lies inside the run"
    at_best, _ = small.finish(learner, member, DATA, 12, best + 1)
    assert int(progress.selected.epoch) == best + 1
    assert float(progress.selected.val) == float(log.val[best])
    assert small.bits(progress.selected.params) == small.bits(at_best.state.params)


def test_divergence_is_a_result():
    progress, log = small.finish(PLAIN, small.a_member(PLAIN, DATA, rate=1e38), DATA, EPOCHS)
    assert not np.isfinite(log.loss[-1])
    assert int(progress.clock) == EPOCHS
    assert np.isfinite(jax.tree.leaves(progress.selected.params)[0]).all()


def test_tables_shorter_than_the_run_are_refused():
    with pytest.raises(ValueError, match=r"rates_S: 6 steps; allowed: 9 or more"):
        small.finish(PLAIN, small.a_member(PLAIN, DATA, epochs=2), DATA, 3)
    learner = small.learner(watched=True)
    member = small.a_member(learner, DATA, epochs=3, watching=monitor.watch(2))
    with pytest.raises(ValueError, match=r"hp\.watch\.rate: a table of 2 epochs; allowed: 3 or more"):
        small.finish(learner, member, DATA, 3)


def test_a_rate_beyond_its_table_is_not_a_number_where_the_end_is_traced():
    progress, log = in_chunks(PLAIN, small.a_member(PLAIN, DATA, epochs=2), [])
    assert np.isfinite(log.val[:2]).all()
    assert np.isnan(log.val[2:]).all()
    assert int(progress.clock) == EPOCHS


# ---- composing


def test_a_run_is_differentiable_in_its_rates(x64):
    learner, data = small.learner("adam"), small.data(10)
    member = small.a_member(learner, data, policy=KERAS_RECOMPILE, when=rules.every(2, EPOCHS))

    def final(rates_S):
        rated = member._replace(hp=member.hp._replace(rates_S=rates_S))
        return small.finish(learner, rated, data, EPOCHS, compiled=small.run)[1].val[-1]

    jit = partial(jax.jit, compiler_options=small.SOON)
    rates_S, final_jit = member.hp.rates_S, jit(final)
    slope = jit(jax.grad(final))(rates_S)
    for s in (0, 7, 17):
        eps = jnp.zeros_like(rates_S).at[s].set(1e-6)
        numeric = (final_jit(rates_S + eps) - final_jit(rates_S - eps)) / 2e-6
        assert float(slope[s]) == pytest.approx(float(numeric), rel=1e-5, abs=1e-9)


def test_a_rule_may_read_the_log_and_the_state():
    rule = rules.custom_rule(lambda threshold, progress: progress.log.val > threshold, jnp.asarray(-1.0))
    _, log = small.finish(PLAIN, small.a_member(PLAIN, DATA, when=rule), DATA, EPOCHS)
    assert log.boundary.tolist() == [False] + [True] * (EPOCHS - 1)
