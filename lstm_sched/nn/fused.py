"""The LSTM over time with its gradient written by hand: on a CPU 0.6 of the time of Flax's cell scanned with 50 hidden
units, 0.9 to 1 with 128 and more.

Letters: T time, B batch, F features, H hidden units, G = 4H gate columns in order i, f, g, o,
K = H + F + 1 rows of the joint kernel: recurrent kernel, input kernel, bias; N = T·B.

Forward, with s = ½, ½, 1, ½ folded into the kernel beforehand, since σ(z) = ½ tanh(z / 2) + ½:

    u = tanh([h, x, 1] kernel)    i, f, g, o = s u + 1 − s    c' = f c + i g    h' = o tanh c'

Backward, where δ is the gradient of what u is the tanh of:

    dc' += dh' o (1 − tanh² c')    δ = (dc', dc', dc', dh') s (1 − u²) (g, c, i, tanh c')
    dc = dc' f    dh = δ kernelᵀ

The factors of dc' and dh' are known in the forward pass, which keeps them and not the gates: with the input, K + 6H
numbers a sample and time step. The backward scan has one matrix product and little else a step, and the kernel's
gradient is one product after it. To recompute is to keep the input and c, K + H numbers, and to form the factors in
the backward scan: 1.2 of the time.

By way of tanh a gate is right to a rounding error of 1, not of itself: one below 1e-7 has no digit in float32.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

# What has a gradient in reverse mode alone, and says so in words of its own where forward mode is tried.
# JAX refuses the latter for every `jax.custom_vjp`, too, in words that name no way out.


def _refuse(*_: Any, **__: Any) -> Any:
    raise TypeError(
        "lstm: forward mode (jax.jvp, jacfwd), which its gradient, written by hand, does not have; "
        "allowed: scan_lstm, which does"
    )


# The identity of tangents, which reverse mode transposes and nothing may compute.
_tangent = Primitive("tangent_of_reverse_only")
_tangent.def_impl(_refuse)
_tangent.def_abstract_eval(lambda t: t)
ad.deflinear2(_tangent, lambda cotangent, _: (cotangent,))
batching.defvectorized(_tangent)
mlir.register_lowering(_tangent, _refuse)


@jax.custom_jvp
def reverse_only(x: Any) -> Any:
    """The array itself. TypeError, at the latest when a program is lowered, for a derivative of it in forward mode."""
    return x


@reverse_only.defjvp
def _(primals: tuple, tangents: tuple) -> tuple:
    return primals[0], _tangent.bind(tangents[0])


State = tuple[Array, Array]  # c_BH, h_BH
Outputs = tuple[Array, Array, Array]  # c_BH, h_BH after the last step, and h_TBH
Mask = Array | None  # (…, B, 1); None: every step counts


class _Factors(NamedTuple):
    """What the gradient needs of a step, beside its input."""

    delta_BG: Array  # s (1 − u²) (g, c, i, tanh c'): from dc' and dh' to δ
    output_BH: Array  # o (1 − tanh² c'): from dh' to dc'
    forget_BH: Array  # f: from dc' to dc


def _join(*parts: Array) -> Array:
    return jnp.concatenate(parts, axis=-1)


def _scale(kernel_KG: Array) -> Array:
    """s_1G"""
    return jnp.repeat(jnp.array([0.5, 0.5, 1.0, 0.5], kernel_KG.dtype), kernel_KG.shape[-1] // 4)[None]


def _step(kernel_KG: Array, s_1G: Array, input_BK: Array, c: Array, live_B1: Mask) -> tuple[State, _Factors]:
    """The state after a step; a masked one leaves it as it is."""
    u_BG = jnp.tanh(input_BK @ kernel_KG)
    i, f, g, o = jnp.split(s_1G * u_BG + (1 - s_1G), 4, axis=-1)
    new_c = f * c + i * g
    tanh_c = jnp.tanh(new_c)
    new_h = o * tanh_c
    delta_BG = s_1G * (1 - u_BG * u_BG) * _join(g, c, i, tanh_c)
    factors = _Factors(delta_BG, o * (1 - tanh_c * tanh_c), f)
    if live_B1 is None:
        return (new_c, new_h), factors
    keep = functools.partial(jnp.where, live_B1)
    state = keep(new_c, c), keep(new_h, input_BK[:, : c.shape[-1]])
    return state, _Factors(keep(delta_BG, 0), keep(factors.output_BH, 0), keep(f, 1))


def _forward(
    recompute: bool, kernel_KG: Array, x_TBF: Array, live_TB1: Mask, c_BH: Array, h_BH: Array
) -> tuple[Outputs, tuple]:
    s_1G = _scale(kernel_KG)

    def step(state: State, now: tuple[Array, Mask]) -> tuple[State, tuple]:
        (c, h), (x1_BF, live_B1) = state, now
        input_BK = _join(h, x1_BF)
        after, factors = _step(kernel_KG, s_1G, input_BK, c, live_B1)
        return after, (after[1], input_BK, c if recompute else factors)

    ones_TB1 = jnp.ones_like(x_TBF, shape=(*x_TBF.shape[:-1], 1))
    (c_BH, h_BH), (h_TBH, *kept) = lax.scan(step, (c_BH, h_BH), (_join(x_TBF, ones_TB1), live_TB1))
    return (c_BH, h_BH, h_TBH), (kernel_KG, live_TB1, *kept)


def _outputs(
    recompute: bool, kernel_KG: Array, x_TBF: Array, live_TB1: Mask, c_BH: Array, h_BH: Array
) -> Outputs:
    return _forward(recompute, kernel_KG, x_TBF, live_TB1, c_BH, h_BH)[0]


def _rows(a_TBX: Array) -> Array:
    return a_TBX.reshape(-1, a_TBX.shape[-1])


def _backward(recompute: bool, kept: tuple, gradients: Outputs) -> tuple[Array | None, ...]:
    kernel_KG, live_TB1, input_TBK, kept_T = kept
    dc_BH, dh_BH, dh_TBH = gradients
    hidden, s_1G = dc_BH.shape[-1], _scale(kernel_KG)
    # Zero columns up to a multiple of 16: on a CPU a product of 50 columns takes 1.4 times that of 64.
    transposed = jnp.pad(kernel_KG[:hidden].T, ((0, 0), (0, -hidden % 16)))

    def step(state: State, now: tuple[Array, Any, Array | None, Mask]) -> tuple[State, Array]:
        (dc, dh), (dh_output, kept, input_BK, live_B1) = state, now
        factor = kept if input_BK is None else _step(kernel_KG, s_1G, input_BK, kept, live_B1)[1]
        dh = dh + dh_output
        dc = dc + dh * factor.output_BH
        delta_BG = _join(dc, dc, dc, dh) * factor.delta_BG
        dh_before = (delta_BG @ transposed)[:, :hidden]
        if live_B1 is not None:
            dh_before = jnp.where(live_B1, dh_before, dh)
        return (dc * factor.forget_BH, dh_before), delta_BG

    steps = (dh_TBH, kept_T, input_TBK if recompute else None, live_TB1)
    (dc_BH, dh_BH), delta_TBG = lax.scan(step, (dc_BH, dh_BH), steps, reverse=True)
    kernel_gradient_KG = _rows(input_TBK).T @ _rows(delta_TBG)
    return kernel_gradient_KG, delta_TBG @ kernel_KG[hidden:-1].T, None, dc_BH, dh_BH


_recur = jax.custom_vjp(_outputs, nondiff_argnums=(0,))
_recur.defvjp(_forward, _backward)


def fused_lstm(
    kernel_FG: Array,
    recurrent_HG: Array,
    bias_G: Array,
    x_BTF: Array,
    carry: State,
    mask_BT: Array | None = None,
    recompute: bool = False,
) -> tuple[State, Array]:
    """The state after the last step and every step's output h_BTH; a step where `mask_BT` is False changes neither."""
    kernel_KG = jnp.concatenate([recurrent_HG, kernel_FG, bias_G[None]])
    live_TB1 = None if mask_BT is None else mask_BT.T[..., None]
    x_TBF = jnp.swapaxes(x_BTF, 0, 1)
    kernel_KG, x_TBF, *carry_BH = map(reverse_only, (kernel_KG * _scale(kernel_KG), x_TBF, *carry))
    c_BH, h_BH, h_TBH = _recur(recompute, kernel_KG, x_TBF, live_TB1, *carry_BH)
    return (c_BH, h_BH), jnp.swapaxes(h_TBH, 0, 1)
