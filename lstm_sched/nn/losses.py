"""Losses of a batch, one number per sample: for a point forecast, a class or a density.

Letters: B batch, O outputs of the network, K target columns.
"""

import math
from collections.abc import Callable

import jax.numpy as jnp
import optax
from jax import Array

from lstm_sched._names import check_name

POINT = {  # losses of a prediction against a target, number by number; Huber's with Keras' δ = 1
    "mse": optax.losses.squared_error,
    "mae": lambda prediction, target: jnp.abs(prediction - target),
    "huber": optax.losses.huber_loss,
}


def _crossentropy(logit_BO: Array, class_BK: Array) -> Array:
    number_B = class_BK[:, 0].astype(jnp.int32)
    return optax.losses.softmax_cross_entropy_with_integer_labels(logit_BO, number_B)


def _gaussian(output_BO: Array, target_BK: Array) -> Array:
    mean_BK, log_variance_BK = jnp.split(output_BO, 2, axis=-1)
    square_BK = (target_BK - mean_BK) ** 2 * jnp.exp(-log_variance_BK)
    return jnp.mean((math.log(2 * math.pi) + log_variance_BK + square_BK) / 2, axis=-1)


LOSSES: dict[str, Callable[[Array, Array], Array]] = {
    **{name: lambda p, y, loss=loss: jnp.mean(loss(p, y), axis=-1) for name, loss in POINT.items()},
    "crossentropy": _crossentropy,  # of O logits; the only target column holds the number of the class
    "gaussian": _gaussian,  # negative log likelihood of K targets, from K means and then K log variances
}


def sample_losses(kind: str, output_BO: Array, target_BK: Array) -> Array:
    """The loss of each sample.

    Args:
        kind: a name of `LOSSES`: mse, mae, huber, crossentropy or gaussian.
        output_BO: the outputs of a network: O = K point forecasts, O logits, or K means followed by K log variances.
        target_BK: the targets; for crossentropy one column, which holds the number of the class.

    Returns:
        loss_B, the mean over target columns.

    Raises:
        ValueError: for an unknown kind, or a number of target columns that does not fit the outputs.
    """
    check_name("loss", kind, LOSSES)
    outputs = output_BO.shape[-1]
    columns = {"crossentropy": 1, "gaussian": outputs // 2}.get(kind, outputs)
    if target_BK.shape != (*output_BO.shape[:-1], columns) or (kind == "gaussian" and outputs % 2):
        allowed = f"{(*output_BO.shape[:-1], columns)} for {kind} of {outputs} outputs"
        raise ValueError(f"y_BO: shape {target_BK.shape}; allowed: {allowed}")
    return LOSSES[kind](output_BO, target_BK)
