"""Orders of the data, sizes of an epoch, and what no learner can be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import small
from jax.flatten_util import ravel_pytree

from lstm_sched import orders
from lstm_sched.learner import steps_per_epoch
from lstm_sched.nn import network
from lstm_sched.nn.lstm import LAYERS
from lstm_sched.optimizers import keras_adam

# ---- orders

KEY, ROWS = jax.random.key(3), np.arange(10)


def drawn(order, key, passes, size=10):
    """The permutations of the stream's first passes."""
    stream, rows = order.begin(key), []
    for _ in range(passes):
        stream, index_N = order.draw(stream, size)
        rows.append(np.asarray(index_N))
    return np.array(rows)


def test_given_orders_are_followed():
    index_EN = np.random.default_rng(0).permuted(np.tile(ROWS, (3, 1)), axis=1)
    passes = drawn(orders.given(jnp.asarray(index_EN)), KEY, 4)
    np.testing.assert_array_equal(passes, index_EN[[0, 1, 2, 0]])


def test_shuffled_draws_again_fixed_repeats_its_first_and_sequential_is_row_order():
    shuffled, fixed, rows = (
        drawn(order, KEY, 3) for order in (orders.SHUFFLED, orders.FIXED, orders.SEQUENTIAL)
    )
    assert len({tuple(row) for row in shuffled}) == 3
    np.testing.assert_array_equal(np.sort(shuffled), rows)
    np.testing.assert_array_equal(fixed, shuffled[[0, 0, 0]])
    np.testing.assert_array_equal(rows, np.tile(ROWS, (3, 1)))
    assert jax.tree.leaves(orders.SEQUENTIAL.begin(KEY)) == []


def test_a_composed_order_shuffles_the_permutation_before_it():
    order, index_N = orders.composed(10), ROWS
    assert orders.composed(10) is order
    for row, shuffle in zip(drawn(order, KEY, 3), drawn(orders.SHUFFLED, KEY, 3), strict=True):
        index_N = index_N[shuffle]
        np.testing.assert_array_equal(row, index_N)
    with pytest.raises(ValueError, match="composed: an order of 10 samples; allowed: 9"):
        order.draw(order.begin(KEY), 9)


def test_with_replacement_every_sample_is_as_likely_at_every_place():
    def draw(stream, _):
        return orders.REPLACED.draw(stream, 10)

    rows = np.asarray(jax.lax.scan(draw, orders.REPLACED.begin(KEY), length=3000)[1])
    assert (np.sort(rows) != ROWS).any(axis=1).mean() > 0.99
    counts = np.stack([np.bincount(place, minlength=10) for place in rows.T])
    assert counts.sum(axis=1).tolist() == [3000] * 10
    assert abs(counts - 300).max() < 5 * np.sqrt(300)


# ---- sizes


@pytest.mark.parametrize(
    ("batch", "drop_last", "steps", "want"),
    [(4, False, None, 3), (4, True, None, 2), (5, False, None, 2), (4, False, 2, 2), (4, False, 9, 3)],
)
def test_an_epoch_has_its_steps_or_those_of_a_pass(batch, drop_last, steps, want):
    assert steps_per_epoch(small.learner(batch=batch, drop_last=drop_last, steps=steps), 10) == want


@pytest.mark.parametrize("batch", [0, 11])
@pytest.mark.parametrize("stateful", [False, True])
def test_a_batch_is_not_larger_than_the_data(batch, stateful):
    with pytest.raises(ValueError, match=f"batch: {batch}; allowed"):
        steps_per_epoch(small.learner(batch=batch, stateful=stateful), 10)


@pytest.mark.parametrize("drop_last", [False, True])
def test_a_batch_of_lanes_divides_the_data(drop_last):
    learner = small.learner(batch=4, drop_last=drop_last, stateful=True)
    assert steps_per_epoch(learner, 12) == 3
    with pytest.raises(ValueError, match="batch: 4; allowed where a state is carried: a divisor of 10"):
        steps_per_epoch(learner, 10)


# ---- the LSTM's


@pytest.mark.parametrize("name", ["steps", "accumulate"])
def test_an_epoch_and_an_update_take_at_least_one_batch(name):
    with pytest.raises(ValueError, match=f"{name}: 0; allowed: 1 and more"):
        network.lstm(keras_adam, **{name: 0})


@pytest.mark.parametrize("order", [orders.SHUFFLED, orders.FIXED])
def test_a_state_is_carried_only_in_row_order(order):
    with pytest.raises(ValueError, match=r"stateful: .* only in the order SEQUENTIAL"):
        network.lstm(keras_adam, stateful=True, order=order)
    assert network.lstm(keras_adam, stateful=True, order=orders.SEQUENTIAL).carry is network.zero_carry


def test_every_form_of_the_lstm_has_the_same_gradient():
    learners = {form: network.lstm(keras_adam, features=2, hidden=3, form=form) for form in LAYERS}
    params = learners["fused"].init(KEY)
    x_BTF, y_BO = jnp.ones((4, 5, 2)), jnp.zeros((4, 1))

    def gradient(learner):
        return ravel_pytree(jax.grad(lambda p: learner.loss(p, (), x_BTF, y_BO, None)[0].sum())(params))[0]

    want = gradient(learners["scan"])
    for form in ("fused", "recomputed"):
        np.testing.assert_allclose(gradient(learners[form]), want, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="cudnn_lstm: on cpu"):
        gradient(learners["cudnn"])
    with pytest.raises(ValueError, match="form: unknown 'fast'; allowed: fused, recomputed, scan, cudnn"):
        network.lstm(keras_adam, form="fast")


def test_the_same_arguments_are_the_same_learner():
    assert network.lstm(keras_adam, steps=2, watched=True) is network.lstm(keras_adam, steps=2, watched=True)
