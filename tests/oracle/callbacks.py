"""Records callbacks.npz: what Keras' EarlyStopping, ReduceLROnPlateau and LearningRateScheduler do to random losses.

    python tests/oracle/callbacks.py

CASES runs of EPOCHS epochs in fits of some epochs, each with callbacks of random arguments. Nothing is trained: the one
weight counts the epochs trained, each loss is looked up by it, and most losses are eighths, so that ties are exact.
Letters: N cases, E epochs. No test needs Keras: recorded with Keras 3.15.1.
"""

import os
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"
import keras  # pyright: ignore[reportMissingImports]
import numpy as np

CASES, EPOCHS, LR = 512, 12, 0.1
rng = np.random.default_rng(0)
model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
model.compile(keras.optimizers.SGD(LR), "mse")


def draw() -> dict[str, Any]:
    """One case: losses[k] follows the k-th epoch trained."""
    losses = rng.integers(0, 12, EPOCHS + 1) / 8
    return {
        "losses": np.where(rng.random(EPOCHS + 1) < 0.05, rng.choice([np.nan, np.inf]), losses),
        "every": rng.choice([1, 2, 3, 4, 6, 12]),  # epochs of a fit
        "counted": rng.random() < 0.5,  # fits are told their initial_epoch
        "validated": rng.random(EPOCHS) < rng.choice([1.0, 0.6]),
        "factors": rng.choice([1.0, 0.5, 0.7, 1.3], EPOCHS),
        "compounding": rng.random() < 0.5,
        "patience": rng.integers(5),
        "min_delta": rng.choice([0, 1, 2]) / 8,
        "start_from": rng.choice([0, 0, 1, 5]),
        "baseline": rng.choice([np.inf, 0.25, 0.5, 1.0]),  # inf for none
        "restore": rng.random() < 0.5,
        "plateau_patience": rng.integers(4),
        "factor": rng.choice([0.1, 0.5]),
        "plateau_min_delta": rng.choice([0, 1]) / 8,
        "cooldown": rng.integers(4),
        "min_rate": rng.choice([0.0, 0.031, 0.055]),
    }


def scheduled(case: dict[str, Any]) -> Any:
    """What LearningRateScheduler calls."""
    factors = case["factors"]
    if case["compounding"]:
        return lambda epoch, rate: float(rate * factors[epoch])
    return lambda epoch: float(LR * factors[epoch])


def record(case: dict[str, Any]) -> np.ndarray:
    """(E, 2): the rate of each epoch, and the weight after it and after its fit if that ends; NaN where none was."""
    rates = keras.callbacks.LearningRateScheduler(scheduled(case))
    baseline = case["baseline"] if np.isfinite(case["baseline"]) else None
    stop = keras.callbacks.EarlyStopping(
        patience=int(case["patience"]),
        min_delta=case["min_delta"],
        start_from_epoch=int(case["start_from"]),
        baseline=baseline,
        restore_best_weights=bool(case["restore"]),
    )
    plateau = keras.callbacks.ReduceLROnPlateau(
        patience=int(case["plateau_patience"]),
        factor=case["factor"],
        min_delta=case["plateau_min_delta"],
        cooldown=int(case["cooldown"]),
        min_lr=case["min_rate"],
    )
    callbacks = keras.callbacks.CallbackList([rates, stop, plateau], model=model)
    model.optimizer.learning_rate = LR
    weight, log = 0.0, np.full((EPOCHS, 2), np.nan)
    for clock in range(EPOCHS):
        if clock % case["every"] == 0:
            callbacks.on_train_begin()
            model.stop_training = False
        elif model.stop_training:
            continue
        epoch = clock if case["counted"] else clock % case["every"]
        callbacks.on_epoch_begin(epoch)
        weight += 1
        model.set_weights([np.full((1, 1), weight)])
        rate, loss = float(model.optimizer.learning_rate), case["losses"][int(weight)]
        callbacks.on_epoch_end(epoch, {"val_loss": loss} if case["validated"][epoch] else {})
        if model.stop_training or (clock + 1) % case["every"] == 0:
            callbacks.on_train_end()
            weight = float(model.get_weights()[0][0, 0])
        log[clock] = rate, weight
    return log


cases = [draw() for _ in range(CASES)]
result = {name: np.array([case[name] for case in cases]) for name in cases[0]}
result = {name: a.astype("float32") if a.dtype.kind == "f" else a for name, a in result.items()}
result["log"] = np.array([record(case) for case in cases], "float32")
np.savez_compressed(Path(__file__).with_name("callbacks.npz"), allow_pickle=False, **result)
