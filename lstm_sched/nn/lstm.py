"""One LSTM layer over time in three forms: with the gradient of `fused`, as a scan of Flax's cell, by cuDNN.

Letters: B batch, T time, F features, H hidden units.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array, lax

from lstm_sched.nn.fused import fused_lstm
from lstm_sched.nn.gates import Params, pack

CellCarry = tuple[Array, Array]  # Flax's (c_BH, h_BH)
Layer = Callable[[Params, Array, CellCarry | None, Array | None], tuple[CellCarry, Array]]


def _begin(
    cell_params: Params, x_BTF: Array, carry: CellCarry | None, mask_BT: Array | None = None
) -> CellCarry:
    features, hidden = cell_params["ii"]["kernel"].shape
    if x_BTF.ndim != 3 or x_BTF.shape[-1] != features:
        raise ValueError(f"x_BTF: shape {x_BTF.shape}; allowed: (batch, time, {features})")
    if mask_BT is not None and (mask_BT.shape != x_BTF.shape[:2] or mask_BT.dtype != bool):
        raise ValueError(f"mask_BT: {mask_BT.dtype}{mask_BT.shape}; allowed: bool{x_BTF.shape[:2]}")
    zeros_BH = jnp.zeros((x_BTF.shape[0], hidden), x_BTF.dtype)
    return (zeros_BH, zeros_BH) if carry is None else carry


def lstm_layer(
    cell_params: Params,
    x_BTF: Array,
    carry: CellCarry | None = None,
    mask_BT: Array | None = None,
    *,
    recompute: bool = False,
) -> tuple[CellCarry, Array]:
    """Run an LSTM layer over a sequence, with the fast gradient of `fused_lstm`.

    Inside `shard_map` it needs `check_vma=False`.

    Args:
        cell_params: of a Flax cell, as `gates.unpack` makes them.
        x_BTF: the input.
        carry: c_BH and h_BH before the first step; None for zeros.
        mask_BT: booleans. Steps where it is False change neither state nor output, as in Keras.
        recompute: whether the gradient keeps 2H + F + 1 numbers per sample and time step instead of 7H + F + 1, and
            takes 1.2 × the time.

    Returns:
        c_BH and h_BH after the last step, and the output h_BTH of every step.

    Raises:
        TypeError: for a derivative in forward mode (jax.jvp, jacfwd), which only `scan_lstm` supports.
        ValueError: for an input or a mask of another shape.
    """
    begin = _begin(cell_params, x_BTF, carry, mask_BT)
    return fused_lstm(*pack(cell_params), x_BTF, begin, mask_BT, recompute)


def scan_lstm(
    cell_params: Params, x_BTF: Array, carry: CellCarry | None = None, mask_BT: Array | None = None
) -> tuple[CellCarry, Array]:
    """`lstm_layer` as a plain scan of Flax's cell: the reference, with derivatives of every mode."""
    begin = _begin(cell_params, x_BTF, carry, mask_BT)
    cell: Any = nn.OptimizedLSTMCell(begin[1].shape[-1])

    def step(state: CellCarry, inputs: tuple[Array, Array | None]) -> tuple[CellCarry, Array]:
        x_BF, live_B = inputs
        after, _ = cell.apply({"params": cell_params}, state, x_BF)
        if live_B is not None:
            after = jax.tree.map(functools.partial(jnp.where, live_B[:, None]), after, state)
        return after, after[1]

    live_TB = None if mask_BT is None else mask_BT.T
    after, h_TBH = lax.scan(step, begin, (jnp.swapaxes(x_BTF, 0, 1), live_TB))
    return after, jnp.swapaxes(h_TBH, 0, 1)


def cudnn_lstm(
    cell_params: Params, x_BTF: Array, carry: CellCarry | None = None, mask_BT: Array | None = None
) -> tuple[CellCarry, Array]:
    """`lstm_layer` by cuDNN (`jax.experimental.rnn`). It is not tested on a GPU yet.

    It cannot be vmapped over trainings. It computes in TF32 unless JAX's default precision is `highest`.

    Raises:
        ValueError: for a platform other than an NVIDIA GPU, a dtype other than float32, and for a mask.
    """
    begin = _begin(cell_params, x_BTF, carry, mask_BT)
    if jax.default_backend() != "gpu":
        raise ValueError(f"cudnn_lstm: on {jax.default_backend()}; allowed: on an NVIDIA GPU")
    if x_BTF.dtype != jnp.float32:
        raise ValueError(f"cudnn_lstm: {x_BTF.dtype}; allowed: float32")
    if mask_BT is not None:
        raise ValueError("cudnn_lstm: a mask of steps; allowed: none")
    from jax.experimental import rnn  # its import looks for cuDNN

    kernel_FG, recurrent_HG, bias_G = pack(cell_params)
    parts = kernel_FG.T, recurrent_HG.T, bias_G, jnp.zeros_like(bias_G)  # cuDNN adds two biases
    weights = jnp.concatenate([part.ravel() for part in parts])
    batch, time, features = x_BTF.shape
    c_1BH, h_1BH = (a[None] for a in begin)
    lengths_B = jnp.full(batch, time, jnp.int32)
    sizes = features, begin[1].shape[-1], 1, 0.0, False  # one layer, no dropout, one direction
    by_cudnn: Any = rnn.lstm
    h_BTH, h_1BH, c_1BH = by_cudnn(x_BTF, h_1BH, c_1BH, weights, lengths_B, *sizes)
    return (c_1BH[0], h_1BH[0]), h_BTH


LAYERS: dict[str, Layer] = {
    "fused": lstm_layer,
    "recomputed": functools.partial(lstm_layer, recompute=True),  # a third of the memory for the gradient
    "scan": scan_lstm,  # derivatives in forward mode
    "cudnn": cudnn_lstm,  # for one training on a GPU
}
