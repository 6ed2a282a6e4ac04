"""Losses of classes and densities against their formulas, and a classifier, a density and other networks trained."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from helpers.small import SOON, bits
from scipy import special, stats

import lstm_sched as ls
from lstm_sched.nn.losses import sample_losses

RNG = np.random.default_rng(0)


def test_crossentropy_is_the_log_of_the_softmax_of_the_class():
    logit_BO, class_B = RNG.normal(size=(7, 4)), RNG.integers(0, 4, 7)
    want_B = -special.log_softmax(logit_BO, axis=1)[np.arange(7), class_B]
    got_B = sample_losses("crossentropy", jnp.asarray(logit_BO, float), jnp.asarray(class_B[:, None], float))
    np.testing.assert_allclose(got_B, want_B, rtol=1e-5)


def test_gaussian_is_the_density_of_scipy_averaged_over_targets():
    mean_BK, log_variance_BK, y_BK = RNG.normal(size=(3, 6, 2))
    want_B = -stats.norm.logpdf(y_BK, mean_BK, np.exp(log_variance_BK / 2)).mean(axis=1)
    output_BO = jnp.asarray(np.concatenate([mean_BK, log_variance_BK], axis=1), float)
    np.testing.assert_allclose(
        sample_losses("gaussian", output_BO, jnp.asarray(y_BK, float)), want_B, rtol=1e-5
    )


@pytest.mark.parametrize(
    ("kind", "outputs", "columns", "allowed"),
    [("mse", 2, 1, r"\(5, 2\)"), ("crossentropy", 3, 3, r"\(5, 1\)"), ("gaussian", 3, 1, r"\(5, 1\) for gaussian of 3"),
     ("gaussian", 4, 1, r"\(5, 2\)")],
)  # fmt: skip
def test_targets_that_do_not_fit_the_outputs_are_refused(kind, outputs, columns, allowed):
    with pytest.raises(ValueError, match=rf"y_BO: shape \(5, {columns}\); allowed: {allowed}"):
        sample_losses(kind, jnp.zeros((5, outputs)), jnp.zeros((5, columns)))


run = jax.jit(ls.run, static_argnames=("learner", "epochs"), compiler_options=SOON)
evaluate = jax.jit(ls.evaluate, static_argnames="learner", compiler_options=SOON)
X_NTF = RNG.normal(size=(200, 5, 1))


def trained(learner, y_NO, policy="one_fit", epochs=30, rate=0.02):
    """Losses on the training part before and after; the weights after."""
    data = ls.samples(X_NTF, y_NO).data
    rates_S = ls.tabulate(rate, epochs * ls.steps_per_epoch(learner, data.train.size))
    origin = ls.make_origin(learner, 0)
    when = ls.every(1, epochs)
    member = ls.member(learner, ls.Hyper(rates_S), ls.POLICIES[policy], when, origin)
    progress, _ = run(learner, member, data, ls.start(learner, origin), epochs)
    params = progress.state.params
    return *(float(evaluate(learner, weights, data.train)) for weights in (origin.params, params)), params


def test_an_lstm_learns_classes():
    class_N1 = (X_NTF[:, -1] > 0).astype(float)
    learner = ls.lstm(ls.keras_adam, hidden=8, outputs=2, loss="crossentropy")
    before, after, _ = trained(learner, class_N1)
    assert before > 0.5
    assert after < 0.15


def test_an_lstm_learns_a_density():
    y_N1 = 2 * X_NTF[:, -1] + 0.5 * RNG.normal(size=(200, 1))
    learner = ls.lstm(ls.keras_adam, hidden=8, outputs=2, loss="gaussian")
    before, after, _ = trained(learner, y_N1 - y_N1.mean(), epochs=60)
    best = math.log(0.5 * math.sqrt(2 * math.pi * math.e))  # of the true density
    assert before > best + 1
    assert after < best + 0.3


class Convolution(nn.Module):
    @nn.compact
    def __call__(self, x_BTF, *, training):
        h_BTH = nn.relu(nn.Conv(8, (3,))(x_BTF))
        h_BTH = nn.Dropout(0.1, deterministic=not training)(h_BTH)
        return nn.Dense(1)(h_BTH.reshape((len(h_BTH), -1)))


def test_a_users_own_flax_network_with_dropout_goes_through_the_same_loops():
    """Every law of a run concerns it too: a loop that drops nothing is one fit, bit for bit."""
    model = Convolution()

    def loss(params, carry, x_BTF, y_BO, key):
        rngs = {} if key is None else {"dropout": key}
        output_BO: Any = model.apply(params, x_BTF, training=key is not None, rngs=rngs)
        return ls.sample_losses("mse", output_BO, y_BO), carry

    learner = ls.Learner(
        init=lambda key: model.init(key, jnp.zeros((1, 5, 1)), training=False),
        loss=loss,
        optimizer=ls.keras_adam,
        dropout=True,
    )
    y_N1 = X_NTF.sum(axis=1)
    before, after, params = trained(learner, y_N1)
    assert after < before / 10
    _, _, looped = trained(learner, y_N1, "keras_loop")
    assert bits(looped) == bits(params)
