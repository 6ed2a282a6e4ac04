"""The real scikit-learn, told rows by a file: see loop_rows.py.

First weights and orders are scikit-learn's own, from `random_state`.
"""

from typing import Any

from loop_rows import run


def train(told: dict[str, Any], data: Any, common: dict[str, Any]) -> dict[str, Any]:
    """One row: MLPRegressor's `fit` or `partial_fit`, called again every so many epochs.

    It tells no validation loss, so that every epoch's is that of a training which ends with it.
    """
    import numpy as np
    from sklearn.neural_network import MLPRegressor  # pyright: ignore[reportMissingImports]

    x, xv = (data[name].reshape(len(data[name]), -1).astype(np.float64) for name in ("X", "Xv"))
    y, yv = (data[name][:, 0].astype(np.float64) for name in ("y", "yv"))
    epochs, every = common["epochs"], told["every"]

    def trained(epochs: int) -> Any:
        sizes = {"hidden_layer_sizes": (common["hidden"],), "batch_size": common["batch"]}
        model = MLPRegressor(activation="tanh", alpha=0.0, **sizes, **told["keywords"])
        for start in range(0, epochs, every):
            model.set_params(max_iter=min(every, epochs - start))
            getattr(model, told["call"])(x, y)
        return model

    models = [trained(1 + epoch) for epoch in range(epochs)]
    log = [[float(model.loss_), float(np.mean((model.predict(xv) - yv) ** 2) / 2)] for model in models]
    pairs = zip(models[-1].coefs_, models[-1].intercepts_, strict=True)
    weights = {str(n): w.tolist() for n, w in enumerate(w for pair in pairs for w in pair)}
    return {"log": log, "weights": weights}


if __name__ == "__main__":
    run(train, "sklearn")
