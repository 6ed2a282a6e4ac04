"""The real Keras, told rows by a file: see loop_rows.py.

Nothing is shuffled.
"""

import os
import tempfile
from typing import Any

from loop_rows import run


def train(told: dict[str, Any], data: Any, common: dict[str, Any]) -> dict[str, Any]:
    """One row."""
    import keras  # pyright: ignore[reportMissingImports]
    import numpy as np

    rate, factors = common["rate"], [float(f) for f in data["factors"]]
    forms = {
        "absolute": lambda epoch: rate * factors[epoch],
        "compounding": lambda epoch, lr: lr * factors[epoch],
    }

    def optimizer() -> Any:
        if told.get("example_3"):
            f = lambda epoch, lr: lr if epoch < 50 else lr * 0.1  # noqa: E731
            return keras.optimizers.Adam(learning_rate=keras.callbacks.LearningRateScheduler(f))
        return keras.optimizers.Adam(**({"learning_rate": rate} | told.get("optimizer", {})))

    def callback(name: str, told: Any) -> Any:
        kind = getattr(keras.callbacks, name)
        return kind(forms[told]) if isinstance(told, str) else kind(**told)

    def network() -> Any:
        layers = [
            keras.Input(data["X"].shape[1:]),
            keras.layers.LSTM(common["hidden"]),
            keras.layers.Dense(1),
        ]
        return keras.Sequential(layers)

    def compiled(model: Any) -> Any:
        model.compile(optimizer(), "mse")
        return model

    def reload(model: Any) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            model.save(f"{folder}/model.keras")
            return keras.models.load_model(f"{folder}/model.keras")

    def reload_weights(model: Any) -> Any:
        new = compiled(network())
        with tempfile.TemporaryDirectory() as folder:
            model.save_weights(f"{folder}/model.weights.h5")
            new.load_weights(f"{folder}/model.weights.h5")
        return new

    between = {"recompile": compiled, "reload": reload, "reload_weights": reload_weights}
    epochs, every = common["epochs"], told.get("every", common["epochs"])
    model = network()
    model.set_weights([data[f"weights_{n}"] for n in range(5)])
    model = compiled(model)
    callbacks = [callback(*item) for item in told.get("callbacks", {}).items()]  # once, and used by all fits
    log: list[Any] = [None] * epochs
    for start in range(0, epochs, every):
        if start and "between" in told:
            model = between[told["between"]](model)
        first = start if told.get("counted") else 0
        history = model.fit(
            data["X"],
            data["y"],
            batch_size=common["batch"],
            shuffle=False,
            verbose=0,
            validation_data=(data["Xv"], data["yv"]),
            initial_epoch=first,
            epochs=first + every,
            callbacks=callbacks,
            **told.get("fit", {}),
        ).history
        for i, pair in enumerate(zip(history["loss"], history["val_loss"], strict=True)):
            log[start + i] = [float(x) for x in pair]
    weights = {str(n): np.asarray(w).tolist() for n, w in enumerate(model.get_weights())}
    return {"log": log, "weights": weights}


if __name__ == "__main__":
    run(train, "keras", os.environ["KERAS_BACKEND"], raises=(Exception,))  # compared with what is expected
