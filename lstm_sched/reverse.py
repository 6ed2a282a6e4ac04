"""What has a gradient in reverse mode alone, and says so in words of its own where forward mode is tried.

JAX refuses the latter for every `jax.custom_vjp`, too, in words that name no way out.
"""

from typing import Any

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir


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
