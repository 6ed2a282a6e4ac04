"""Law 1, and what one epoch and one run are; that training is a plain loop is the subject of test_plain_loop.py."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import small
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lstm_sched import monitor, rules
from lstm_sched.batches import Batch
from lstm_sched.loop import epoch, run, step
from lstm_sched.members import Carrying, start
from lstm_sched.optimizers import OPTIMIZERS
from lstm_sched.presets import CONTINUE, KERAS_LOOP, KERAS_RECOMPILE, POLICIES, SCRATCH
from lstm_sched.schedules import tabulate

EPOCHS = 6
run_jit = jax.jit(run, static_argnames=("learner", "epochs"))
run_soon = jax.jit(run, static_argnames=("learner", "epochs"), compiler_options=small.SOON)
DATA = small.data(10)


def finish(learner, member, data=DATA, epochs=EPOCHS, compiled=run_jit):
    return compiled(learner, member, data, start(learner, member.origin), epochs)


def close(got, want, tolerance):
    jax.tree.map(partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance), got, want)


def test_the_functions_are_usable_one_at_a_time():
    learner = small.learner()
    member = small.a_member(learner, DATA)
    whole, log = finish(learner, member)
    state, losses = start(learner, member.origin).state, []
    one_epoch = jax.jit(partial(epoch, learner))
    for _ in range(EPOCHS):
        state, one = one_epoch(member.hp, DATA, state)
        losses.append(float(one.loss))
    close(state.params, whole.state.params, 1e-6)
    np.testing.assert_allclose(losses, log.loss, rtol=1e-6)
    _, index = learner.order.draw(start(learner, member.origin).state.order, DATA.train.size)
    batch = Batch(index[:4], jnp.ones(4, float))
    after, loss = jax.jit(partial(step, learner))(member.hp, DATA, start(learner, member.origin).state, batch)
    assert int(after.step) == 1
    assert np.isfinite(loss)


# ---- law 1: nothing dropped, nothing different


EDGE = ("keras_adam", "adamw", "momentum", "keras_sgd")


@pytest.mark.parametrize(
    ("optimizer", "batch"),
    [*((name, 4) for name in OPTIMIZERS), *((name, 10) for name in EDGE)],  # 10: one step an epoch
)
def test_continue_under_every_partition_into_fits_is_one_run_bitwise(optimizer, batch):
    learner = small.learner(optimizer, batch=batch, dropout=True)
    whole = finish(learner, small.a_member(learner, DATA), compiled=run_soon)
    for n in range(1, EPOCHS):
        member = small.a_member(learner, DATA, when=rules.every(n, EPOCHS))
        progress, log = finish(learner, member, compiled=run_soon)
        assert small.bits(progress._replace(log=())) == small.bits(whole[0]._replace(log=()))
        assert small.bits(log.val) == small.bits(whole[1].val)
        assert int(log.boundary.sum()) == len(range(n, EPOCHS, n))


@pytest.mark.parametrize("batch", [4, 10], ids=["ragged", "one step an epoch"])
@pytest.mark.parametrize("policy", ["one_fit", "keras_recompile", "scratch"])
@given(sizes=st.lists(st.integers(1, EPOCHS), min_size=1, max_size=EPOCHS))
@settings(deadline=None, max_examples=25)
def test_any_split_into_chunks_is_one_run_bitwise(policy, batch, sizes):
    learner = small.learner(batch=batch, dropout=True)
    member = small.a_member(learner, DATA, policy=POLICIES[policy], when=rules.every(2, EPOCHS))
    whole, log = finish(learner, member)
    progress, vals = start(learner, member.origin), []
    for n in [*sizes, EPOCHS]:
        before = int(progress.clock)
        end = min(before + n, EPOCHS)
        progress, part = run_jit(learner, member, DATA, progress, EPOCHS, end)
        vals.append(part.val[: end - before])
    assert small.bits(progress) == small.bits(whole)
    assert np.concatenate(vals).tobytes() == np.asarray(log.val).tobytes()


@pytest.mark.parametrize("batch", [4, 10], ids=["ragged", "one step an epoch"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_shorter_compiled_runs_are_one_run_bitwise(n, batch):
    learner = small.learner(batch=batch)
    member = small.a_member(learner, DATA)
    whole, _ = finish(learner, member)
    progress = start(learner, member.origin)
    for _ in range(EPOCHS // n):
        progress, log = run_jit(learner, member, DATA, progress, n)
        assert log.val.shape == (n,)
    assert small.bits(progress) == small.bits(whole)


def test_a_loop_that_resets_only_what_nothing_reads_has_the_same_weights():
    learner = small.learner()
    whole, log = finish(learner, small.a_member(learner, DATA))
    member = small.a_member(learner, DATA, policy=KERAS_LOOP, when=rules.every(1, EPOCHS))
    looped, looped_log = finish(learner, member)
    assert int(looped.state.epoch) == 1
    assert small.bits(looped.state._replace(epoch=())) == small.bits(whole.state._replace(epoch=()))
    assert small.bits(looped.selected) == small.bits(whole.selected)
    assert small.bits(looped_log.val) == small.bits(log.val)


def test_scratch_every_epoch_repeats_the_first_epoch_for_ever():
    learner = small.learner(dropout=True)
    member = small.a_member(learner, DATA, policy=SCRATCH, when=rules.every(1, EPOCHS))
    _, log = finish(learner, member)
    assert len(set(np.asarray(log.val).tolist())) == 1


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
    return st.builds(
        monitor.watch,
        st.just(EPOCHS),
        st.one_of(factors.map(monitor.compounding), factors.map(monitor.absolute)),
        st.one_of(st.none(), stopping),
        plateau,
        st.integers(1, 2),
    )


STOPS = monitor.watch(
    EPOCHS,
    stopping=monitor.stopping(patience=2, min_delta=10.0, restore=True),
    plateau=monitor.plateau(patience=1, min_delta=10.0),
)


@pytest.mark.parametrize("steps", [2, 4], ids=["epochs divide the pass", "a pass ends within an epoch"])
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

    def made(when):
        return small.a_member(
            learner, FULL, EPOCHS, seed, when=when, ends=ends, watching=watching, carry=carry
        )

    whole = in_chunks(learner, made(rules.never(EPOCHS)), [EPOCHS])
    parted = in_chunks(learner, made(rules.at_epochs(fits, EPOCHS)), [*sizes, EPOCHS])
    (progress, log), (want, want_log) = parted, whole
    assert log.boundary.tolist() == [e in fits for e in range(EPOCHS)]
    assert small.bits(log._replace(boundary=())) == small.bits(want_log._replace(boundary=()))
    assert small.bits(progress._replace(log=())) == small.bits(want._replace(log=()))


def in_chunks(learner, member, sizes, data=FULL):
    """The run's end and its whole log, in chunks of at most these sizes."""
    progress, logs = start(learner, member.origin), []
    for n in sizes:
        before = int(progress.clock)
        end = min(before + n, EPOCHS)
        progress, log = run_jit(learner, member, data, progress, EPOCHS, end)
        logs.append(jax.tree.map(lambda leaf, n=end - before: np.asarray(leaf)[:n], log))
    return progress, jax.tree.map(lambda *parts: np.concatenate(parts), *logs)


@pytest.mark.parametrize("steps", [1, 4])
def test_shorter_compiled_runs_are_one_run_bitwise_with_every_component_in_use(steps):
    learner = small.everything(steps)
    member = small.a_member(learner, FULL, watching=STOPS, ends=rules.ends(1, EPOCHS))
    whole, log = in_chunks(learner, member, [EPOCHS])
    progress = start(learner, member.origin)
    for e in range(EPOCHS):
        progress, _ = run_jit(learner, member, FULL, progress, 1, e + 1)
    assert small.bits(progress) == small.bits(whole)
    assert log.trained.tolist() == [True] * 3 + [False] * 3
    assert small.bits(whole.state.params) == small.bits(whole.state.best) != small.bits(whole.state.average)


# ---- what is reported


def test_selected_holds_the_weights_of_the_lowest_validation_loss():
    learner = small.learner("sgd")
    member = small.a_member(learner, DATA, rate=0.3, epochs=12)
    progress, log = finish(learner, member, epochs=12)
    best = int(np.argmin(log.val))
    assert 0 < best < 11, "the rate is chosen so that the best epoch lies inside the run"
    at_best, _ = run_jit(learner, member, DATA, start(learner, member.origin), 12, best + 1)
    assert int(progress.selected.epoch) == best + 1
    assert float(progress.selected.val) == float(log.val[best])
    assert small.bits(progress.selected.params) == small.bits(at_best.state.params)


def test_divergence_is_a_result():
    learner = small.learner("keras_sgd")
    member = small.a_member(learner, DATA, rate=1e30)
    progress, log = finish(learner, member)
    assert not np.isfinite(log.loss[-1])
    assert int(progress.clock) == EPOCHS
    assert np.isfinite(jax.tree.leaves(progress.selected.params)[0]).all()


def test_a_rate_rule_shorter_than_the_run_is_refused():
    learner = small.learner(watched=True)
    member = small.a_member(learner, DATA, epochs=3, watching=monitor.watch(2))
    with pytest.raises(ValueError, match=r"hp\.watch\.rate: a table of 2 epochs; allowed: 3 or more"):
        finish(learner, member, epochs=3)


def test_a_table_shorter_than_the_run_is_refused_or_never_read():
    learner = small.learner()
    member = small.a_member(learner, DATA, epochs=2)
    with pytest.raises(ValueError, match=r"rates_S: 6 steps; allowed: 9 or more"):
        finish(learner, member, epochs=3)
    progress, log = run_jit(learner, member, DATA, start(learner, member.origin), 3, 3)
    assert np.isnan(log.loss[2]) or np.isnan(log.val[2])
    assert int(progress.clock) == 3


# ---- composing


def test_a_run_is_differentiable_in_its_rates(x64):
    learner, data = small.learner("adam"), small.data(10)
    member = small.a_member(learner, data, policy=KERAS_RECOMPILE, when=rules.every(2, EPOCHS))

    def final(rates_S):
        m = member._replace(hp=member.hp._replace(rates_S=rates_S))
        return run(learner, m, data, start(learner, m.origin), EPOCHS)[1].val[-1]

    rates_S = member.hp.rates_S
    slope = jax.jit(jax.grad(final))(rates_S)
    for s in (0, 7, 17):
        eps = jnp.zeros_like(rates_S).at[s].set(1e-6)
        numeric = (final(rates_S + eps) - final(rates_S - eps)) / 2e-6
        assert float(slope[s]) == pytest.approx(float(numeric), rel=1e-5, abs=1e-9)


def test_runs_vmap_over_members():
    learner = small.learner()
    members = [small.a_member(learner, DATA, seed=s) for s in range(3)]
    stacked = jax.tree.map(lambda *x: jnp.stack([jnp.asarray(v) for v in x]), *members)
    progress, _ = jax.vmap(lambda m: run(learner, m, DATA, start(learner, m.origin), EPOCHS))(stacked)
    for i, m in enumerate(members):
        single, _ = finish(learner, m)
        close(jax.tree.map(lambda x, i=i: x[i], progress.state.params), single.state.params, 1e-5)


def test_a_rule_may_read_the_log_and_the_state():
    learner = small.learner()

    def plateau(threshold, progress):
        return progress.log.val > threshold

    member = small.a_member(
        learner, DATA, policy=CONTINUE, when=rules.custom_rule(plateau, jnp.asarray(-1.0))
    )
    _, log = finish(learner, member)
    assert log.boundary.tolist() == [False] + [True] * (EPOCHS - 1)


def test_the_rate_of_each_epoch_is_logged():
    learner = small.learner()
    member = small.a_member(learner, DATA)
    rates_S = tabulate(optax.exponential_decay(0.1, 1, 0.9), 18)
    member = member._replace(hp=member.hp._replace(rates_S=rates_S))
    _, log = finish(learner, member)
    np.testing.assert_array_equal(log.rate, rates_S[2::3])
