"""A training whose batches are divided over devices is the training on one, to rounding."""

from functools import partial

import jax
import numpy as np
import pytest
from helpers import small
from jax.sharding import AxisType, PartitionSpec

from lstm_sched import monitor, rules
from lstm_sched.data_parallel import AXIS, divide
from lstm_sched.loop import run
from lstm_sched.members import start
from lstm_sched.population import choose_layout, stack, take, to_host, train
from lstm_sched.presets import DROP_MOMENTS, KERAS_RECOMPILE

EPOCHS = 5
DATA = small.data(10)
TWO = choose_layout(2, divided=True)


@partial(jax.jit, static_argnames="learner", compiler_options=small.SOON)
def on_two_devices(learner, member_M, data):
    """Progress and log of each member, its batches divided."""

    def of_member(member):
        return run(divide(learner, 2), member, data, start(learner, member.origin), EPOCHS)

    replicated, mesh = PartitionSpec(), jax.make_mesh((2,), (AXIS,), (AxisType.Auto,))
    return jax.shard_map(
        partial(jax.lax.map, of_member),
        mesh=mesh,
        in_specs=replicated,
        out_specs=replicated,
        check_vma=False,
    )(member_M)


def agree(learner, members, data, tolerance=1e-11):
    """Assert that each divided member is its single run on one device."""
    progress_M, log_M = to_host(on_two_devices(learner, stack(members), data))
    for i, member in enumerate(members):
        single, log = small.finish(learner, member, data, EPOCHS)
        progress = take(progress_M, i)
        numbers = progress.state.params, progress.selected.params, take(log_M, i)
        want = single.state.params, single.selected.params, log
        np.testing.assert_allclose(small.flat(numbers), small.flat(want), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    "learner",
    [small.of_every_optimizer(), small.learner(batch=10)],
    ids=["every optimizer, ragged", "one step per epoch"],
)
def test_every_policy_is_as_on_one_device(learner, x64):
    data = small.data(10)
    agree(learner, small.of_every_policy(learner, data, EPOCHS), data)


def test_all_that_a_learner_may_have_but_dropout_and_a_carried_state_is_as_on_one_device(x64):
    learner = small.learner(batch=2, steps=4, accumulate=3, averaged=True, watched=True, noise=True)
    data, when, fits = small.data(12, val=4), rules.at_epochs([3], EPOCHS), rules.ends(4, EPOCHS)
    watching = monitor.watch(EPOCHS, plateau=monitor.plateau(0, 0.5))
    member = partial(small.a_member, learner, data, EPOCHS, when=when, ends=fits, watching=watching)
    agree(learner, [member(), member(seed=1, policy=KERAS_RECOMPILE)], data)


def test_boundaries_within_an_epoch_fall_where_they_do_on_one_device(x64):
    learner, data = small.learner("keras_momentum"), small.data(10)
    within = rules.against_momentum()
    agree(learner, [small.a_member(learner, data, EPOCHS, 0, 0.3, DROP_MOMENTS, within=within)], data)


# ---- in a population

DROPOUT = small.learner(dropout=True)
MEMBERS = small.of_every_policy(DROPOUT, DATA, EPOCHS)[:3]


def ends(chunk=EPOCHS, layout=TWO):
    """The last progress of a divided population, and its whole log."""
    parts = list(train(DROPOUT, layout, stack(MEMBERS), DATA, EPOCHS, chunk=chunk))
    return parts[-1][0], jax.tree.map(lambda *logs: np.concatenate(logs, axis=1), *(log for _, log in parts))


@pytest.fixture(scope="module")
def divided():
    return ends()


def test_devices_have_masks_of_their_own_and_a_training_is_repeatable(divided):
    assert small.bits(ends()) == small.bits(divided)
    single, _ = small.finish(DROPOUT, MEMBERS[0], DATA, EPOCHS)
    state = take(divided[0], 0).state
    assert small.bits(state.noise) == small.bits(single.state.noise)
    assert small.bits(state.params) != small.bits(single.state.params)


@pytest.mark.parametrize("chunk", [1, 2, 50])
def test_the_chunk_changes_no_bit(chunk, divided):
    assert small.bits(ends(chunk=chunk)) == small.bits(divided)


def test_members_in_turns_are_the_population_bitwise(divided):
    assert small.bits(ends(layout=TWO._replace(at_once=2))) == small.bits(divided)


@pytest.mark.parametrize(
    ("learner", "message"),
    [
        (small.learner(batch=5), "batch: 5; allowed: a multiple of 2"),
        (small.learner(stateful=True), "divided: True; allowed: False, .*carried from batch to batch"),
    ],
)
def test_what_cannot_be_divided_is_refused_before_any_compilation(learner, message):
    with pytest.raises(ValueError, match=message):
        divide(learner, 2)
    data = small.data(12, val=4)
    with pytest.raises(ValueError, match=message):
        next(train(learner, TWO, stack([small.a_member(learner, data, EPOCHS)]), data, EPOCHS))


def test_batches_are_divided_among_devices_that_map_their_members():
    with pytest.raises(ValueError, match="mapped: False; allowed where batches are divided: True"):
        choose_layout(2, mapped=False, divided=True)
