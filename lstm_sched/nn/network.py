"""The LSTM forecaster: LSTM layers and a dense head, their parameters and loss, and the learner made of them.

A network's parameters are `{"lstm_0": cell, "lstm_1": cell, …, "head": {"kernel": (H, O), "bias": (O,)}}`,
where a cell holds the parameters of `flax.linen.OptimizedLSTMCell`, one kernel per gate.
Letters: B batch, T time, F features, H hidden units, G = 4H columns: gates i, f, g, o; O outputs.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax import Array

from lstm_sched._names import check_name
from lstm_sched.learner import Learner
from lstm_sched.nn import lstm as lstm_layers
from lstm_sched.nn.gates import Params, unpack
from lstm_sched.nn.losses import LOSSES, sample_losses
from lstm_sched.nn.lstm import CellCarry, Layer, lstm_layer
from lstm_sched.orders import SEQUENTIAL, SHUFFLED, Order

Carry = tuple[CellCarry, ...]  # one per layer


def _keras_cell(key: Array, features: int, hidden: int) -> Params:
    kernel_key, recurrent_key = jax.random.split(key)
    return unpack(
        jax.nn.initializers.glorot_uniform()(kernel_key, (features, 4 * hidden)),
        jax.nn.initializers.orthogonal()(recurrent_key, (hidden, 4 * hidden)),
        jnp.repeat(jnp.array([0.0, 1.0, 0.0, 0.0]), hidden),
    )


def _flax_cell(key: Array, features: int, hidden: int) -> Params:
    zeros_1H = jnp.zeros((1, hidden))
    cell: Any = nn.OptimizedLSTMCell(hidden, param_dtype=zeros_1H.dtype)
    return cell.init(key, (zeros_1H, zeros_1H), jnp.zeros((1, features)))["params"]


INITS = {  # initialisers of a cell and of the head's kernel
    "keras": (_keras_cell, jax.nn.initializers.glorot_uniform()),
    "flax": (_flax_cell, jax.nn.initializers.lecun_normal()),
}


def _check(
    *,
    features: int = 1,
    hidden: int = 1,
    layers: int = 1,
    outputs: int = 1,
    dropout: float = 0.0,
    init: str = "keras",
    loss: str = "mse",
) -> None:
    """Raise ValueError for an argument that is not allowed."""
    sizes = {"features": features, "hidden": hidden, "layers": layers, "outputs": outputs}
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name}: {size}; allowed: 1 and more")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout: {dropout}; allowed: 0 ≤ dropout < 1")
    check_name("init", init, INITS)
    check_name("loss", loss, LOSSES)


def init_params(
    key: Array, *, features: int, hidden: int, layers: int = 1, outputs: int = 1, scheme: str = "keras"
) -> Params:
    """Draw fresh weights, in the default float dtype.

    Args:
        key: a JAX random key, which alone decides the weights.
        features, hidden, layers, outputs: sizes, each 1 or more. Every layer has `hidden` units.
        scheme: `keras` draws the joint (F, 4H) kernel Glorot-uniform and the joint (H, 4H) kernel with orthogonal
            rows; biases are 0, and 1 for the forget gate. `flax` draws LeCun-normal and orthogonal kernels gate by
            gate; biases are 0.

    Returns:
        The parameters of a network.

    Raises:
        ValueError: for a size below 1 or an unknown scheme.
    """
    _check(init=scheme, features=features, hidden=hidden, layers=layers, outputs=outputs)
    init_cell, init_head = INITS[scheme]
    head_key, *keys = jax.random.split(key, 1 + layers)
    cells = {f"lstm_{n}": init_cell(k, hidden if n else features, hidden) for n, k in enumerate(keys)}
    return cells | {"head": {"kernel": init_head(head_key, (hidden, outputs)), "bias": jnp.zeros((outputs,))}}


def zero_carry(params: Params, batch: int) -> Carry:
    """The state of each layer before the first step: zeros for c_BH and h_BH.

    Args:
        params: of the network.
        batch: number of sequences, B.
    """
    biases = [params[f"lstm_{n}"]["hi"]["bias"] for n in range(len(params) - 1)]
    return tuple((z_BH := jnp.zeros((batch, b.shape[0]), b.dtype), z_BH) for b in biases)


def _drop(h: Array, rate: float, key: Array | None) -> Array:
    if key is None or rate == 0:
        return h
    return jnp.where(jax.random.bernoulli(key, 1 - rate, h.shape), h / (1 - rate), 0)


def apply(
    params: Params,
    x_BTF: Array,
    carry: Carry | None = None,
    *,
    dropout: float = 0.0,
    key: Array | None = None,
    mask_BT: Array | None = None,
    layer: Layer = lstm_layer,
) -> tuple[Array, Carry]:
    """Predict from the last step of a sequence.

    Args:
        params: of the network.
        x_BTF: the input.
        carry: the state of each layer before the first step; None for zeros.
        dropout: rate of dropout on each layer's output; the values that stay are scaled by 1 / (1 - dropout).
        key: random key of the dropout; None drops nothing.
        mask_BT: booleans. Steps where it is False are left out in every layer. None: every step counts.
        layer: one of `lstm.LAYERS`.

    Returns:
        The prediction y_BO, and the state of each layer after the last step.

    Raises:
        ValueError: for a dropout outside [0, 1), and for shapes that do not fit the parameters.
    """
    _check(dropout=dropout)
    layers = len(params) - 1
    begin = (None,) * layers if carry is None else carry
    if len(begin) != layers:
        raise ValueError(f"carry: {len(begin)} states; allowed: {layers}, one per layer")
    keys = (None,) * layers if key is None else jax.random.split(key, layers)
    states = []
    for n in range(layers):
        state, h_BTH = layer(params[f"lstm_{n}"], x_BTF, begin[n], mask_BT)
        states.append(state)
        if n < layers - 1:
            x_BTF = _drop(h_BTH, dropout, keys[n])
    h_BH = _drop(states[-1][1], dropout, keys[-1])  # only the last step's output is read
    return h_BH @ params["head"]["kernel"] + params["head"]["bias"][None], tuple(states)


def loss_of(
    params: Params,
    carry: Carry | None,
    x_BTF: Array,
    y_BO: Array,
    key: Array | None,
    *,
    kind: str = "mse",
    dropout: float = 0.0,
    layer: Layer = lstm_layer,
) -> tuple[Array, Carry]:
    """The loss of each sample.

    Args:
        params: of the network.
        carry: the state of each layer before the first step. None and `()` stand for zeros.
        x_BTF: the input.
        y_BO: the targets (for a class or a density see `losses.sample_losses`).
        key: random key of the dropout; None drops nothing.
        kind: a name of `losses.LOSSES`.
        dropout, layer: as in `apply`.

    Returns:
        loss_B, and the state of each layer after the last step, or `()` if `carry` is `()`.

    Raises:
        ValueError: for an unknown kind, and for shapes that do not fit.
    """
    _check(loss=kind)
    output_BO, after = apply(params, x_BTF, carry or None, dropout=dropout, key=key, layer=layer)
    return sample_losses(kind, output_BO, y_BO), () if carry == () else after


def nudge(params: Params) -> Params:
    """Move the largest recurrent weight of the first layer away from 0 by one ulp; computed on the host."""
    cell = params["lstm_0"]
    recurrent = {name: np.asarray(gate["kernel"]) for name, gate in cell.items() if name.startswith("h")}
    largest = max(np.abs(kernel_HH).max() for kernel_HH in recurrent.values())
    for name, kernel_HH in recurrent.items():
        away_HH = np.nextafter(kernel_HH, np.copysign(np.inf, kernel_HH))
        nudged_HH = np.where(np.abs(kernel_HH) == largest, away_HH, kernel_HH)
        cell = cell | {name: cell[name] | {"kernel": nudged_HH}}
    return params | {"lstm_0": cell}


@functools.cache  # the same arguments are the same learner, and so the same compiled program
def lstm(
    optimizer: Callable[[Any], optax.GradientTransformation],
    *,
    features: int = 1,
    hidden: int = 50,
    layers: int = 1,
    outputs: int = 1,
    dropout: float = 0.0,
    init: str = "keras",
    loss: str = "mse",
    batch: int = 32,
    drop_last: bool = False,
    order: Order = SHUFFLED,
    noise: bool = False,
    steps: int | None = None,
    accumulate: int = 1,
    averaged: bool = False,
    watched: bool = False,
    stateful: bool = False,
    form: str = "fused",
) -> Learner:
    """Make the learner of an LSTM forecaster: `layers` × `hidden` units, then a dense head.

    The same arguments give the same learner, and so one compiled program.

    Args:
        optimizer: learning rate -> optax transformation, for example `keras_adam` or `optax.adam`.
        features, hidden, layers, outputs, init: as in `init_params`.
        dropout: rate on each layer's output in training, 0 ≤ dropout < 1.
        loss: a name of `losses.LOSSES`; `crossentropy` and `gaussian` need more outputs than target columns.
        batch, drop_last, order, noise, steps, accumulate, averaged, watched: as in `Learner`.
        stateful: whether the state is carried from batch to batch; then the order must be SEQUENTIAL.
        form: how a layer is computed.
            `fused`: with a gradient written by hand; the fastest on a CPU.
            `recomputed`: the same with about a third of the memory for the gradient, 20 % slower.
            `scan`: a plain scan of Flax's cell, which supports forward-mode derivatives.
            `cudnn`: for one training on an NVIDIA GPU; not tested on a GPU yet.

    Raises:
        ValueError: for an argument out of range, an unknown name, or `stateful` with another order.
    """
    for name, count in (("steps", steps), ("accumulate", accumulate)):
        if count is not None and count < 1:
            raise ValueError(f"{name}: {count}; allowed: 1 and more")
    if stateful and order is not SEQUENTIAL:
        raise ValueError("stateful: a state is carried from batch to batch only in the order SEQUENTIAL")
    sizes = {"features": features, "hidden": hidden, "layers": layers, "outputs": outputs}
    _check(**sizes, dropout=dropout, init=init, loss=loss)
    check_name("form", form, lstm_layers.LAYERS)
    return Learner(
        init=functools.partial(init_params, **sizes, scheme=init),
        loss=functools.partial(loss_of, kind=loss, dropout=dropout, layer=lstm_layers.LAYERS[form]),
        optimizer=optimizer,
        order=order,
        batch=batch,
        drop_last=drop_last,
        dropout=dropout > 0,
        noise=noise,
        steps=steps,
        accumulate=accumulate,
        averaged=averaged,
        watched=watched,
        carry=zero_carry if stateful else None,
    )
