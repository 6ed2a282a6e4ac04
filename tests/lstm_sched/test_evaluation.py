"""The loss of given weights, in batches of any size, weighted, and with a state carried from batch to batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import small

from lstm_sched.data.windows import Samples, as_samples, lanes
from lstm_sched.evaluation import evaluate, losses, losses_and_carry
from lstm_sched.nn import lstm as lstm_layers
from lstm_sched.nn import network
from lstm_sched.nn.network import lstm
from lstm_sched.optimizers import keras_adam
from lstm_sched.orders import SEQUENTIAL


@pytest.mark.parametrize("batch", [1, 3, 11, 64])
def test_evaluation_is_the_mean_over_samples_whatever_the_batch(batch):
    learner, part = small.learner(batch=batch), small.data(11).train
    params = learner.init(jax.random.key(1))
    want = float(jnp.mean(learner.loss(params, (), *part.take(np.arange(11)), None)[0]))
    assert float(evaluate(learner, params, part)) == pytest.approx(want, rel=1e-6)


def test_a_weighted_evaluation_is_the_sum_of_weight_times_loss_over_the_number_of_samples():
    learner, part = small.learner(batch=4), small.data(10).train
    assert isinstance(part, Samples)
    params = learner.init(jax.random.key(1))
    weight_N = np.random.default_rng(0).uniform(0, 3, 10)
    x_NTF, y_NO = map(np.asarray, part.take(np.arange(10)))
    weighted = as_samples(x_NTF, y_NO, weight_N)
    want = np.sum(weight_N * np.asarray(losses(learner, params, part))) / 10
    assert float(evaluate(learner, params, weighted)) == pytest.approx(want, rel=1e-6)


LANES, WINDOW = 3, 4
ROWS = np.random.default_rng(2).normal(size=(LANES * WINDOW * 5 + 1, 2))
STATEFUL = lstm(keras_adam, features=2, hidden=3, layers=2, batch=LANES, order=SEQUENTIAL, stateful=True)
losses_jit = jax.jit(losses_and_carry, static_argnames="learner", compiler_options=small.SOON)


def weights():
    rng = np.random.default_rng(3)
    shapes = jax.eval_shape(STATEFUL.init, jax.random.key(0))
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), float), shapes)


def test_a_state_carried_over_windows_sees_each_lane_as_one_long_sequence(x64):
    params, part = weights(), lanes(ROWS, LANES, WINDOW, 1)
    x_LRF = jnp.asarray(ROWS[:-1].reshape(LANES, -1, 2))
    _, h_LRH = lstm_layers.lstm_layer(params["lstm_0"], x_LRF)
    _, h_LRH = lstm_layers.lstm_layer(params["lstm_1"], h_LRH)
    kernel, bias = (np.asarray(params["head"][name]) for name in ("kernel", "bias"))
    prediction_LR = np.asarray(h_LRH) @ kernel[:, 0] + bias
    want_LR = (prediction_LR - ROWS[1:, 0].reshape(LANES, -1)) ** 2
    loss_N, _ = losses_jit(STATEFUL, params, part, network.zero_carry(params, LANES))
    want_SL = want_LR[:, WINDOW - 1 :: WINDOW].T
    np.testing.assert_allclose(np.asarray(loss_N).reshape(-1, LANES), want_SL, rtol=1e-10)


def test_losses_go_on_from_a_state_and_leave_the_next_one_behind(x64):
    params, whole = weights(), lanes(ROWS, LANES, WINDOW, 1)
    parts = np.s_[: 2 * LANES], np.s_[2 * LANES :]
    first, then = (Samples(whole.x_NTF[part], whole.y_NO[part]) for part in parts)
    want_N, end = losses_jit(STATEFUL, params, whole, network.zero_carry(params, LANES))
    first_N, between = losses_jit(STATEFUL, params, first, network.zero_carry(params, LANES))
    then_N, after = losses_jit(STATEFUL, params, then, between)
    np.testing.assert_allclose(np.concatenate([first_N, then_N]), want_N, rtol=1e-12)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), after, end)


@pytest.mark.parametrize("size", [2, 4])
def test_a_part_that_leaves_a_lane_empty_is_refused(size):
    part = as_samples(np.zeros((size, WINDOW, 2)), np.zeros((size, 1)))
    with pytest.raises(ValueError, match=f"batch: 3; allowed where a state is carried: a divisor of {size}"):
        losses(STATEFUL, weights(), part)
