"""The real Keras, told what to do by a file: run by a Python that has it, which need not have this package.

    KERAS_BACKEND=jax python conformance_keras.py data.npz told.json said.json

`said.json` holds versions and, for each row, loss and validation loss of each epoch (null where none was trained) and
the weights when the last fit has returned, or the error that was raised. Nothing is shuffled.
"""

import importlib.util
import json
import os
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any


def missing() -> str:
    """Which package is not there."""
    backend = os.environ["KERAS_BACKEND"]
    return next((name for name in ("keras", backend) if importlib.util.find_spec(name) is None), "")


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


def main(data: str, told: str, said: str) -> None:
    """All rows; an error is part of what a row says."""
    if name := missing():
        answer: dict[str, Any] = {"why_not": f"{name} is not installed"}
    else:
        import keras  # pyright: ignore[reportMissingImports]
        import numpy as np

        backend = keras.backend.backend()
        package = "tensorflow_cpu" if backend == "tensorflow" else backend
        try:
            version = metadata.version(package)
        except metadata.PackageNotFoundError:
            version = metadata.version(backend)
        asked, rows = json.loads(Path(told).read_text(encoding="utf-8")), {}
        arrays = dict(np.load(data))
        for row, what in asked["rows"].items():
            try:
                rows[row] = train(what, arrays, asked["common"])
            except Exception as error:  # to be compared with what is expected
                rows[row] = {"raised": f"{type(error).__name__}: {error}"}
        answer = {"version": f"keras {keras.__version__}, {backend} {version}", "rows": rows}
    Path(said).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
