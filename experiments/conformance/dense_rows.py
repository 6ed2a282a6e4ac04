"""The rows of `conformance` in which a dense network is trained: scikit-learn's MLPRegressor, and skorch.

One hidden layer of tanh, which reads all numbers of a window. In float64, as scikit-learn is. The JSON for the packages
is carried out by scripts/sklearn_rows.py and scripts/skorch_rows.py.
Letters: B batch, T time, F features, I = T·F inputs, H hidden units, O outputs; N samples, E epochs.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from experiments.conformance import rows
from experiments.conformance.rows import BATCH, EPOCHS, HIDDEN, LOW, Row
from lstm_sched.learner import Learner
from lstm_sched.nn.losses import sample_losses
from lstm_sched.optimizers import keras_adam
from lstm_sched.orders import SEQUENTIAL, given
from lstm_sched.presets import (
    CONTINUE,
    SCRATCH,
    SKLEARN_PARTIAL_FIT,
    SKLEARN_WARM_START,
    SKORCH_FIT,
    SKORCH_PARTIAL_FIT,
)
from lstm_sched.state import TrainState, init_params

SAMPLES, INPUTS = len(rows.ARRAYS["X"]), rows.ARRAYS["X"][0].size
SHAPES = [(INPUTS, HIDDEN), (HIDDEN,), (HIDDEN, 1), (1,)]
SEED, FIT = 3, 3  # random_state and the seed of our key; epochs per fit unless 1 or all
BETA = {
    "beta_1": 0.875,
    "beta_2": 1 - 2**-10,
}  # exact in float32, to which Keras' Adam rounds their powers

Params = tuple[Array, ...]  # kernel_IH, bias_H, kernel_HO, bias_O


def loss(
    params: Params, carry: Any, x_BTF: Array, y_BO: Array, key: Any, share: float = 1.0
) -> tuple[Array, Any]:
    """`share` × the squared error; there is no noise, and `carry` is returned unchanged."""
    kernel_IH, bias_H, kernel_HO, bias_O = params
    h_BH = jnp.tanh(x_BTF.reshape(len(x_BTF), -1) @ kernel_IH + bias_H[None])
    return share * sample_losses("mse", h_BH @ kernel_HO + bias_O[None], y_BO), carry


def uniform(key: Array) -> Params:
    """The weights that PyTorch is given at each draw: float64 values that do not depend on compilation."""
    keys = jax.random.split(key, len(SHAPES))
    return tuple(
        jnp.asarray(jax.random.uniform(k, shape, jnp.float32) - 0.5, float)
        for k, shape in zip(keys, SHAPES, strict=True)
    )


def drawn(stream: np.random.RandomState) -> list[np.ndarray]:
    """scikit-learn's first weights: Glorot's uniform distribution, for the biases too."""
    weights = []
    for kernel, bias in zip(SHAPES[::2], SHAPES[1::2], strict=True):
        bound = np.sqrt(6 / sum(kernel))
        weights += [stream.uniform(-bound, bound, shape) for shape in (kernel, bias)]
    return weights


def orders(fit: int) -> np.ndarray:
    """index_EN, scikit-learn's sample order in fits of `fit` epochs. Each fit restarts the random stream, and
    only the first draws weights before its order, which thus never returns. Epochs shuffle the last order."""
    stream, index_N, index_EN = np.random.RandomState(SEED), np.arange(SAMPLES), []
    drawn(stream)
    for epoch in range(EPOCHS):
        if epoch and epoch % fit == 0:
            stream, index_N = np.random.RandomState(SEED), np.arange(SAMPLES)
        shuffle_N = np.arange(SAMPLES)
        stream.shuffle(shuffle_N)
        index_N = index_N[shuffle_N]
        index_EN.append(index_N)
    return np.stack(index_EN)


def arrays() -> dict[str, np.ndarray]:
    """The weights that skorch's module draws: the first ones, then those before each fit, as by `restart`."""
    draws = [init_params(_torch, jax.random.key(SEED), epoch) for epoch in range(0, EPOCHS, FIT)]
    return {f"draw_{n}_{i}": np.asarray(w) for n, draw in enumerate(draws) for i, w in enumerate(draw)}


def _first(key: Array) -> Params:
    return tuple(jnp.asarray(w, float) for w in drawn(np.random.RandomState(SEED)))


_mlp = Learner(
    _first,
    partial(loss, share=0.5),
    partial(keras_adam, b1=BETA["beta_1"], b2=BETA["beta_2"], eps=1e-8),
    order=SEQUENTIAL,
    batch=BATCH,
)
_mlp_sgd = _mlp._replace(optimizer=partial(optax.sgd, momentum=0.9, nesterov=True))
_torch = Learner(uniform, loss, optax.adam, order=SEQUENTIAL, batch=BATCH)
_torch_sgd = _torch._replace(optimizer=partial(optax.sgd, momentum=0.9))
# Keyword arguments of the estimators.
_mlp_told = {"random_state": SEED, "shuffle": False, "learning_rate_init": LOW}
_adam, _sgd = _mlp_told | {"solver": "adam"} | BETA, _mlp_told | {"solver": "sgd"}
_torch_told = {"lr": LOW, "optimizer": "Adam"}
_torch_sgd_told = {"lr": LOW, "optimizer": "SGD", "optimizer__momentum": 0.9}
_warm, _shuffle = {"warm_start": True}, {"shuffle": True}


def _row(
    package: str,
    expected: str,
    call: str,
    every: int,
    learner: Learner,
    policy: TrainState,
    keywords: dict[str, Any],
) -> Row:
    told = {"call": call, "every": every, "keywords": keywords}
    return Row(expected, told, learner, policy, every, LOW, backends=(package,), wide=True)


def _shuffled(
    expected: str, call: str, every: int, policy: TrainState, keywords: dict[str, Any] = _shuffle
) -> Row:
    """A row with explicit orders, as later fits do not repeat the first fit's order, which a preset does."""
    learner = _mlp._replace(order=given(orders(every)))
    return _mlp_row(expected, call, every, learner, policy._replace(order=1), _adam | keywords)


_mlp_row, _skorch_row = partial(_row, "sklearn"), partial(_row, "skorch")
_again, _new = "one order again and again, after the first", "new weights, new optimizer"
SKLEARN = {
    "MLP fit": _mlp_row("one fit", "fit", EPOCHS, _mlp, CONTINUE, _adam),
    "MLP fit again": _mlp_row("from the same first weights", "fit", FIT, _mlp, SCRATCH, _adam),
    "MLP partial_fit": _mlp_row(
        "one fit: the optimizer is kept", "partial_fit", 1, _mlp, SKLEARN_PARTIAL_FIT, _adam
    ),
    "MLP warm_start, max_iter=1": _mlp_row(
        "a new optimizer for each epoch", "fit", 1, _mlp, SKLEARN_WARM_START, _adam | _warm
    ),
    "MLP warm_start": _mlp_row(
        "moments and count dropped", "fit", FIT, _mlp, SKLEARN_WARM_START, _adam | _warm
    ),
    "MLP SGD, partial_fit": _mlp_row(
        "the velocity is kept", "partial_fit", 1, _mlp_sgd, SKLEARN_PARTIAL_FIT, _sgd
    ),
    "MLP SGD, warm_start, max_iter=1": _mlp_row(
        "the velocity is dropped", "fit", 1, _mlp_sgd, SKLEARN_WARM_START, _sgd | _warm
    ),
    "MLP shuffled, fit": _shuffled("one fit", "fit", EPOCHS, CONTINUE),
    "MLP shuffled, partial_fit": _shuffled(_again, "partial_fit", 1, SKLEARN_PARTIAL_FIT),
    "MLP shuffled, warm_start, max_iter=1": _shuffled(_again, "fit", 1, SKLEARN_WARM_START, _shuffle | _warm),
    "MLP shuffled, warm_start": _shuffled(
        "the second fit's orders again and again", "fit", FIT, SKLEARN_WARM_START, _shuffle | _warm
    ),
}
SKORCH = {
    "skorch fit": _skorch_row("one fit", "fit", EPOCHS, _torch, CONTINUE, _torch_told),
    "skorch fit again": _skorch_row(_new, "fit", FIT, _torch, SKORCH_FIT, _torch_told),
    "skorch partial_fit": _skorch_row(
        "one fit: the optimizer is kept", "partial_fit", FIT, _torch, SKORCH_PARTIAL_FIT, _torch_told
    ),
    "skorch warm_start": _skorch_row(
        "fit is partial_fit", "fit", FIT, _torch, SKORCH_PARTIAL_FIT, _torch_told | _warm
    ),
    "skorch SGD, fit again": _skorch_row(_new, "fit", FIT, _torch_sgd, SKORCH_FIT, _torch_sgd_told),
    "skorch SGD, partial_fit": _skorch_row(
        "the momentum is kept", "partial_fit", FIT, _torch_sgd, SKORCH_PARTIAL_FIT, _torch_sgd_told
    ),
}
DENSE = SKLEARN | SKORCH
ROWS = rows.KERAS | rows.TORCH | DENSE
