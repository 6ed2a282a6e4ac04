"""Keras as it is used, told by lines what to train (loop_peer.py): `KERAS_BACKEND=tensorflow python keras_peer.py`"""

import functools
import os
import time
from typing import Any

import numpy as np
from loop_peer import introduce, serve  # beside this file: the Python that runs it need not have the package


@functools.cache
def arrays(path: str) -> dict[str, np.ndarray]:
    return dict(np.load(path))


def compiled(model: Any, rate: float) -> Any:
    import keras  # pyright: ignore[reportMissingImports]

    model.compile(keras.optimizers.Adam(rate), "mse")
    return model


def network(path: str, hidden: int) -> Any:
    import keras  # pyright: ignore[reportMissingImports]

    shape = arrays(path)["X"].shape[1:]
    return keras.Sequential([keras.Input(shape), keras.layers.LSTM(hidden), keras.layers.Dense(1)])


def first_weights(path: str, member: int) -> list[np.ndarray]:
    return [arrays(path)[f"weights_{n}"][member] for n in range(5)]


@functools.cache
def model_of(path: str, hidden: int, batch: int) -> Any:
    """One model for all trainings of these sizes: what is compiled for the first serves the others."""
    return compiled(network(path, hidden), 1e-3)


def begun(told: dict[str, Any], member: int, rate: float) -> Any:
    """That model before its first step."""
    model = model_of(told["data"], told["hidden"], told["batch"])
    if told["arm"] in ("recompile", "scratch"):
        compiled(model, rate)
    model.set_weights(first_weights(told["data"], member))
    if model.optimizer.built:
        for variable in model.optimizer.variables:
            variable.assign(np.zeros(variable.shape, variable.dtype))
    model.optimizer.learning_rate.assign(rate)
    return model


def train(told: dict[str, Any]) -> dict[str, Any]:
    """Each member in turn."""
    seconds, losses, data = 0.0, [], arrays(told["data"])
    for member, rate in told["members"]:
        model = begun(told, member, rate)
        fit = {"batch_size": told["batch"], "shuffle": False, "verbose": 0}
        began, history = time.perf_counter(), None
        whole = told["arm"] == "one_call"
        for call in range(1 if whole else told["epochs"]):
            if told["arm"] == "scratch" and call:
                model = network(told["data"], told["hidden"])
                model.set_weights(first_weights(told["data"], member))
            if told["arm"] in ("recompile", "scratch"):
                compiled(model, rate)
            history = model.fit(data["X"], data["y"], epochs=told["epochs"] if whole else 1, **fit)
        seconds += time.perf_counter() - began
        assert history is not None
        losses.append(float(history.history["loss"][-1]))
    return {"seconds": seconds, "loss": losses}


if __name__ == "__main__":
    serve(introduce("keras", os.environ["KERAS_BACKEND"]), train)
