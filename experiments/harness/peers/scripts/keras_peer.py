"""Keras as it is used, asked by lines what to train (loop_peer.py): `KERAS_BACKEND=tensorflow python keras_peer.py`"""

import functools
import os
from typing import Any

import numpy as np
from loop_peer import introduce, serve, train  # next to this file: its Python need not have this project


@functools.cache
def load(path: str) -> dict[str, np.ndarray]:
    return dict(np.load(path))


def first_weights(task: dict[str, Any], member: int) -> list[np.ndarray]:
    return [load(task["data"])[f"weights_{n}"][member] for n in range(5)]


def network(task: dict[str, Any], member: int) -> Any:
    """A new model with the member's first weights."""
    import keras  # pyright: ignore[reportMissingImports]

    shape = load(task["data"])["X"].shape[1:]
    model = keras.Sequential([keras.Input(shape), keras.layers.LSTM(task["hidden"]), keras.layers.Dense(1)])
    model.set_weights(first_weights(task, member))
    return model


def optimizer(model: Any, rate: float) -> None:
    """The model has a new optimizer."""
    import keras  # pyright: ignore[reportMissingImports]

    model.compile(keras.optimizers.Adam(rate), "mse")


@functools.cache
def shared_model(path: str, hidden: int, batch: int) -> Any:
    """One model for all trainings of these sizes: what is compiled for the first serves the others."""
    model = network({"data": path, "hidden": hidden}, 0)
    optimizer(model, 1e-3)
    return model


def begin(task: dict[str, Any], member: int, rate: float) -> tuple[Any, None]:
    """That model before the first step of a member."""
    model = shared_model(task["data"], task["hidden"], task["batch"])
    if task["arm"] in ("recompile", "scratch"):
        optimizer(model, rate)
    model.set_weights(first_weights(task, member))
    if model.optimizer.built:
        for variable in model.optimizer.variables:
            variable.assign(np.zeros(variable.shape, variable.dtype))
    model.optimizer.learning_rate.assign(rate)
    return model, None


def fit(task: dict[str, Any], model: Any, rule: None, epochs: int) -> tuple[Any, None, float]:
    data = load(task["data"])
    settings = {"batch_size": task["batch"], "shuffle": False, "verbose": 0}
    history = model.fit(data["X"], data["y"], epochs=epochs, **settings)
    return model, None, float(history.history["loss"][-1])


if __name__ == "__main__":
    greeting = introduce("keras", os.environ["KERAS_BACKEND"])
    serve(greeting, functools.partial(train, network, optimizer, fit, begin))
