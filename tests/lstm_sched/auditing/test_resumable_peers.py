"""Faults planted in real PyTorch and Keras loops are caught and named. Skipped where the packages are missing."""

import copy
import os
from typing import Any

import jax
import numpy as np
import pytest

from lstm_sched.auditing.audit import audit
from lstm_sched.auditing.resumable import assert_resumable

os.environ.setdefault("KERAS_BACKEND", "jax")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("default")]  # their warnings are theirs


@pytest.fixture(autouse=True)
def lenient():
    """Keras on JAX mixes ranks and dtypes, which our own tests forbid."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


rng = np.random.default_rng(0)
x_NTF = rng.normal(size=(12, 5, 2)).astype(np.float32)
y_NO = np.tanh(x_NTF.sum(axis=(1, 2)))[:, None].astype(np.float32)


def complaint(train, state):
    """The message, and the components that it names."""
    with pytest.raises(AssertionError) as caught:
        assert_resumable(train, state, n=4, split=2)
    message = str(caught.value)
    return message, message.split("train never reads ")[1].split(" of the state")[0]


# PyTorch: a checkpoint as its tutorials write it, with the shuffle's generator


def torch_parts(torch):
    torch.manual_seed(0)
    lstm, head = torch.nn.LSTM(2, 4, batch_first=True), torch.nn.Linear(4, 1)
    model = torch.nn.ModuleDict({"lstm": lstm, "head": head})
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    return model, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.5), torch.Generator()


def torch_state(parts) -> dict[str, Any]:
    model, optimizer, scheduler, generator = parts
    made = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    return {name: copy.deepcopy(part.state_dict()) for name, part in made.items()} | {
        "generator": generator.get_state()
    }


def torch_loop(torch, fault):
    """`fault(state)` is what is loaded in place of a state; a part that it leaves out stays new."""

    def train(state, epochs):
        parts = model, optimizer, scheduler, generator = torch_parts(torch)
        given = fault(copy.deepcopy(state))
        for name, part in (("model", model), ("optimizer", optimizer), ("scheduler", scheduler)):
            if name in given:
                part.load_state_dict(given[name])
        if "generator" in given:
            generator.set_state(given["generator"])
        x, y = torch.from_numpy(x_NTF), torch.from_numpy(y_NO)
        for _ in range(epochs):
            for index in torch.randperm(12, generator=generator).split(4):
                optimizer.zero_grad()
                h, _ = model["lstm"](x[index])
                torch.nn.functional.mse_loss(model["head"](h[:, -1]), y[index]).backward()
                optimizer.step()
            scheduler.step()
        return torch_state(parts)

    return train


def without(*names):
    return lambda state: {name: part for name, part in state.items() if name not in names}


def slots(*lost):
    """The optimizer's state with these slots at zero."""

    def fault(state):
        for slot in state["optimizer"]["state"].values():
            slot.update({name: slot[name] * 0 for name in lost})
        return state

    return fault


TORCH = {
    "weights": without("model"),
    "m, v, count": without("optimizer"),
    "m, v, count, schedule clock": without("optimizer", "scheduler"),
    "m, v": slots("exp_avg", "exp_avg_sq"),
    "m": slots("exp_avg"),
    "v": slots("exp_avg_sq"),
    "count": slots("step"),
    "schedule clock": without("scheduler"),
    "order": without("generator"),
}


def test_a_pytorch_loop_that_restores_everything_passes():
    torch = pytest.importorskip("torch")
    assert_resumable(torch_loop(torch, lambda s: s), torch_state(torch_parts(torch)), n=4, split=1)


@pytest.mark.parametrize("lost", TORCH)
def test_each_fault_of_a_pytorch_loop_is_named(lost):
    torch = pytest.importorskip("torch")
    message, named = complaint(torch_loop(torch, TORCH[lost]), torch_state(torch_parts(torch)))
    assert set(named.split(", ")) == set(lost.split(", "))
    assert ("a new optimizer object" in message) is (lost == "m, v, count, schedule clock")


def test_a_pytorch_boundary_is_audited_from_its_state_dicts():
    torch = pytest.importorskip("torch")
    first = torch_state(torch_parts(torch))
    before = torch_loop(torch, lambda s: s)(first, 2)
    after = torch_loop(torch, without("optimizer"))(before, 0)
    fate = {row.component: row.fate for row in audit(before, after, first).rows}
    assert fate["weights"] == "kept" and {fate["m"], fate["v"], fate["count"]} == {"gone"}
    counts = {"optimizer": {"state": before["optimizer"]["state"]}, "model": before["model"]}
    assert "drop_count" in audit(counts, slots("step")(copy.deepcopy(counts))).policies


# Keras: what `fit` leaves behind, carried by hand from call to call


def keras_model():
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Input((5, 2)), keras.layers.LSTM(4), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.Adam(0.02), loss="mse")
    model.optimizer.build(model.trainable_variables)
    return model


def keras_state(model) -> dict[str, Any]:
    variables = {variable.path: np.array(variable) for variable in model.optimizer.variables}
    return {"weights": {w.path: np.array(w) for w in model.weights}, "optimizer": variables}


def keras_loop(model, first, fault):
    """One model, put into the state that it is given (`fault` of it), then `fit`."""

    def train(state, epochs):
        given = fault(copy.deepcopy(state), first)
        for variable in model.weights:
            variable.assign(given["weights"][variable.path])
        for variable in model.optimizer.variables:
            variable.assign(given["optimizer"][variable.path])
        model.fit(x_NTF, y_NO, batch_size=4, epochs=epochs, shuffle=False, verbose=0)
        return keras_state(model)

    return train


def variables(*endings):
    """The optimizer's variables whose path ends so, as they were first."""

    def fault(state, first):
        lost = {path: first["optimizer"][path] for path in state["optimizer"] if path.endswith(endings)}
        return state | {"optimizer": state["optimizer"] | lost}

    return fault


KERAS = {
    "weights": lambda state, first: state | {"weights": first["weights"]},
    "m, v, count": lambda state, first: state | {"optimizer": first["optimizer"]},  # compile at each call
    "m, v": variables("momentum", "velocity"),
    "m": variables("momentum"),
    "v": variables("velocity"),
    "count": variables("iteration"),
}


def test_a_keras_loop_of_fits_that_drops_nothing_passes():
    model = keras_model()
    first = keras_state(model)
    assert_resumable(keras_loop(model, first, lambda s, _: s), first, n=4, split=1)


@pytest.mark.parametrize("lost", KERAS)
def test_each_fault_of_a_keras_loop_is_named(lost):
    model = keras_model()
    first = keras_state(model)
    message, named = complaint(keras_loop(model, first, KERAS[lost]), first)
    assert set(named.split(", ")) == set(lost.split(", "))
    assert ("just this: keras_recompile" in message) is (lost == "m, v, count")
