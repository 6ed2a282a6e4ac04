"""The trainings that `conformance` compares: each row as JSON for the package and as presets of this library.

scripts/keras_rows.py and scripts/torch_rows.py read the JSON. dense_rows.py has the rows of a dense network.
Letters: N samples, E epochs.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lstm_sched import monitor
from lstm_sched.learner import Learner
from lstm_sched.monitor import plateau, stopping
from lstm_sched.nn.network import lstm
from lstm_sched.optimizers import Factory, keras_adam
from lstm_sched.orders import SEQUENTIAL, given
from lstm_sched.presets import (
    CONTINUE,
    KERAS_INITIAL_EPOCH,
    KERAS_LOOP,
    KERAS_RECOMPILE,
    KERAS_RELOAD,
    KERAS_RELOAD_WEIGHTS,
)
from lstm_sched.state import TrainState

EPOCHS, BATCH, HIDDEN = 12, 16, 8
RATE, LOW = 0.06, 0.02  # LOW is used where rounding would grow too far
LOSSES, WEIGHTS = 1e-6, 5e-5  # largest differences allowed in float32
WIDE = 1e-9  # the same for both in float64
BOTH = ("jax", "tensorflow")
_rng = np.random.default_rng(5)
_X, _XV = _rng.normal(size=(100, 6, 2)), _rng.normal(size=(40, 6, 2))
_Y, _YV = (np.tanh(a[:, -3:].sum((1, 2)))[:, None] + 0.5 * _rng.normal(size=(len(a), 1)) for a in (_X, _XV))
_SHAPES = [(2, 4 * HIDDEN), (HIDDEN, 4 * HIDDEN), (4 * HIDDEN,), (HIDDEN, 1), (1,)]
_FIRST = [0.4 * _rng.normal(size=shape) for shape in _SHAPES]
FACTOR_E = np.linspace(1, 0.3, EPOCHS).astype("float32")  # of the rate
ORDER_EN = np.stack([_rng.permutation(len(_X)) for _ in range(EPOCHS)])  # PyTorch is given its batches
STEPS = -(-len(_X) // BATCH) * EPOCHS
ARRAYS = {"X": _X, "y": _Y, "Xv": _XV, "yv": _YV} | {f"weights_{n}": w for n, w in enumerate(_FIRST)}
ARRAYS = {name: a.astype("float32") for name, a in ARRAYS.items()} | {"factors": FACTOR_E, "orders": ORDER_EN}


class Row(NamedTuple):
    """One way of training, described for the package and for this library."""

    expected: str  # of the package, in prose
    told: dict[str, Any]
    learner: Learner | None = None  # None where the package is expected to raise
    policy: TrainState = CONTINUE
    every: int = EPOCHS  # epochs per fit
    rate: float = RATE
    average: Any = ()
    rules: Any = ()  # what keras_rules.watch takes
    backends: tuple[str, ...] = BOTH
    raises: str = ""  # the type of its error
    wide: bool = False  # in float64


def _two_biases(factory: Factory) -> Factory:
    """Double the updates of LSTM biases, as nn.LSTM adds two biases that get the same gradient."""

    def twice(path: tuple, update: Any) -> Any:
        names = [key.key for key in path]
        return 2 * update if names[0] != "head" and names[-1] == "bias" else update

    def double(updates: Any, params: Any) -> Any:
        return jax.tree_util.tree_map_with_path(twice, updates)

    return lambda rate: optax.chain(factory(rate), optax.stateless(double))


_small = partial(lstm, features=2, hidden=HIDDEN, batch=BATCH)
_adam = partial(_small, keras_adam, order=SEQUENTIAL, watched=True)
_given = given(jnp.asarray(ORDER_EN))
_torch_adam, _torch_sgd = (
    _small(_two_biases(factory), order=_given) for factory in (optax.adam, partial(optax.sgd, momentum=0.9))
)
_row = partial(Row, learner=_adam())
_absolute = {"rate": monitor.absolute(FACTOR_E)}
_compounding = {"rate": monitor.compounding(FACTOR_E)}
_best = {"EarlyStopping": {"patience": 1, "restore_best_weights": True}}
_flat = {"ReduceLROnPlateau": {"factor": 0.5, "patience": 1, "min_delta": 0.01}}
_scheduler = "LearningRateScheduler"
_ema = {"use_ema": True, "ema_momentum": 0.9}

KERAS = {
    "fit": _row("one fit", {}),
    "fit loop": _row("one fit: nothing is dropped that it reads", {"every": 1}, policy=KERAS_LOOP, every=1),
    "recompile": _row(
        "moments and count dropped", {"every": 3, "between": "recompile"}, policy=KERAS_RECOMPILE, every=3
    ),
    "f(epoch) in each fit": _row(
        "every fit is told epochs 0, 1, 2",
        {"every": 3, "callbacks": {_scheduler: "absolute"}},
        policy=KERAS_LOOP,
        every=3,
        rules=_absolute,
    ),
    "f(epoch) with initial_epoch": _row(
        "as in one fit",
        {"every": 3, "counted": True, "callbacks": {_scheduler: "absolute"}},
        policy=KERAS_INITIAL_EPOCH,
        every=3,
        rules=_absolute,
    ),
    "f(epoch, lr) in one fit": _row(
        "compounds", {"callbacks": {_scheduler: "compounding"}}, rules=_compounding
    ),
    "f(epoch, lr) in each fit": _row(
        "compounds, over epochs 0, 1, 2",
        {"every": 3, "callbacks": {_scheduler: "compounding"}},
        policy=KERAS_LOOP,
        every=3,
        rules=_compounding,
    ),
    "f(epoch, lr) with initial_epoch": _row(
        "compounds as in one fit",
        {"every": 3, "counted": True, "callbacks": {_scheduler: "compounding"}},
        policy=KERAS_INITIAL_EPOCH,
        every=3,
        rules=_compounding,
    ),
    "example 3 as written": Row(
        "raises ValueError: a callback is no rate", {"example_3": True}, raises="ValueError"
    ),
    "plateau": _row("the rate is halved", {"callbacks": _flat}, rules={"plateau": plateau(1, 0.5, 0.01)}),
    "plateau in each fit": _row(
        "its memory begins anew, the rate stays",
        {"every": 3, "callbacks": _flat},
        policy=KERAS_LOOP,
        every=3,
        rules={"plateau": plateau(1, 0.5, 0.01)},
    ),
    "early stopping": _row(
        "stops, best weights put back", {"callbacks": _best}, rules={"stopping": stopping(1, restore=True)}
    ),
    "early stopping in each fit": _row(
        "each fit has its own best weights",
        {"every": 3, "callbacks": _best},
        policy=KERAS_LOOP,
        every=3,
        rules={"stopping": stopping(1, restore=True)},
    ),
    "EMA": Row("the average at the end", {"optimizer": _ema}, _adam(averaged=True), average=0.9),
    "EMA in a loop": Row(
        "the average after each fit",
        {"optimizer": _ema, "every": 3},
        _adam(averaged=True),
        KERAS_LOOP,
        3,
        average=0.9,
        backends=("tensorflow",),
    ),
    "EMA in a loop on JAX": Row(
        "the second fit raises TypeError",
        {"optimizer": _ema, "every": 3},
        backends=("jax",),
        raises="TypeError",
    ),
    "steps_per_epoch": Row("goes on in its pass", {"fit": {"steps_per_epoch": 3}}, _adam(steps=3)),
    "steps_per_epoch in a loop": Row(
        "each fit begins its pass anew",
        {"every": 2, "fit": {"steps_per_epoch": 3}},
        _adam(steps=3),
        KERAS_LOOP,
        2,
    ),
    "accumulation in a loop": Row(
        "gradients wait for the next fit",
        {"every": 2, "optimizer": {"learning_rate": LOW, "gradient_accumulation_steps": 3}},
        _adam(accumulate=3),
        KERAS_LOOP,
        2,
        LOW,
    ),
    ".keras reload": _row("optimizer kept", {"every": 3, "between": "reload"}, policy=KERAS_RELOAD, every=3),
    ".weights.h5 reload": _row(
        "optimizer dropped", {"every": 3, "between": "reload_weights"}, policy=KERAS_RELOAD_WEIGHTS, every=3
    ),
}
_rebuilt: dict[str, Any] = {"policy": KERAS_RECOMPILE, "every": 3}
_torch = partial(Row, backends=("torch",), rate=LOW)
_sgd = {"optimizer": "SGD", "lr": LOW, "momentum": 0.9}
# In float32, optax computes 1 − β2^t to five digits at first; PyTorch always uses float64.
_torch_wide = {"optimizer": "Adam", "lr": LOW, "wide": True}
TORCH = {
    "Adam kept, float64": _torch("one fit", _torch_wide, _torch_adam, wide=True),
    "Adam rebuilt, float64": _torch(
        "moments and count dropped", _torch_wide | {"every": 3}, _torch_adam, wide=True, **_rebuilt
    ),
    "SGD kept": _torch("one fit", _sgd, _torch_sgd),
    "SGD rebuilt": _torch("momentum dropped", _sgd | {"every": 3}, _torch_sgd, **_rebuilt),
}
