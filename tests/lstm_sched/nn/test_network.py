"""The network around the LSTM: initialisers, layers, dropout, losses, and Keras' own predictions.

That the LSTM itself is right is the subject of test_fused.py. Letters as in network.py.
"""

import functools
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.lstms import assert_close, random_network, run_network
from helpers.small import SOON
from jax.flatten_util import ravel_pytree

from lstm_sched.nn import lstm as lstm_layers
from lstm_sched.nn import network as ne
from lstm_sched.nn.gates import pack, unpack
from lstm_sched.nn.losses import POINT
from lstm_sched.optimizers import keras_adam

KEY = jax.random.key(8)
KERAS = np.load(Path(__file__).parents[2] / "oracle" / "keras.npz")

compile_soon = functools.partial(jax.jit, compiler_options=SOON)
apply = compile_soon(ne.apply, static_argnames=("dropout", "layer"))
loss_of = compile_soon(ne.loss_of, static_argnames=("kind", "dropout", "layer"))


def problem(dtype="float64", batch=4, time=5, **sizes) -> Any:
    """Weights, an input and a target."""
    rng = np.random.default_rng(0)
    params = random_network(rng, dtype=dtype, **sizes)
    x_BTF, y_BO = rng.normal(size=(batch, time, 2)), rng.normal(size=(batch, 3))
    return params, x_BTF.astype(dtype), y_BO.astype(dtype)


# Parameters


@pytest.mark.parametrize("scheme", ne.INITS)
def test_parameters_have_the_names_shapes_and_dtype_of_flax(x64, scheme):
    init = functools.partial(ne.init_params, features=2, hidden=5, layers=2, outputs=3, scheme=scheme)
    params = jax.eval_shape(init, KEY)
    assert set(params) == {"lstm_0", "lstm_1", "head"}
    assert params["head"]["kernel"].shape == (5, 3) and params["head"]["bias"].shape == (3,)
    for name, features in (("lstm_0", 2), ("lstm_1", 5)):
        inputs = {"i" + gate: {"kernel": (features, 5)} for gate in "ifgo"}
        recurrent = {"h" + gate: {"kernel": (5, 5), "bias": (5,)} for gate in "ifgo"}
        assert jax.tree.map(jnp.shape, params[name]) == inputs | recurrent
    assert {a.dtype for a in jax.tree.leaves(params)} == {jnp.dtype("float64")}


init_params = compile_soon(
    functools.partial(ne.init_params, features=30, hidden=50, layers=2, outputs=40), static_argnames="scheme"
)


def drawn(scheme, seed=8):
    return jax.device_get(init_params(jax.random.key(seed), scheme=scheme))


def test_keras_weights_follow_keras_formulas_over_the_joint_arrays():
    params = drawn("keras")
    kernel, recurrent, bias = pack(params["lstm_0"])
    for array, limit in (
        (kernel, (6 / (30 + 200)) ** 0.5),
        (params["head"]["kernel"], (6 / (50 + 40)) ** 0.5),
    ):
        assert 0.99 * limit < np.abs(array).max() <= limit
        assert np.std(array) == pytest.approx(limit / 3**0.5, rel=0.03)
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(50), atol=1e-5)
    np.testing.assert_array_equal(bias, np.repeat([0, 1, 0, 0], 50))
    np.testing.assert_array_equal(params["head"]["bias"], 0)


def test_flax_weights_are_lecun_normal_and_orthogonal_gate_by_gate():
    params = drawn("flax")
    kernel, _, bias = pack(params["lstm_0"])
    assert np.std(kernel) == pytest.approx(30**-0.5, rel=0.03)
    assert np.std(params["head"]["kernel"]) == pytest.approx(50**-0.5, rel=0.05)
    for gate in "ifgo":
        recurrent = params["lstm_0"]["h" + gate]["kernel"]
        np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(50), atol=1e-5)
    np.testing.assert_array_equal(bias, 0)


@pytest.mark.parametrize("scheme", ne.INITS)
def test_every_array_is_drawn_independently_and_from_the_key_alone(scheme):
    first, again, second = (drawn(scheme, seed) for seed in (8, 8, 9))
    assert [a.tobytes() for a in jax.tree.leaves(again)] == [a.tobytes() for a in jax.tree.leaves(first)]
    kernels = [a for a in jax.tree.leaves((first, second)) if a.ndim == 2]
    assert len({a.tobytes() for a in kernels}) == len(kernels) == 34


# The network


def test_a_prediction_is_the_head_on_the_last_step_of_the_stacked_layers(x64):
    params, x_BTF, _ = problem()
    for layer in (lstm_layers.lstm_layer, lstm_layers.scan_lstm):
        assert_close(apply(params, x_BTF, layer=layer), run_network(params, x_BTF), 1e-12)


def test_gradients_of_a_loss_are_those_of_the_plain_scan(x64):
    params, x_BTF, y_BO = problem()

    def gradient(layer):
        def total(params, x_BTF):
            return ne.loss_of(params, (), x_BTF, y_BO, KEY, dropout=0.5, layer=layer)[0].sum()

        return compile_soon(jax.grad(total, (0, 1)))(params, x_BTF)

    fused, plain = (gradient(layer) for layer in (lstm_layers.lstm_layer, lstm_layers.scan_lstm))
    np.testing.assert_allclose(ravel_pytree(fused)[0], ravel_pytree(plain)[0], rtol=0, atol=1e-12)


def test_steps_masked_at_the_end_are_a_shorter_sequence(x64):
    params, x_BTF, _ = problem()
    lengths = (5, 3, 1, 4)
    mask_BT = np.arange(5)[None] < np.array(lengths)[:, None]
    y_BO, _ = apply(params, x_BTF, mask_BT=mask_BT)
    for b, length in enumerate(lengths):
        alone, _ = run_network(params, x_BTF[b : b + 1, :length])
        np.testing.assert_allclose(y_BO[b], alone[0], rtol=0, atol=1e-12)


def test_a_network_run_in_two_parts_with_its_carry_is_one_run(x64):
    params, x_BTF, y_BO = problem(time=4)
    _, carry = loss_of(params, ne.zero_carry(params, 4), x_BTF[:, :2], y_BO, None)
    parts = loss_of(params, carry, x_BTF[:, 2:], y_BO, None)
    whole = loss_of(params, None, x_BTF, y_BO, None)
    np.testing.assert_allclose(ravel_pytree(parts)[0], ravel_pytree(whole)[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("layers", [1, 3])
def test_a_carry_of_zeros_is_a_state_of_the_network_for_each_layer(layers, x64):
    params, x_BTF, _ = problem(layers=layers)
    carry = ne.zero_carry(params, x_BTF.shape[0])
    _, after = jax.eval_shape(ne.apply, params, x_BTF)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), carry) == jax.tree.map(
        lambda a: (a.shape, a.dtype), after
    )
    assert not any(a.any() for a in jax.tree.leaves(carry))


# Dropout


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_dropout_scales_what_it_keeps_and_has_a_mask_for_every_layer(rate):
    params, x_BTF, _ = problem("float32", hidden=40, layers=3, outputs=40, batch=50)
    params["head"] = {"kernel": jnp.eye(40), "bias": jnp.zeros(40)}  # shows what reaches the head

    @compile_soon
    def inputs_of_layers(x_BTF):
        inputs = []

        def layer(cell_params, x_BTF, carry, mask_BT):  # whose output is all ones
            inputs.append(x_BTF)
            ones_BTH = jnp.ones((*x_BTF.shape[:2], 40))
            return (ones_BTH[:, -1], ones_BTH[:, -1]), ones_BTH

        y_BO, _ = ne.apply(params, x_BTF, dropout=rate, key=KEY, layer=layer)
        return *inputs, y_BO

    network_input, first, second, last = jax.device_get(inputs_of_layers(x_BTF))
    np.testing.assert_array_equal(network_input, x_BTF)
    for output in (first, second, last):
        np.testing.assert_allclose(output[output > 0], 1 / (1 - rate), rtol=1e-6)
        deviation = (rate * (1 - rate) / output.size) ** 0.5
        assert abs(np.mean(output == 0) - rate) < 4 * deviation
    for a, b in ((first, second), (first[:, 0], first[:, 1]), (second[:, -1], last)):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 4 / a.size**0.5


def test_dropout_is_a_function_of_its_key_that_leaves_the_state_alone_and_off_without_one():
    params, x_BTF, y_BO = problem("float32", layers=1)
    loss = functools.partial(loss_of, params, None, x_BTF, y_BO)
    plain_B, state = loss(None)
    dropped_B, after_dropout = loss(KEY, dropout=0.5)
    np.testing.assert_array_equal(dropped_B, loss(KEY, dropout=0.5)[0])
    assert np.all(dropped_B != loss(jax.random.key(9), dropout=0.5)[0])
    np.testing.assert_array_equal(ravel_pytree(after_dropout)[0], ravel_pytree(state)[0])
    np.testing.assert_array_equal(loss(None, dropout=0.5)[0], plain_B)
    np.testing.assert_array_equal(loss(KEY, dropout=0.0)[0], plain_B)


# Losses and arguments


def test_point_losses_are_keras_formulas_per_sample_averaged_over_outputs():
    params, x_BTF, y_BO = problem("float32", layers=1)
    y_BO = 3 * y_BO  # errors on both sides of Huber's 1
    error = y_BO - run_network(params, x_BTF)[0]
    size = np.abs(error)
    assert size.min() < 1 < size.max()
    expected = {"mse": error**2, "mae": size, "huber": np.where(size <= 1, error**2 / 2, size - 0.5)}
    assert set(POINT) == set(expected)
    for kind, loss_BO in expected.items():
        loss_B, carry = loss_of(params, (), x_BTF, y_BO, None, kind=kind)
        np.testing.assert_allclose(loss_B, loss_BO.mean(axis=1), rtol=1e-5)
        assert carry == (), "nothing is carried"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden": 0}, "hidden: 0; allowed: 1 and more"),
        ({"features": 0}, "features: 0;"),
        ({"layers": -1}, "layers: -1;"),
        ({"outputs": 0}, "outputs: 0;"),
        ({"dropout": 1.0}, "dropout: 1.0; allowed: 0 ≤ dropout < 1"),
        ({"dropout": -0.1}, "dropout: -0.1;"),
        ({"dropout": float("nan")}, "dropout: nan;"),
        ({"init": "kears"}, "init: unknown 'kears' (did you mean keras?); allowed: keras, flax"),
        ({"loss": "hubert"}, "loss: unknown 'hubert' (did you mean huber?); allowed: mse, mae, huber"),
        ({"loss": "x"}, "loss: unknown 'x'; allowed:"),
    ],
)
def test_a_bad_argument_of_the_learner_is_named_with_what_is_allowed(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ne.lstm(keras_adam, **arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p, x, y: ne.init_params(KEY, features=1, hidden=0), "hidden: 0"),
        (lambda p, x, y: ne.init_params(KEY, features=1, hidden=1, scheme="torch"), "init: unknown"),
        (lambda p, x, y: ne.apply(p, x, dropout=1), "dropout: 1"),
        (lambda p, x, y: ne.apply(p, x[:, :, 0]), "x_BTF: shape (4, 5); allowed: (batch, time, 2)"),
        (lambda p, x, y: ne.apply(p, x, ne.zero_carry(p, 4)[:1]), "carry: 1 states; allowed: 2"),
        (lambda p, x, y: ne.apply(p, x, mask_BT=jnp.ones((4, 4), bool)), "mask_BT: bool(4, 4); allowed: bool(4, 5)"),
        (lambda p, x, y: ne.apply(p, x, mask_BT=y), "mask_BT: float32(4, 3); allowed: bool(4, 5)"),
        (lambda p, x, y: ne.loss_of(p, None, x, y, None, kind="rmse"), "loss: unknown"),
        (lambda p, x, y: ne.loss_of(p, (), x, y[:, 0], None), "y_BO: shape (4,); allowed: (4, 3)"),
    ],
)  # fmt: skip
def test_functions_refuse_bad_arguments_themselves(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        jax.eval_shape(call, *problem("float32"))


# Keras


@pytest.mark.parametrize(("dtype", "prefix", "tolerance"), [("float32", "", 1e-6), ("float64", "f64:", 1e-9)])
def test_keras_predictions_and_losses_are_reproduced_from_its_weights(dtype, prefix, tolerance):
    def recorded(name):
        return KERAS[name].astype(dtype)

    params = {
        "lstm_0": unpack(recorded("w_kernel"), recorded("w_recurrent"), recorded("w_bias")),
        "head": {"kernel": recorded("w_dense"), "bias": recorded("w_dense_bias")},
    }
    x_BTF, y_BO = recorded("Xv"), recorded("yv")
    with jax.enable_x64(dtype == "float64"):
        prediction_BO, _ = apply(params, x_BTF)
        loss_B, _ = loss_of(params, (), x_BTF, y_BO, None)
    assert loss_B.dtype == dtype
    np.testing.assert_allclose(prediction_BO, KERAS[prefix + "init/pred_val"], rtol=0, atol=tolerance)
    np.testing.assert_allclose(
        np.mean(np.asarray(loss_B)), KERAS[prefix + "init/val"], rtol=0, atol=tolerance
    )
