"""Planted faults: a loop that loses something is caught and its loss is named; one that loses nothing passes."""

import re
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lstm_sched.auditing.resumable import assert_resumable

x_NF = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
y_N = np.tanh(x_NF.sum(axis=1)).astype(np.float32)
TX = optax.adam(optax.cosine_decay_schedule(0.05, 120))


@jax.jit
def step(params, opt, index):
    x_BF, y_B = jnp.asarray(x_NF)[index], jnp.asarray(y_N)[index]
    grads = jax.grad(lambda p: jnp.mean((x_BF @ p["w"] + p["b"][None, 0] - y_B) ** 2))(params)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        updates, opt = TX.update(grads, opt)
    return optax.apply_updates(params, updates), opt


def begin() -> dict[str, Any]:
    params = {"w": jnp.ones(3), "b": jnp.zeros(1)}
    return {"params": params, "opt": TX.init(params), "key": jax.random.key(0), "epoch": 0}


def loop(fault=lambda state: state):
    """Plain optax, shuffled; `fault` is what is done to the state at each call."""

    def train(state, epochs):
        state = fault(state)
        params, opt, key = state["params"], state["opt"], state["key"]
        for _ in range(epochs):
            key, order = jax.random.split(key)
            for index in jax.random.permutation(order, 12).reshape(3, 4):
                params, opt = step(params, opt, index)
        return {"params": params, "opt": opt, "key": key, "epoch": state["epoch"] + epochs}

    return train


def with_adam(state, **fields) -> dict[str, Any]:
    adam, clock = state["opt"]
    return state | {"opt": (adam._replace(**fields), clock)}


def new_adam(params):
    adam, *_ = cast(tuple, TX.init(params))
    return adam


def zeros(tree):
    return jax.tree.map(jnp.zeros_like, tree)


FAULTS: dict[str, Any] = {
    "m, v, count, schedule clock": lambda s: s | {"opt": TX.init(s["params"])},
    "m, v, count": lambda s: s | {"opt": (new_adam(s["params"]), s["opt"][1])},
    "count": lambda s: with_adam(s, count=jnp.zeros((), jnp.int32)),
    "m, v": lambda s: with_adam(s, mu=zeros(s["opt"][0].mu), nu=zeros(s["opt"][0].nu)),
    "m": lambda s: with_adam(s, mu=zeros(s["opt"][0].mu)),
    "order": lambda s: s | {"key": jax.random.key(7)},
    "schedule clock": lambda s: s | {"opt": (s["opt"][0], zeros(s["opt"][1]))},
    "epoch": lambda s: s | {"epoch": 0},
}
NAMED = {"count": "drop_count", "m, v": "drop_moments", "m": "drop_m"}


def complaint(train, state, n=4, split=2):
    with pytest.raises(AssertionError) as caught:
        assert_resumable(train, state, n, split)
    return str(caught.value)


def test_a_loop_that_keeps_everything_passes_however_it_is_split():
    for split in (1, 3):
        assert_resumable(loop(), begin(), n=4, split=split)


@pytest.mark.parametrize("lost", list(FAULTS))
def test_each_planted_fault_is_caught_and_named_with_the_first_leaf_that_differs(lost):
    message = complaint(loop(FAULTS[lost]), begin())
    assert message.startswith("4 epochs are not 2 + 2: ")
    assert f"train never reads {lost} of the state" in message
    assert ("a new optimizer object" in message) is (lost == "m, v, count, schedule clock")
    if lost in NAMED:
        assert f"Named policies that do just this: {NAMED[lost]}" in message
    if lost == "m":
        first = r"\['opt'\]\[0\]\.mu\['b'\] is the first of 6 leaves that differ, out of 10 "
        assert re.search(first + r"\(1 of its 1 numbers, floats by up to [\d,]+ ulp\)\.\n", message)


def test_an_optimizer_rebuilt_in_a_state_of_weights_and_optimizer_alone_is_a_recompile():
    def train(state, epochs):
        params, opt = state["params"], TX.init(state["params"])
        for _ in range(epochs):
            params, opt = step(params, opt, np.arange(12))
        return {"params": params, "opt": opt}

    message = complaint(train, {name: begin()[name] for name in ("params", "opt")})
    assert "a new optimizer object" in message
    assert "just this: keras_recompile, " in message and "weights_only" in message


def numpy_train(state, epochs, reseed=False, shrunk=False, stops=False):
    """Momentum by hand, changing its arrays in place, as much hand-written code does."""
    rng = np.random.default_rng(0)
    if not reseed:
        rng.bit_generator.state = state["rng"]
    if shrunk:
        state["w"] *= np.float32(0.5)
    if stops and not epochs:
        raise ValueError("epochs: 0")
    for _ in range(epochs):
        for n in rng.permutation(12):
            state["momentum"] *= 0.9
            state["momentum"] += (x_NF[n] @ state["w"] - y_N[n]) * x_NF[n]
            state["w"] -= 0.01 * state["momentum"]
    return state | {"rng": rng.bit_generator.state}


def numpy_state():
    w = np.ones(3, np.float32)
    return {"w": w, "momentum": 0 * w, "rng": np.random.default_rng(0).bit_generator.state}


def test_numpy_code_that_works_in_place_passes_and_is_not_changed():
    state = numpy_state()
    assert_resumable(numpy_train, state, 4, 2)
    np.testing.assert_array_equal(state["w"], np.ones(3))


@pytest.mark.parametrize(
    ("fault", "facts"),
    [
        (partial(numpy_train, reseed=True), ["train never reads order of the state"]),
        (
            lambda s, n: numpy_train(s | {"momentum": np.zeros(3, np.float32)}, n),
            ["train never reads m of the state", "drop_m"],
        ),
        (
            partial(numpy_train, shrunk=True),
            ["Already train(state, 0) changes it. Dropped or changed: weights."],
        ),
        (partial(numpy_train, shrunk=True, stops=True), ["raises ValueError: epochs: 0"]),
    ],
)
def test_faults_of_numpy_code_are_named(fault, facts):
    message = complaint(fault, numpy_state())
    assert [fact for fact in facts if fact not in message] == []


def test_a_stream_that_is_not_in_the_state_is_named_as_unknown():
    """The shuffle is made in each call and never returned."""

    def train(w, epochs):
        rng = np.random.default_rng(0)
        for _ in range(epochs):
            for n in rng.permutation(12):
                w = w - 0.1 * (x_NF[n] @ w - y_N[n]) * x_NF[n]
        return w

    message = complaint(train, np.ones(3, np.float32))
    assert "the state is the first of 1 leaves that differ, out of 1 (3 of its 3 numbers, " in message
    assert "train reads each component that its state holds (weights)" in message
    assert message.endswith("train(state, 0) changes nothing.")


def test_a_train_that_never_repeats_is_told_apart():
    rng = np.random.default_rng(0)
    message = complaint(lambda w, n: w + rng.normal(size=2) * n, np.ones(2))
    assert "Two equal calls differ too" in message


def test_a_state_dict_that_gains_its_moments_with_the_first_step_can_be_tried():
    """PyTorch's optimizers hold nothing before their first step."""

    def train(state, epochs):
        w = state["model"]["w"]
        m, t = 0 * w, np.float32(0)
        for _ in range(epochs):
            m = np.float32(0.9) * m + w
            w, t = w - np.float32(0.1) * m, t + np.float32(1)
        return {"model": {"w": w}, "optimizer": {"state": {0: {"exp_avg": m, "step": t}}}}

    message = complaint(train, {"model": {"w": np.ones(3, np.float32)}, "optimizer": {"state": {}}})
    assert "train never reads m, count of the state" in message
    assert "a new optimizer object" in message


@pytest.mark.parametrize("split", [0, 10, 11])
def test_a_split_that_is_none_is_refused(split):
    with pytest.raises(ValueError, match=f"split: {split}; allowed: 1 to 9"):
        assert_resumable(lambda s, n: s, np.ones(1), n=10, split=split)
