"""One LSTM layer over time: with the gradient of fused.py, as a plain scan of Flax's cell, and by cuDNN.

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
    """The state after the last step and every step's output h_BTH; no carry starts from zeros.

    Where `mask_BT` is False the step is left out: state and output stay as they were (as in Keras). For its gradient
    7H + F + 1 numbers a sample and time step are kept; to `recompute` is to keep 2H + F + 1, in 1.2 of the time.
    Its gradient is written by hand: TypeError for forward mode, which `scan_lstm` has. In `shard_map`:
    `check_vma=False`.
    """
    begin = _begin(cell_params, x_BTF, carry, mask_BT)
    return fused_lstm(*pack(cell_params), x_BTF, begin, mask_BT, recompute)


def scan_lstm(
    cell_params: Params, x_BTF: Array, carry: CellCarry | None = None, mask_BT: Array | None = None
) -> tuple[CellCarry, Array]:
    """`lstm_layer` as a plain scan of Flax's cell: the reference, and differentiable in forward mode too."""
    begin = _begin(cell_params, x_BTF, carry, mask_BT)
    cell: Any = nn.OptimizedLSTMCell(begin[1].shape[-1])

    def step(state: CellCarry, now: tuple[Array, Array | None]) -> tuple[CellCarry, Array]:
        x_BF, live_B = now
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
    """The layer by cuDNN (`jax.experimental.rnn`), for one training in float32 on an NVIDIA GPU: it cannot be vmapped.

    ValueError for another platform or dtype, and for a mask. In TF32, unless JAX's default precision is `highest`.
    """
    begin = _begin(cell_params, x_BTF, carry, mask_BT)
    if jax.default_backend() != "gpu":
        raise ValueError(f"cudnn_lstm: on {jax.default_backend()}; allowed: on an NVIDIA GPU")
    if x_BTF.dtype != jnp.float32:
        raise ValueError(f"cudnn_lstm: {x_BTF.dtype}; allowed: float32")
    if mask_BT is not None:
        raise ValueError("cudnn_lstm: a mask of steps; allowed: none")
    from jax.experimental import rnn  # it looks for cuDNN

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
    "recomputed": functools.partial(lstm_layer, recompute=True),
    "scan": scan_lstm,
    "cudnn": cudnn_lstm,
}
