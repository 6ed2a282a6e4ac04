"""This library's side of `conformance`: it trains a row with its presets and brings weights into one form.

Letters: E epochs.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.conformance.dense_rows import SEED
from experiments.conformance.rows import ARRAYS, EPOCHS, STEPS, TORCH, Row
from lstm_sched import monitor, rules
from lstm_sched.data.windows import Data, Samples
from lstm_sched.loop import run
from lstm_sched.members import Hyper, member, start
from lstm_sched.nn.interop import from_keras, from_torch, to_keras
from lstm_sched.presets import SKORCH_FIT
from lstm_sched.schedules import tabulate
from lstm_sched.state import Origin, init_params

_run_jit = jax.jit(run, static_argnames=("learner", "epochs"))


def ours(row: Row) -> tuple[np.ndarray, np.ndarray]:
    """Loss and validation loss of each epoch, (E, 2), NaN where none was trained; the weights at the end, flat."""
    with jax.enable_x64(row.wide):
        return _train(row)


def _train(row: Row) -> tuple[np.ndarray, np.ndarray]:
    assert row.learner is not None
    arrays = {name: jnp.asarray(a, float) for name, a in ARRAYS.items()}
    train, val = Samples(arrays["X"], arrays["y"]), Samples(arrays["Xv"], arrays["yv"])
    key = jax.random.key(SEED)
    if dense(row):
        params = init_params(row.learner, key)
    else:
        params = from_keras([arrays[name] for name in sorted(arrays) if name.startswith("weights_")])
    origin = Origin(key, params, redraw=np.bool_(True) if row.policy is SKORCH_FIT else ())
    watch = monitor.watch(EPOCHS, **dict(row.rules)) if row.learner.watched else ()
    hp = Hyper(tabulate(row.rate, STEPS), watch, row.average)
    when, ends = rules.every(row.every, EPOCHS), rules.ends(row.every, EPOCHS)
    one = member(row.learner, hp, row.policy, when, origin, ends)
    progress, log = _run_jit(row.learner, one, Data(train, val, val), start(row.learner, origin), EPOCHS)
    log_E2 = np.stack([log.loss, log.val], axis=1)
    log_E2[~np.asarray(log.trained)] = np.nan
    return log_E2, flat(progress.state.params if dense(row) else to_keras(progress.state.params))


def dense(row: Row) -> bool:
    """Whether the row trains a dense network rather than an LSTM."""
    return "sklearn" in row.backends or "skorch" in row.backends


def flat(weights: Sequence[Any]) -> np.ndarray:
    """All weights in one flat array."""
    return np.concatenate([np.ravel(w) for w in weights])


def theirs(name: str, row: Row, weights: dict[str, Any]) -> np.ndarray:
    """The package's weights in the form of `ours`: flat, and in Keras' layout for an LSTM."""
    with jax.enable_x64(row.wide):
        arrays = {key: np.asarray(w, np.float64 if row.wide else np.float32) for key, w in weights.items()}
        if dense(row):
            return flat(list(arrays.values()))
        return flat(to_keras(from_torch(arrays) if name in TORCH else from_keras(list(arrays.values()))))
