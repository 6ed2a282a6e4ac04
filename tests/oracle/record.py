"""Records keras_more.npz: callbacks, shorter epochs, averages, carried states and files in Keras' loops of fits.

    KERAS_BACKEND=jax python tests/oracle/record.py && KERAS_BACKEND=tensorflow python tests/oracle/record.py

For each arm `<arm>/log`, a row an epoch of the run: loss, validation loss and rate of the last step, NaN where there
was no such epoch or validation; and `<arm>/weights` when the last fit has returned, flat. Arguments are beginnings of
names of arms: only those are recorded again. No test needs Keras: recorded with Keras 3.15.1 on JAX 0.10.2 and
TensorFlow 2.21.0 in float32. Data and weights are drawn by NumPy, nothing is shuffled. What Keras cannot do on JAX (a
second fit with use_ema raises, stateful=True carries nothing from batch to batch) is TensorFlow's. What is not modelled
here is not recorded: ema_overwrite_frequency, monitors other than val_loss, validation_steps.
"""

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import keras  # pyright: ignore[reportMissingImports]
import numpy as np
from keras.callbacks import EarlyStopping as Stop  # pyright: ignore[reportMissingImports]
from keras.callbacks import LearningRateScheduler as Rates  # pyright: ignore[reportMissingImports]
from keras.callbacks import ReduceLROnPlateau as Plateau  # pyright: ignore[reportMissingImports]
from keras.optimizers import SGD, Adam, AdamW, RMSprop  # pyright: ignore[reportMissingImports]

FILE = Path(__file__).with_name("keras_more.npz")
EPOCHS, BATCH, LR = 12, 16, 0.06
LOW = 0.02  # where rounding would grow too far
FACTORS = np.linspace(1, 0.3, EPOCHS)  # of the rate, an epoch each
LOSS = keras.losses.MeanSquaredError()

rng = np.random.default_rng(5)
X, Xv = rng.normal(size=(100, 6, 2)), rng.normal(size=(40, 6, 2))
y, yv = (np.tanh(a[:, -3:].sum((1, 2)))[:, None] + 0.5 * rng.normal(size=(len(a), 1)) for a in (X, Xv))
SHAPES = [(2, 32), (8, 32), (32,), (8, 1), (1,)]
WEIGHTS = [0.4 * rng.normal(size=shape) for shape in SHAPES]
DATA = {"X": X, "y": y, "Xv": Xv, "yv": yv, "wv": rng.uniform(0, 2, 40), "factors": FACTORS}
DATA |= {f"weights_{n}": w for n, w in enumerate(WEIGHTS)}
DATA = {name: a.astype("float32") for name, a in DATA.items()}


class Arm(NamedTuple):
    """A run of EPOCHS epochs as fits of `every`."""

    optimizer: Callable[[], Any] = partial(Adam, LR)
    every: int = EPOCHS
    callbacks: Callable[[], list[Any]] = list  # made once, used by all fits
    between: Callable[[Any, Any], Any] | None = None  # (model, optimizer) -> model of the next fit
    counted: bool = False  # fits are told their initial_epoch
    fit: Any = ()  # further keywords of fit
    weighted: bool = False  # validation samples have weights
    stateful: bool = False


class Log(keras.callbacks.Callback):
    """Rows of loss, validation loss and rate of the last step: first of the callbacks, before any changes the rate."""

    def on_train_begin(self, logs=None):
        self.rows = []

    def on_epoch_end(self, epoch, logs: Any = None):
        optimizer: Any = self.model.optimizer
        rate: Any = optimizer._learning_rate
        rate = rate(optimizer._iterations - 1) if callable(rate) else optimizer.learning_rate
        self.rows.append((logs["loss"], logs.get("val_loss", np.nan), float(rate)))


class Reset(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.model.layers[0].reset_state()


def build(arm: Arm) -> Any:
    # A stateful layer's number of lanes is its batch size.
    data = keras.Input((6, 2), batch_size=BATCH if arm.stateful else None)
    model = keras.Sequential([data, keras.layers.LSTM(8, stateful=arm.stateful), keras.layers.Dense(1)])
    model.set_weights([DATA[f"weights_{n}"] for n in range(5)])
    model.compile(arm.optimizer(), LOSS)
    return model


def recompile(model, optimizer):
    model.compile(optimizer(), LOSS)
    return model


def compile_same(model, optimizer):
    model.compile(model.optimizer, LOSS)
    return model


def reset(model, optimizer):
    model.layers[0].reset_state()
    return model


def reload(model, optimizer):
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/model.keras")
        return keras.models.load_model(f"{folder}/model.keras")


def reload_weights(model, optimizer, built=False):
    """Into a new model; `built`: whose optimizer already has its variables, and so takes them from the file."""
    new = recompile(keras.models.clone_model(model), optimizer)
    if built:
        new.optimizer.build(new.trainable_variables)
    with tempfile.TemporaryDirectory() as folder:
        model.save_weights(f"{folder}/model.weights.h5")
        new.load_weights(f"{folder}/model.weights.h5")
    return new


def reload_h5(model, optimizer):
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/model.h5")
        new = keras.models.load_model(f"{folder}/model.h5")
    new.optimizer.built = False  # it was built for no variables at all: fit raises without this
    return new


def record(arm: Arm) -> tuple[np.ndarray, np.ndarray]:
    """The log (EPOCHS, 3), and the weights, flat."""
    log = np.full((EPOCHS, 3), np.nan, "float32")
    model, callbacks = build(arm), [Log(), *arm.callbacks()]
    train, val = (96, 32) if arm.stateful else (100, 40)
    validation = (DATA["Xv"][:val], DATA["yv"][:val], *([DATA["wv"]] if arm.weighted else []))
    for start in range(0, EPOCHS, arm.every):
        if start and arm.between:
            model = arm.between(model, arm.optimizer)
        first = start if arm.counted else 0
        keywords = {"batch_size": BATCH, "shuffle": False, "verbose": 0, "validation_data": validation}
        keywords |= dict(arm.fit)
        keywords |= {
            "initial_epoch": first,
            "epochs": first + min(arm.every, EPOCHS - start),
            "callbacks": callbacks,
        }
        model.fit(DATA["X"][:train], DATA["y"][:train], **keywords)
        rows = callbacks[0].rows
        log[start : start + len(rows)] = rows
    return log, np.concatenate([np.ravel(w) for w in model.get_weights()])


def absolute(epoch):
    return float(LR * FACTORS[epoch])


def compounding(epoch, rate):
    return float(rate * FACTORS[epoch])


def cosine(lr=LR, **keywords):
    return Adam(keras.optimizers.schedules.CosineDecay(lr, 84), **keywords)


best = partial(Stop, restore_best_weights=True)
flat = partial(Plateau, factor=0.5, patience=1, min_delta=0.01)
accumulating = partial(Adam, LOW, gradient_accumulation_steps=3)
decaying = partial(AdamW, weight_decay=0.1, clipnorm=0.1)
averaging = partial(Adam, LR, use_ema=True, ema_momentum=0.9)
both = partial(accumulating, use_ema=True, ema_momentum=0.9)

JAX = {
    "stop/patience0": Arm(callbacks=lambda: [Stop(patience=0)]),
    "stop/patience1": Arm(callbacks=lambda: [best(patience=1)]),
    "stop/patience3": Arm(callbacks=lambda: [best(patience=3)]),
    "stop/min_delta": Arm(callbacks=lambda: [best(patience=2, min_delta=0.02)]),
    "stop/baseline": Arm(callbacks=lambda: [best(patience=5, baseline=0.6)]),
    "stop/start_from": Arm(callbacks=lambda: [best(patience=2, start_from_epoch=5)]),
    "stop/not_restored": Arm(callbacks=lambda: [Stop(patience=99)]),
    "stop/restored": Arm(callbacks=lambda: [best(patience=99)]),
    "stop/loop": Arm(every=3, callbacks=lambda: [Stop(patience=0)]),
    "stop/loop_restored": Arm(every=3, callbacks=lambda: [best(patience=1)]),
    "stop/initial_epoch": Arm(every=3, callbacks=lambda: [Stop(patience=0), Rates(absolute)], counted=True),
    "stop/start_from_initial_epoch": Arm(every=3, callbacks=lambda: [best(start_from_epoch=4)], counted=True),
    "plateau/cooldown": Arm(callbacks=lambda: [flat(cooldown=2)]),
    "plateau/min_rate": Arm(callbacks=lambda: [flat(min_lr=0.02)]),
    "plateau/loop": Arm(every=3, callbacks=lambda: [flat()]),
    "plateau/initial_epoch": Arm(every=6, callbacks=lambda: [flat(cooldown=2)], counted=True),
    "plateau/recompile": Arm(every=3, callbacks=lambda: [flat()], between=recompile),
    "plateau/stop": Arm(callbacks=lambda: [flat(), best(patience=4)]),
    "plateau/compounding": Arm(callbacks=lambda: [Rates(compounding), flat()]),
    "plateau/absolute": Arm(callbacks=lambda: [flat(cooldown=2, min_lr=0.02), Rates(absolute)]),
    "rates/loop": Arm(every=3, callbacks=lambda: [Rates(absolute)]),
    "rates/loop_compounding": Arm(every=3, callbacks=lambda: [Rates(compounding)]),
    "rates/initial_epoch": Arm(every=3, callbacks=lambda: [Rates(compounding)], counted=True),
    "rates/recompile": Arm(every=3, callbacks=lambda: [Rates(compounding)], between=recompile),
    "freq/2_stop": Arm(callbacks=lambda: [best(patience=1)], fit={"validation_freq": 2}),
    "freq/3_stop": Arm(callbacks=lambda: [Stop(patience=0)], fit={"validation_freq": 3}),
    "freq/1_4_stop": Arm(callbacks=lambda: [best(min_delta=0.4)], fit={"validation_freq": [1, 4]}),
    "freq/2_plateau": Arm(callbacks=lambda: [flat(cooldown=1)], fit={"validation_freq": 2}),
    "freq/2_loop": Arm(every=1, callbacks=lambda: [best()], fit={"validation_freq": 2}),
    "freq/2_initial_epoch": Arm(
        every=1, callbacks=lambda: [best(), flat()], counted=True, fit={"validation_freq": 2}
    ),
    "freq/2_loop_of_3": Arm(every=3, callbacks=lambda: [best(), flat()], fit={"validation_freq": 2}),
    "average/fit": Arm(averaging),
    "average/stop": Arm(averaging, callbacks=lambda: [Stop(patience=1)]),
    "average/stop_restored": Arm(averaging, callbacks=lambda: [best(patience=1)]),
    "average/accumulate": Arm(both),
    "accumulate/loop": Arm(accumulating, every=2),
    "accumulate/recompile": Arm(accumulating, every=5, between=recompile),
    "accumulate/reload": Arm(accumulating, every=2, between=reload),
    "accumulate/cosine": Arm(lambda: cosine(LOW, gradient_accumulation_steps=3)),
    "accumulate/cosine_recompile": Arm(
        lambda: cosine(LOW, gradient_accumulation_steps=3), 4, between=recompile
    ),
    "accumulate/adamw_clipnorm": Arm(
        partial(decaying, LOW, gradient_accumulation_steps=3), 4, between=recompile
    ),
    "steps/3": Arm(fit={"steps_per_epoch": 3}),
    "steps/3_loop": Arm(every=2, fit={"steps_per_epoch": 3}),
    "steps/3_recompile": Arm(every=4, between=recompile, fit={"steps_per_epoch": 3}),
    "steps/10": Arm(fit={"steps_per_epoch": 10}),
    "steps/10_loop": Arm(every=2, fit={"steps_per_epoch": 10}),
    "weighted/stop": Arm(callbacks=lambda: [best(patience=1)], weighted=True),
    "nesterov/rates": Arm(partial(SGD, LR, 0.9, True), 3, lambda: [Rates(absolute)], recompile),
    "rmsprop/rates": Arm(
        partial(RMSprop, 0.1 * LR, momentum=0.5, centered=True), 3, lambda: [Rates(compounding)], recompile
    ),
    "adamw/clipnorm": Arm(partial(decaying, LR), 3, lambda: [flat()]),
    "adamw/clipnorm_recompile": Arm(partial(decaying, LR), 6, lambda: [flat()], recompile),
    "cosine/loop": Arm(cosine, 3),
    "cosine/recompile": Arm(cosine, 3, between=recompile),
    "cosine/reload": Arm(cosine, 3, between=reload),
    "files/compile_same": Arm(every=3, callbacks=lambda: [flat()], between=compile_same),
    "files/reload": Arm(every=3, callbacks=lambda: [flat()], between=reload),
    "files/reload_weights": Arm(every=3, callbacks=lambda: [flat()], between=reload_weights),
    "files/reload_weights_built": Arm(
        every=3, callbacks=lambda: [flat()], between=partial(reload_weights, built=True)
    ),
    "files/reload_h5": Arm(every=3, callbacks=lambda: [flat()], between=reload_h5),
}
stateful = partial(Arm, partial(Adam, LOW), stateful=True)
TENSORFLOW = {
    "average/loop": Arm(averaging, 3),
    "average/recompile": Arm(averaging, 3, between=recompile),
    "average/reload": Arm(averaging, 3, between=reload),
    "average/loop_stop": Arm(averaging, 3, lambda: [Stop(patience=0)]),
    "average/loop_stop_restored": Arm(averaging, 3, lambda: [best(patience=0)]),
    "average/accumulate_loop": Arm(both, 2),
    "average/accumulate_recompile": Arm(both, 4, between=recompile),
    "stateful/fit": stateful(),
    "stateful/unvalidated": stateful(fit={"validation_data": None}),
    "stateful/freq_2": stateful(fit={"validation_freq": 2}),
    "stateful/reset": stateful(callbacks=lambda: [Reset()]),
    "stateful/loop": stateful(every=3),
    "stateful/loop_reset": stateful(every=3, between=reset),
    "stateful/recompile": stateful(every=3, between=recompile),
    "stateful/reload": stateful(every=3, between=reload),
    "stateful/reload_weights": stateful(every=3, between=reload_weights),
    "stateful/stop_restored": stateful(every=3, callbacks=lambda: [best(patience=0)]),
}


if __name__ == "__main__":
    arms = {"jax": JAX, "tensorflow": TENSORFLOW}[keras.backend.backend()]
    result: dict[str, Any] = dict(np.load(FILE)) if FILE.exists() else {}
    result |= DATA
    for name, arm in arms.items():
        if name.startswith(tuple(sys.argv[1:]) or ""):
            result[f"{name}/log"], result[f"{name}/weights"] = record(arm)
            print(name, *result[f"{name}/log"][:, 1].round(4), flush=True)
    np.savez_compressed(FILE, **result)
