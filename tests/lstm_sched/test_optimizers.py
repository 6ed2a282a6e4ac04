"""Keras' forms against loops written from its formulas; law 7, Adam after a boundary in closed form."""

import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.small import SOON

from lstm_sched.nn.gates import pack, unpack, variable_of
from lstm_sched.optimizers import (
    DECAYING,
    OPTIMIZERS,
    by_name,
    clipped,
    keras_adam,
    keras_adamw,
    keras_lion,
    keras_rmsprop,
    keras_sgd,
)
from lstm_sched.policy import moment_of, spread
from lstm_sched.presets import CONTINUE
from lstm_sched.state import Moments, TrainState, mix

GRADS = np.random.default_rng(0).normal(size=(40, 5))
B1, B2 = 0.9, 0.999


def rounded(x):
    """A number by way of float32, as Keras' `cast` takes it."""
    return float(np.float32(x))


def descend(factory, rates, grads, state=None, params=None):
    """Updates of a plain loop over one leaf: [steps, n], and the last optimizer state."""
    params = jnp.zeros(grads.shape[1], float) if params is None else params
    state = factory(rates[0]).init(params) if state is None else state

    def update(state, rate_and_grad):
        rate, g = rate_and_grad
        with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
            updates, state = factory(rate).update(g, state, params)
        return state, updates

    inputs = jnp.asarray(rates, float), jnp.asarray(grads, float)
    state, updates = jax.jit(partial(jax.lax.scan, update), compiler_options=SOON)(state, inputs)
    return np.asarray(updates), state


# ---- Keras' update rules of one variable: each yields the weights after every step


def adam_rule(p, rates, grads, weight_decay=0.0):
    m = v = np.zeros_like(p)
    for t, (rate, g) in enumerate(zip(rates, grads, strict=True), 1):
        p = p - p * rounded(weight_decay) * rate
        m, v = m + (g - m) * (1 - B1), v + (g**2 - v) * (1 - B2)
        alpha = rate * np.sqrt(1 - rounded(B2) ** t) / (1 - rounded(B1) ** t)
        p = p - m * alpha / (np.sqrt(v) + 1e-7)
        yield p


def sgd_rule(p, rates, grads, momentum=0.0, nesterov=False):
    velocity, momentum = np.zeros_like(p), rounded(momentum)
    for rate, g in zip(rates, grads, strict=True):
        velocity = velocity * momentum - g * rate
        p = p + (velocity * momentum - g * rate if nesterov else velocity)
        yield p


def rmsprop_rule(p, rates, grads, rho=0.9, momentum=0.0, centered=False):
    velocity = average = buffer = np.zeros_like(p)
    for rate, g in zip(rates, grads, strict=True):
        velocity = rho * velocity + (1 - rho) * g**2
        average = rho * average + (1 - rho) * g
        denominator = velocity - average**2 + 1e-7 if centered else velocity + 1e-7
        buffer = momentum * buffer + rate * g / np.sqrt(denominator)
        p = p - buffer
        yield p


def lion_rule(p, rates, grads):
    m, b1, b2 = np.zeros_like(p), rounded(0.9), rounded(0.99)
    for rate, g in zip(rates, grads, strict=True):
        p = p - rate * np.sign(m * b1 + g * (1 - b1))
        m = m * b2 + g * (1 - b2)
        yield p


RULES = {
    "adam": (keras_adam, adam_rule),
    "adamw": (keras_adamw, partial(adam_rule, weight_decay=0.004)),
    "adamw 0.3": (partial(keras_adamw, weight_decay=0.3), partial(adam_rule, weight_decay=0.3)),
    "sgd": (keras_sgd, sgd_rule),
    "momentum": (partial(keras_sgd, momentum=0.9), partial(sgd_rule, momentum=0.9)),
    "nesterov": (OPTIMIZERS["keras_nesterov"], partial(sgd_rule, momentum=0.9, nesterov=True)),
    "nesterov of nothing": (partial(keras_sgd, nesterov=True), partial(sgd_rule, nesterov=True)),
    "rmsprop": (keras_rmsprop, rmsprop_rule),
    "rmsprop 0.5": (partial(keras_rmsprop, rho=0.5), partial(rmsprop_rule, rho=0.5)),
    "rmsprop momentum": (partial(keras_rmsprop, momentum=0.9), partial(rmsprop_rule, momentum=0.9)),
    "rmsprop centered": (partial(keras_rmsprop, centered=True), partial(rmsprop_rule, centered=True)),
    "lion": (keras_lion, lion_rule),
}


def follow(name):
    """Weights after every step of ours and of Keras' rule, under a falling rate and gradients of all sizes."""
    factory, rule = RULES[name]
    rates = np.geomspace(1e-2, 1e-4, len(GRADS))
    grads = GRADS * np.array([1, 1e-2, 1e-4, 1e-6, 3])  # some where epsilon matters
    p = np.array([0.5, -1.0, 2.0, 0.1, 0.0])

    def update(carried, rate_and_grad):
        params, state = carried
        rate, g = rate_and_grad
        updates, state = factory(rate).update(g, state, params)
        return (params + updates, state), params + updates

    params = jnp.asarray(p, float)
    inputs = jnp.asarray(rates, float), jnp.asarray(grads, float)
    begin = params, factory(rates[0]).init(params)
    _, path = jax.jit(partial(jax.lax.scan, update), compiler_options=SOON)(begin, inputs)
    return path, np.array(list(rule(p, rates, grads)))


@pytest.mark.parametrize("name", RULES)
def test_each_of_keras_forms_is_its_update_rule(name):
    got, want = follow(name)
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", RULES)
def test_each_of_keras_forms_is_its_update_rule_in_float64(name, x64):
    got, want = follow(name)
    np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-13)


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


def found_in(factory, params):
    """The parts of an optimizer's state that a policy tells apart."""
    leaves = jax.tree_util.tree_leaves_with_path
    weights = {path: leaf.shape for path, leaf in leaves(params)}
    return {moment_of(path, leaf.shape, weights) for path, leaf in leaves(factory(0.1).init(params))}


def test_a_policy_finds_the_moments_of_every_variant():
    params = {"w": jnp.ones((2, 3), float)}
    assert found_in(partial(keras_rmsprop, momentum=0.9), params) == {"mu", "nu"}
    assert found_in(partial(keras_rmsprop, centered=True), params) == {"mu", "nu"}
    for limit in ("clipnorm", "global_clipnorm", "clipvalue"):
        for name in ("keras_adam", "keras_adamw", "keras_sgd", "keras_nesterov", "keras_rmsprop"):
            plain = found_in(OPTIMIZERS[name], params)
            assert found_in(clipped(OPTIMIZERS[name], **{limit: 1.0}), params) == plain


# ---- clipping


def gradients(scale=1.0):
    """Of a network of two layers, each Keras variable of another norm."""
    rng = np.random.default_rng(1)
    shapes = {"lstm_0": ((2, 12), (3, 12), (12,)), "lstm_1": ((3, 12), (3, 12), (12,))}
    grads = {
        layer: unpack(*(jnp.asarray(scale * rng.uniform(0.01, 2) * rng.normal(size=s)) for s in three))
        for layer, three in shapes.items()
    }
    return grads | {"head": {"kernel": jnp.asarray(scale * rng.normal(size=(3, 1))), "bias": jnp.zeros(1)}}


def joined(tree):
    """As Keras' list of variables."""
    cells = [np.asarray(a) for n in range(2) for a in pack(tree[f"lstm_{n}"])]
    return [*cells, np.asarray(tree["head"]["kernel"]), np.asarray(tree["head"]["bias"])]


def through(factory, grads):
    """The gradients that the optimizer sees."""
    sgd = factory(-1.0)
    return jax.jit(sgd.update)(grads, sgd.init(grads))[0]


def keras_clipnorm(arrays, limit):
    return [a * limit / max(np.sqrt(np.sum(a**2)), limit) for a in arrays]


def keras_global_clipnorm(arrays, limit):
    norm = np.sqrt(sum(np.sum(a**2) for a in arrays))
    return [a * limit * min(1 / norm, 1 / limit) for a in arrays]


def keras_clipvalue(arrays, limit):
    return [np.clip(a, -limit, limit) for a in arrays]


KERAS_CLIPS = {
    "clipnorm": keras_clipnorm,
    "global_clipnorm": keras_global_clipnorm,
    "clipvalue": keras_clipvalue,
}


@pytest.mark.parametrize("name", KERAS_CLIPS)
@pytest.mark.parametrize("limit", [1e-3, 1.0, 3.0, 100.0])
def test_clipping_is_that_of_keras_over_its_joint_variables(name, limit, x64):
    grads = gradients()
    got = joined(through(clipped(optax.sgd, **{name: limit}, variable_of=variable_of), grads))
    for ours, keras in zip(got, KERAS_CLIPS[name](joined(grads), limit), strict=True):
        np.testing.assert_allclose(ours, keras, rtol=1e-14)


def test_without_a_mapping_every_leaf_is_a_variable(x64):
    grads = gradients()
    got = through(clipped(optax.sgd, clipnorm=1.0), grads)
    for ours, keras in zip(jax.tree.leaves(got), keras_clipnorm(jax.tree.leaves(grads), 1.0), strict=True):
        np.testing.assert_allclose(ours, keras, rtol=1e-14)
    joint = joined(through(clipped(optax.sgd, clipnorm=1.0, variable_of=variable_of), grads))
    assert any(np.abs(a - b).max() > 0.01 for a, b in zip(joined(got), joint, strict=True))


@pytest.mark.parametrize("name", KERAS_CLIPS)
def test_gradients_within_the_limit_keep_every_bit(name):
    grads = gradients(scale=1e-3)
    got = through(clipped(optax.sgd, **{name: 0.1}, variable_of=variable_of), grads)
    jax.tree.map(np.testing.assert_array_equal, got, grads)


def test_clipping_is_differentiable_where_a_gradient_is_zero():
    zero = jax.tree.map(jnp.zeros_like, gradients())

    def total(grads):
        return sum(jnp.sum(g) for g in jax.tree.leaves(through(clipped(optax.sgd, clipnorm=1.0), grads)))

    jax.tree.map(lambda g: np.testing.assert_array_equal(g, 1), jax.grad(total)(zero))


def test_weight_decay_is_not_clipped(x64):
    grads, params = gradients(), gradients(scale=0.5)
    plain, both = clipped(keras_adam, clipvalue=0.1)(0.5), clipped(keras_adamw, clipvalue=0.1)(0.5)
    without, _ = plain.update(grads, plain.init(params), params)
    decayed, _ = both.update(grads, both.init(params), params)
    jax.tree.map(
        lambda a, b, p: np.testing.assert_allclose(b - a, -0.5 * rounded(0.004) * p, rtol=0, atol=1e-15),
        without, decayed, params,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({}, r"clipped: \{\}; allowed: exactly one of clipnorm, global_clipnorm, clipvalue"),
        ({"clipnorm": 1.0, "clipvalue": 0.5}, "clipped: .*clipnorm.*clipvalue.*; allowed: exactly one"),
        ({"clipnorm": 0.0}, "clipnorm: 0.0; allowed: more than 0"),
        ({"global_clipnorm": -1.0}, "global_clipnorm: -1.0; allowed"),
        ({"clipvalue": float("nan")}, "clipvalue: nan; allowed"),
    ],
)
def test_a_clip_that_keras_would_refuse_or_ignore_is_refused(limits, message):
    with pytest.raises(ValueError, match=message):
        clipped(keras_adam, **limits)


def test_the_same_clip_is_the_same_factory_so_that_nothing_is_compiled_again():
    assert clipped(keras_adam, clipnorm=1.0) is clipped(keras_adam, clipnorm=1.0)
    assert clipped(keras_adam, clipnorm=1.0) is not clipped(keras_adam, global_clipnorm=1.0)


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


# ---- a weight decay of one's own


@pytest.mark.parametrize("name", ["keras_adamw", "adamw", "lion"])
def test_a_chosen_weight_decay_is_subtracted_at_the_rate_of_the_step(name, x64):
    p, rate, decay = jnp.asarray([1.0, -2.0, 0.5, 3.0, 0.0]), 0.1, 0.3
    without, _ = descend(by_name(name, 0.0), [rate], GRADS[:1], params=p)
    got, _ = descend(by_name(name, decay), [rate], GRADS[:1], params=p)
    np.testing.assert_allclose(got[0] - without[0], -rate * decay * p, rtol=1e-6, atol=1e-12)


def test_without_a_choice_the_decay_is_the_optimizers_own_and_a_choice_is_one_factory():
    assert all(by_name(name) is OPTIMIZERS[name] for name in OPTIMIZERS)
    assert by_name("adamw", 0.1) is by_name("adamw", 0.1)


def test_the_optimizers_with_a_decay_are_those_whose_factory_takes_one():
    taking = [
        name for name, make in OPTIMIZERS.items() if "weight_decay" in inspect.signature(make).parameters
    ]
    assert list(DECAYING) == taking


@pytest.mark.parametrize(
    ("name", "decay", "message"),
    [
        ("adam", 0.1, "weight_decay: 0.1; adam has none, allowed with keras_adamw, adamw, lamb, lion"),
        ("adamw", -0.1, "weight_decay: -0.1; allowed: 0 or more, finite"),
        ("adamw", float("nan"), "weight_decay: nan; allowed"),
        ("lion", float("inf"), "weight_decay: inf; allowed"),
    ],
)
def test_a_decay_that_cannot_be_is_refused(name, decay, message):
    with pytest.raises(ValueError, match=message):
        by_name(name, decay)
