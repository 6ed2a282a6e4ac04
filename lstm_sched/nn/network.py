"""The LSTM: its parameters, the network around its layers (layer.py) and what that minimises.

No other file knows what an LSTM is, but layer.py and fused.py, a layer over time and its gradient, and joint.py and
interop.py, its weights as others hold them. Parameters are Flax's: a network is
`{"lstm_0": cell, "lstm_1": cell, …, "head": {"kernel": (H, O), "bias": (O,)}}`, and a cell is the parameters
of `flax.linen.OptimizedLSTMCell`, one kernel a gate.
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

Carry = tuple[CellCarry, ...]  # one a layer


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


INITS = {  # of a cell, of the head's kernel
    "keras": (_keras_cell, jax.nn.initializers.glorot_uniform()),
    "flax": (_flax_cell, jax.nn.initializers.lecun_normal()),
}


def check(
    *,
    features: int = 1,
    hidden: int = 1,
    layers: int = 1,
    outputs: int = 1,
    dropout: float = 0.0,
    init: str = "keras",
    loss: str = "mse",
) -> None:
    """ValueError for what no network can have; `init`, `apply` and `loss` ask it too."""
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
    """Fresh weights in the default float dtype.

    `keras`: Glorot-uniform over the joint (F, 4H) kernel, orthogonal rows of the joint (H, 4H) kernel, bias
    0 and for the forget gate 1. `flax`: LeCun-normal and orthogonal kernels gate by gate, bias 0.
    """
    check(init=scheme, features=features, hidden=hidden, layers=layers, outputs=outputs)
    init_cell, init_head = INITS[scheme]
    head_key, *keys = jax.random.split(key, 1 + layers)
    cells = {f"lstm_{n}": init_cell(k, hidden if n else features, hidden) for n, k in enumerate(keys)}
    return cells | {"head": {"kernel": init_head(head_key, (hidden, outputs)), "bias": jnp.zeros((outputs,))}}


def zero_carry(params: Params, batch: int) -> Carry:
    """The states of all layers before the first step: zeros."""
    first = [params[f"lstm_{n}"]["hi"]["bias"] for n in range(len(params) - 1)]
    return tuple((z_BH := jnp.zeros((batch, b.shape[0]), b.dtype), z_BH) for b in first)


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
    """The prediction y_BO from the last step, and each layer's state after it; no carry starts from zeros.

    Dropout is inverted and falls on each layer's output, a mask each; without a key nothing is dropped.
    `layer` is one of `layer.LAYERS`. Steps where `mask_BT` is False are left out in every layer.
    """
    check(dropout=dropout)
    layers = len(params) - 1
    begin = (None,) * layers if carry is None else carry
    if len(begin) != layers:
        raise ValueError(f"carry: {len(begin)} states; allowed: {layers}, one a layer")
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
    """Each sample's loss_B (`losses.LOSSES[kind]`), and the states after the last step.

    `carry`: a state for each layer. None and `()` start from zeros, and `()` comes back: nothing is carried.
    """
    check(loss=kind)
    output_BO, after = apply(params, x_BTF, carry or None, dropout=dropout, key=key, layer=layer)
    return sample_losses(kind, output_BO, y_BO), () if carry == () else after


def nudge(params: Params) -> Params:
    """The weights with the largest recurrent one of the first layer moved by a unit in its last place, away from 0; it
    is moved on the host."""
    layer = params["lstm_0"]
    recurrent = {name: np.asarray(gate["kernel"]) for name, gate in layer.items() if name.startswith("h")}
    largest = max(np.abs(kernel_HH).max() for kernel_HH in recurrent.values())
    for name, kernel_HH in recurrent.items():
        away_HH = np.nextafter(kernel_HH, np.copysign(np.inf, kernel_HH))
        layer = layer | {
            name: layer[name] | {"kernel": np.where(np.abs(kernel_HH) == largest, away_HH, kernel_HH)}
        }
    return params | {"lstm_0": layer}


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
    """An LSTM forecaster: `layers` × `hidden` units, then a dense head. Keywords as in `init_params`, `loss_of` and
    `Learner`; `stateful` carries each lane's state from batch to batch, for which the order must be SEQUENTIAL;
    `form` is one of `layer.LAYERS`: `recomputed` keeps less memory, `scan` has forward mode, `cudnn` is for a GPU."""
    for name, count in (("steps", steps), ("accumulate", accumulate)):
        if count is not None and count < 1:
            raise ValueError(f"{name}: {count}; allowed: 1 and more")
    if stateful and order is not SEQUENTIAL:
        raise ValueError("stateful: a state is carried from batch to batch only in the order SEQUENTIAL")
    check(
        features=features,
        hidden=hidden,
        layers=layers,
        outputs=outputs,
        dropout=dropout,
        init=init,
        loss=loss,
    )
    check_name("form", form, lstm_layers.LAYERS)
    return Learner(
        init=functools.partial(
            init_params, features=features, hidden=hidden, layers=layers, outputs=outputs, scheme=init
        ),
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
