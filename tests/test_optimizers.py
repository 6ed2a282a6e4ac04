"""Keras' forms against loops written from its formulas; law 7, Adam after a boundary in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lstm_sched.fractions import spread
from lstm_sched.optimizers import OPTIMIZERS, keras_adam, keras_sgd
from lstm_sched.policies import CONTINUE
from lstm_sched.state import Moments, TrainState, mix

GRADS = np.random.default_rng(0).normal(size=(40, 5))
B1, B2 = 0.9, 0.999


def descend(factory, rates, grads, state=None, params=None):
    """Updates of a plain loop over one leaf: [steps, n], and the last optimizer state."""
    params = jnp.zeros(grads.shape[1], float) if params is None else params
    state = factory(rates[0]).init(params) if state is None else state
    updates = []
    for rate, g in zip(rates, grads, strict=True):
        with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
            update, state = factory(rate).update(jnp.asarray(g, float), state, params)
        updates.append(np.asarray(update))
    return np.array(updates), state


def test_keras_adam_is_its_published_recurrence(x64):
    rates = np.linspace(1e-3, 1e-2, len(GRADS))
    got, _ = descend(keras_adam, rates, GRADS)
    m = v = np.zeros(5)
    b1, b2 = float(np.float32(B1)), float(np.float32(B2))  # Keras rounds the bases of the powers
    for t, (rate, g) in enumerate(zip(rates, GRADS, strict=True), 1):
        m = B1 * m + (1 - B1) * g
        v = B2 * v + (1 - B2) * g**2
        want = -rate * np.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + 1e-7)
        np.testing.assert_allclose(got[t - 1], want, rtol=1e-12)


def test_keras_adam_differs_from_every_constant_epsilon_of_optax(x64):
    small = GRADS * 1e-6  # epsilon matters
    ours, _ = descend(keras_adam, np.ones(40), small)
    for eps in (1e-7, 1e-7 / np.sqrt(1 - B2)):
        optaxs, _ = descend(lambda rate, eps=eps: optax.adam(rate, eps=eps), np.ones(40), small)
        assert np.abs(ours / optaxs - 1).max() > 1e-2


def test_without_epsilon_keras_adam_is_optax_adam(x64):
    ours, _ = descend(lambda rate: keras_adam(rate, eps=0.0), np.ones(40), GRADS)
    optaxs, _ = descend(lambda rate: optax.adam(rate, eps=0.0), np.ones(40), GRADS)
    np.testing.assert_allclose(ours, optaxs, rtol=1e-4)  # the rounded β2: 2e-5 at t = 1
    np.testing.assert_allclose(ours[-1], optaxs[-1], rtol=2e-5)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_keras_sgd_has_the_rate_inside_its_velocity(momentum, x64):
    rates = np.geomspace(1, 1e-3, len(GRADS))
    got, _ = descend(lambda rate: keras_sgd(rate, momentum), rates, GRADS)
    velocity = np.zeros(5)
    for rate, g, update in zip(rates, GRADS, got, strict=True):
        velocity = float(np.float32(momentum)) * velocity - rate * g
        np.testing.assert_allclose(update, velocity, rtol=1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_is_a_factory_of_a_traced_rate(name):
    traced = []

    @jax.jit
    def update(rate):
        traced.append(rate)
        params = {"w": jnp.ones((2, 3), float)}
        with jax.numpy_dtype_promotion("standard"):
            optimizer = OPTIMIZERS[name](rate)
            return optimizer.update(params, optimizer.init(params), params)[0]

    low, high = update(0.001), update(0.1)
    assert len(traced) == 1
    assert np.isfinite(low["w"]).all()
    assert np.abs(high["w"]).max() > np.abs(low["w"]).max()


# ---- law 7: constant gradient g, m = g and v = g² before the boundary, epsilon 0, the old count large

LAWS = {
    "m, v, count": (Moments(0, 0, 0, 1), lambda k: 1.0 + 0 * k),
    "m, v": (Moments(0, 0, 1, 1), lambda k: (1 - B1**k) / np.sqrt(1 - B2**k)),
    "count": (Moments(1, 1, 0, 1), lambda k: np.sqrt(1 - B2**k) / (1 - B1**k)),
    "m": (Moments(0, 1, 1, 1), lambda k: 1 - B1**k),
    "v": (Moments(1, 0, 1, 1), lambda k: 1 / np.sqrt(1 - B2**k)),
    "m, count": (Moments(0, 1, 0, 1), lambda k: np.sqrt(1 - B2**k)),
    "v, count": (Moments(1, 0, 0, 1), lambda k: 1 / (1 - B1**k)),
}


def after(policy_moments, moments):
    """An optimizer state after a boundary, by the project's own policy."""
    blank = TrainState(**dict.fromkeys(TrainState._fields, ()))
    old = blank._replace(moments=moments, params={"w": moments[0].mu})
    policy = spread(CONTINUE._replace(moments=policy_moments), old)
    return mix(policy, old, jax.tree.map(jnp.zeros_like, old)).moments


@pytest.mark.parametrize("dropped", LAWS)
def test_adam_after_a_boundary_follows_its_closed_form(dropped, x64):
    fractions, law = LAWS[dropped]
    g = jnp.asarray([0.3, -2.0])
    settled = (optax.ScaleByAdamState(jnp.asarray(10**6, jnp.int32), g, g**2), optax.EmptyState())
    grads = np.tile(g, (1000, 1))
    got, _ = descend(lambda r: optax.adam(r, eps=0.0), np.ones(1000), grads, after(fractions, settled), g)
    k = np.arange(1, 1001)
    want = -np.sign(grads) * law(k)[:, None]
    np.testing.assert_allclose(got, want, rtol=1e-10)


def test_dropping_only_the_count_is_continuous_adam_under_another_rate(x64):
    old_count, rate = 70, 1e-3
    b1, b2 = float(np.float32(B1)), float(np.float32(B2))

    def alpha(c):
        return np.sqrt(1 - b2**c) / (1 - b1**c)

    _, warm = descend(keras_adam, np.full(old_count, rate), np.resize(GRADS, (old_count, 5)))
    dropped = after(Moments(1, 1, 0, 1), (warm,))[0]
    k = np.arange(1, len(GRADS) + 1)
    restarted, _ = descend(keras_adam, np.full(len(GRADS), rate), GRADS, dropped)
    scheduled, _ = descend(keras_adam, rate * alpha(k) / alpha(old_count + k), GRADS, warm)
    np.testing.assert_allclose(restarted, scheduled, rtol=1e-12)
