"""Records forms.npz: Keras' optimizers and ways to clip on two small LSTM layers, some variables clipped and some not.

    KERAS_BACKEND=tensorflow python tests/oracle/forms.py

For each arm `<arm>/loss` of every epoch and `<arm>/weights` after the last, flat. No test needs Keras: recorded with
Keras 3.15.1 on TensorFlow 2.21.0 in float64. Weights are drawn by NumPy, nothing is shuffled.
"""

from pathlib import Path
from typing import Any

import keras  # pyright: ignore[reportMissingImports]
import numpy as np

OPTIMIZERS = {
    "adamw": lambda: keras.optimizers.AdamW(0.01),
    "nesterov": lambda: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "lion": lambda: keras.optimizers.Lion(0.001),
    "rmsprop_centered": lambda: keras.optimizers.RMSprop(0.001, rho=0.8, momentum=0.5, centered=True),
    "clipnorm": lambda: keras.optimizers.SGD(0.1, clipnorm=0.1),
    "global_clipnorm": lambda: keras.optimizers.SGD(0.1, global_clipnorm=0.2),
    "clipvalue": lambda: keras.optimizers.SGD(0.1, clipvalue=0.05),
    "clipnorm_adamw": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1, clipnorm=0.1),
}

keras.config.set_floatx("float64")
rng = np.random.default_rng(0)
X, y = rng.normal(size=(24, 6, 2)), rng.normal(size=(24, 1))
shapes = [(2, 16), (4, 16), (16,), (4, 16), (4, 16), (16,), (4, 1), (1,)]
weights = [0.5 * rng.normal(size=shape) for shape in shapes]
record: dict[str, Any] = {"X": X, "y": y} | {f"weights_{n}": w for n, w in enumerate(weights)}
for name, optimizer in OPTIMIZERS.items():
    layers = [keras.layers.LSTM(4, return_sequences=True), keras.layers.LSTM(4), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((6, 2)), *layers])
    model.set_weights(weights)
    model.compile(optimizer(), "mse")
    history = model.fit(X, y, batch_size=8, epochs=8, shuffle=False, verbose=0)
    record[f"{name}/loss"] = np.array(history.history["loss"])
    record[f"{name}/weights"] = np.concatenate([w.ravel() for w in model.get_weights()])
np.savez_compressed(Path(__file__).with_name("forms.npz"), **record)
