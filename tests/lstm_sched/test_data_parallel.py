"""A training whose batches are divided over devices is the training on one, to rounding."""

import dataclasses
from functools import partial

import jax
import numpy as np
import pytest
from helpers import small

from experiments.harness.outcome import METRICS
from experiments.refit import run as refit
from lstm_sched import monitor, rules
from lstm_sched.data_parallel import divide
from lstm_sched.loop import run
from lstm_sched.members import start
from lstm_sched.optimizers import OPTIMIZERS
from lstm_sched.population import choose_layout, stack, take, train
from lstm_sched.presets import DROP_MOMENTS, KERAS_RECOMPILE

EPOCHS = 5
DATA = small.data(10)
TWO = choose_layout(2, divided=True)
run_jit = jax.jit(run, static_argnames=("learner", "epochs"), compiler_options=small.SOON)


def ends(learner, members, data=DATA, chunk=EPOCHS, lay=TWO):
    """The last progress of a divided population, and its whole log."""
    parts = list(train(learner, lay, stack(members), data, EPOCHS, chunk=chunk))
    return parts[-1][0], jax.tree.map(lambda *logs: np.concatenate(logs, axis=1), *(log for _, log in parts))


def agree(learner, members, data=DATA, tolerance=1e-11):
    """Asserts that each divided member is its single run on one device."""
    progress_M, log_M = ends(learner, members, data)
    close = partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance)
    for i, member in enumerate(members):
        single, log = run_jit(learner, member, data, start(learner, member.origin), EPOCHS)
        got = take(progress_M, i)
        jax.tree.map(close, got.state.params, single.state.params)
        jax.tree.map(close, got.selected.params, single.selected.params)
        jax.tree.map(close, take(log_M, i), log)


@pytest.mark.parametrize("batch", [4, 10], ids=["ragged", "one step an epoch"])
def test_every_policy_is_as_on_one_device(batch, x64):
    learner, data = small.learner(batch=batch), small.data(10)
    agree(learner, small.of_every_policy(learner, data, EPOCHS), data)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_is_as_on_one_device(optimizer, x64):
    learner, data = small.learner(optimizer), small.data(10)
    one = partial(small.a_member, learner, data, EPOCHS)
    agree(learner, [one(), one(policy=KERAS_RECOMPILE, when=rules.every(2, EPOCHS))], data)


def test_all_that_a_learner_may_have_beside_dropout_and_a_carried_state_is_as_on_one_device(x64):
    learner = small.learner(batch=2, steps=4, accumulate=3, averaged=True, watched=True, noise=True)
    data = small.data(12, val=4)
    watching = monitor.watch(EPOCHS, plateau=monitor.plateau(0, 0.5))
    one = partial(
        small.a_member, learner, data, EPOCHS, when=rules.at_epochs([3], EPOCHS), ends=rules.ends(4, EPOCHS)
    )
    agree(learner, [one(watching=watching), one(seed=1, policy=KERAS_RECOMPILE, watching=watching)], data)


def test_boundaries_within_an_epoch_fall_where_they_do_on_one_device(x64):
    learner, data = small.learner("keras_momentum"), small.data(10)
    member = small.a_member(
        learner, data, EPOCHS, rate=0.3, policy=DROP_MOMENTS, within=rules.against_momentum()
    )
    agree(learner, [member], data)


def test_devices_have_masks_of_their_own_and_a_training_is_repeatable():
    learner = small.learner(dropout=True)
    member = small.a_member(learner, DATA, EPOCHS)
    first, again = (ends(learner, [member])[0] for _ in range(2))
    assert small.bits(first) == small.bits(again)
    single, _ = run_jit(learner, member, DATA, start(learner, member.origin), EPOCHS)
    assert small.bits(take(first, 0).state.noise) == small.bits(single.state.noise)
    assert small.bits(take(first, 0).state.params) != small.bits(single.state.params)


@pytest.mark.parametrize("chunk", [1, 2, 50])
def test_the_chunk_changes_no_bit(chunk):
    learner = small.learner(dropout=True)
    members = small.of_every_policy(learner, DATA, EPOCHS)[:3]
    whole, parts = ends(learner, members), ends(learner, members, chunk=chunk)
    assert small.bits(parts) == small.bits(whole)


def test_members_in_turns_are_the_population_bitwise():
    learner = small.learner()
    members = small.of_every_policy(learner, DATA, EPOCHS)[:3]
    assert small.bits(ends(learner, members, lay=TWO._replace(at_once=2))) == small.bits(
        ends(learner, members)
    )


@pytest.mark.parametrize(
    ("learner", "said"),
    [
        (small.learner(batch=5), "batch: 5; allowed where it is divided: a multiple of 2, the devices"),
        (small.learner(stateful=True), "a state is carried from batch to batch; allowed where none is"),
    ],
)
def test_what_cannot_be_divided_is_refused_before_any_compilation(learner, said):
    with pytest.raises(ValueError, match=said):
        divide(learner, 2)
    data = small.data(12, val=4)
    with pytest.raises(ValueError, match=said):
        next(train(learner, TWO, stack([small.a_member(learner, data, EPOCHS)]), data, EPOCHS))


def test_batches_are_divided_among_devices_that_map_their_members():
    with pytest.raises(ValueError, match="mapped: False; allowed where batches are divided: True"):
        choose_layout(2, mapped=False, divided=True)


def test_a_divided_comparison_is_the_mapped_one_and_what_drops_nothing_is_identical(tmp_path, capsys):
    arms = ("one_fit", "keras_loop", "keras_recompile")
    config = refit.Config(data=("ar",), window=4, hidden=4, batch=256, epochs=3, seeds=2, lr=0.01, arms=arms)
    (mapped,), (divided,) = (
        refit.main(dataclasses.replace(config, layout=layout, out=str(tmp_path / layout)))
        for layout in ("map", "divide")
    )
    for metric in METRICS:
        np.testing.assert_allclose(divided.loss[metric], mapped.loss[metric], rtol=1e-4)
    assert divided.differing["keras_loop"] == 0
    assert divided.differing["keras_recompile"] > 0
    assert "each batch divided" in capsys.readouterr().out


def test_a_batch_that_cores_cannot_share_is_refused(tmp_path):
    config = refit.Config(data=("ar",), layout="divide", batch=33, devices=2, out=str(tmp_path / "out"))
    with pytest.raises(ValueError, match="batch: 33; allowed where it is divided: a multiple of 2"):
        refit.main(config)
    assert not (tmp_path / "out").exists()
