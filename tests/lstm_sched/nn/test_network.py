"""The network around the LSTM: initialisers, layers, dropout, losses, and Keras' own predictions.

That the LSTM itself is right is the subject of test_fused.py. Letters as in cell.py.
"""

import functools
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from lstm_sched.nn import lstm as lstm_layers
from lstm_sched.nn import network as ne
from lstm_sched.nn.gates import pack
from lstm_sched.nn.losses import POINT

KEY = jax.random.key(8)
KERAS = np.load(Path(__file__).parents[2] / "oracle" / "keras.npz")


def network(features=2, hidden=6, layers=2, outputs=3, batch=4, time=5):
    """Weights, an input and a target."""
    params = ne.init_params(KEY, features=features, hidden=hidden, layers=layers, outputs=outputs)
    rng = np.random.default_rng(0)
    x_BTF = rng.normal(size=(batch, time, features))
    return params, jnp.asarray(x_BTF, float), jnp.asarray(rng.normal(size=(batch, outputs)), float)


# Parameters


@pytest.mark.parametrize("scheme", ne.INITS)
def test_parameters_have_the_names_shapes_and_dtype_of_flax(x64, scheme):
    params = ne.init_params(KEY, features=2, hidden=5, layers=2, outputs=3, scheme=scheme)
    assert set(params) == {"lstm_0", "lstm_1", "head"}
    assert params["head"]["kernel"].shape == (5, 3) and params["head"]["bias"].shape == (3,)
    for name, features in (("lstm_0", 2), ("lstm_1", 5)):
        arrays = jax.tree.map(jnp.shape, params[name])
        inputs = {"i" + gate: {"kernel": (features, 5)} for gate in "ifgo"}
        assert arrays == inputs | {"h" + gate: {"kernel": (5, 5), "bias": (5,)} for gate in "ifgo"}
    assert {a.dtype for a in jax.tree.leaves(params)} == {jnp.dtype("float64")}


def test_keras_weights_follow_keras_formulas_over_the_joint_arrays():
    params = ne.init_params(KEY, features=30, hidden=50, outputs=40)
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
    params = ne.init_params(KEY, features=30, hidden=50, outputs=40, scheme="flax")
    kernel, _, bias = pack(params["lstm_0"])
    assert np.std(kernel) == pytest.approx(30**-0.5, rel=0.03)
    assert np.std(params["head"]["kernel"]) == pytest.approx(50**-0.5, rel=0.05)
    for gate in "ifgo":
        recurrent = params["lstm_0"]["h" + gate]["kernel"]
        np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(50), atol=1e-5)
    np.testing.assert_array_equal(bias, 0)


@pytest.mark.parametrize("scheme", ne.INITS)
def test_every_array_is_drawn_anew_and_from_the_key_alone(scheme):
    init = functools.partial(ne.init_params, features=6, hidden=6, layers=2, outputs=6, scheme=scheme)
    np.testing.assert_array_equal(ravel_pytree(init(KEY))[0], ravel_pytree(init(KEY))[0])
    kernels = [a for key in (KEY, jax.random.key(9)) for a in jax.tree.leaves(init(key)) if a.ndim == 2]
    assert len({a.tobytes() for a in map(np.asarray, kernels)}) == len(kernels) == 34


# The network


def test_a_prediction_is_the_head_on_the_last_step_of_the_stacked_layers(x64):
    params, x_BTF, _ = network()
    first, h_BTH = lstm_layers.scan_lstm(params["lstm_0"], x_BTF)
    second, h_BTH = lstm_layers.scan_lstm(params["lstm_1"], h_BTH)
    expected = np.einsum("bh,ho->bo", h_BTH[:, -1], params["head"]["kernel"]) + params["head"]["bias"][None]
    for form in (lstm_layers.lstm_layer, lstm_layers.scan_lstm):
        y_BO, carry = ne.apply(params, x_BTF, layer=form)
        np.testing.assert_allclose(y_BO, expected, rtol=0, atol=1e-12)
        np.testing.assert_allclose(ravel_pytree(carry)[0], ravel_pytree((first, second))[0], atol=1e-12)


def test_gradients_of_a_loss_are_those_of_the_plain_scan(x64):
    params, x_BTF, y_BO = network()

    def gradient(form):
        def total(params, x_BTF):
            return ne.loss_of(params, (), x_BTF, y_BO, KEY, dropout=0.5, layer=form)[0].sum()

        return ravel_pytree(jax.jit(jax.grad(total, (0, 1)))(params, x_BTF))[0]

    np.testing.assert_allclose(
        gradient(lstm_layers.lstm_layer), gradient(lstm_layers.scan_lstm), rtol=0, atol=1e-12
    )


def test_steps_masked_at_the_end_are_a_shorter_sequence(x64):
    params, x_BTF, _ = network()
    mask_BT = jnp.arange(5)[None] < jnp.array([5, 3, 1, 4])[:, None]
    y_BO, _ = ne.apply(params, x_BTF, mask_BT=mask_BT)
    for b, length in enumerate((5, 3, 1, 4)):
        alone, _ = ne.apply(params, x_BTF[b : b + 1, :length])
        np.testing.assert_allclose(y_BO[b], alone[0], rtol=0, atol=1e-12)


def test_a_mask_of_another_shape_or_type_is_refused():
    params, x_BTF, _ = network()
    for mask_BT in (jnp.ones((4, 4), bool), jnp.ones((4, 5))):
        with pytest.raises(ValueError, match=r"mask_BT: .*; allowed: bool\(4, 5\)"):
            ne.apply(params, x_BTF, mask_BT=mask_BT)


def test_a_network_run_in_two_parts_with_its_carry_is_one_run(x64):
    params, x_BTF, y_BO = network()
    _, carry = ne.apply(params, x_BTF[:, :2])
    parts = ne.loss_of(params, carry, x_BTF[:, 2:], y_BO, None)
    whole = ne.loss_of(params, None, x_BTF, y_BO, None)
    np.testing.assert_allclose(ravel_pytree(parts)[0], ravel_pytree(whole)[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("layers", [1, 3])
def test_at_rest_is_the_state_that_a_network_without_one_begins_with(layers, x64):
    params, x_BTF, _ = network(layers=layers)
    rest = ne.zero_carry(params, x_BTF.shape[0])
    prediction, after = ne.apply(params, x_BTF)
    assert jax.tree.structure(rest) == jax.tree.structure(after)
    for got, want in zip(jax.tree.leaves(rest), jax.tree.leaves(after), strict=True):
        assert (got.shape, got.dtype, bool(got.any())) == (want.shape, want.dtype, False)
    np.testing.assert_array_equal(ne.apply(params, x_BTF, rest)[0], prediction)


def test_a_network_that_carries_nothing_starts_from_zeros_and_returns_nothing():
    params, x_BTF, y_BO = network(layers=1)
    loss_B, carry = ne.loss_of(params, (), x_BTF, y_BO, None)
    assert carry == ()
    np.testing.assert_array_equal(loss_B, ne.loss_of(params, None, x_BTF, y_BO, None)[0])


# Dropout


def record(seen):
    """A layer that notes its input and gives ones for output."""

    def layer(cell_params, x_BTF, carry, mask_BT):
        seen.append(x_BTF)
        ones_BTH = jnp.ones((*x_BTF.shape[:2], cell_params["hi"]["bias"].shape[0]))
        return (ones_BTH[:, -1], ones_BTH[:, -1]), ones_BTH

    return layer


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_dropout_scales_what_it_keeps_and_has_a_mask_for_every_layer(rate):
    params, x_BTF, _ = network(hidden=40, layers=3, outputs=40, batch=50)
    params["head"] = {"kernel": jnp.eye(40), "bias": jnp.zeros(40)}  # shows what reaches the head
    seen = []
    y_BO, _ = ne.apply(params, x_BTF, dropout=rate, key=KEY, layer=record(seen))
    np.testing.assert_array_equal(seen[0], x_BTF)
    first, second, last = np.asarray(seen[1]), np.asarray(seen[2]), np.asarray(y_BO)
    for output in (first, second, last):
        np.testing.assert_allclose(output[output > 0], 1 / (1 - rate), rtol=1e-6)
        deviation = (rate * (1 - rate) / output.size) ** 0.5
        assert abs(np.mean(output == 0) - rate) < 4 * deviation
    for a, b in ((first, second), (first[:, 0], first[:, 1]), (second[:, -1], last)):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 4 / a.size**0.5


def test_dropout_is_a_function_of_its_key_and_off_without_one():
    params, x_BTF, y_BO = network(layers=1)
    loss = functools.partial(ne.loss_of, params, (), x_BTF, y_BO)
    dropped = loss(KEY, dropout=0.5)[0]
    np.testing.assert_array_equal(dropped, loss(KEY, dropout=0.5)[0])
    assert np.all(dropped != loss(jax.random.key(9), dropout=0.5)[0])
    np.testing.assert_array_equal(loss(None, dropout=0.5)[0], loss(None)[0])
    np.testing.assert_array_equal(loss(KEY, dropout=0.0)[0], loss(None)[0])


def test_dropout_leaves_the_state_alone():
    params, x_BTF, _ = network(layers=1)
    _, dropped = ne.apply(params, x_BTF, dropout=0.5, key=KEY)
    np.testing.assert_array_equal(ravel_pytree(dropped)[0], ravel_pytree(ne.apply(params, x_BTF)[1])[0])


# Losses and arguments


def test_point_losses_are_keras_formulas_a_sample_averaged_over_outputs():
    params, x_BTF, y_BO = network(layers=1)
    y_BO = 3 * y_BO  # errors on both sides of Huber's 1
    error = np.asarray(y_BO - ne.apply(params, x_BTF)[0])
    size = np.abs(error)
    assert size.min() < 1 < size.max()
    expected = {"mse": error**2, "mae": size, "huber": np.where(size <= 1, error**2 / 2, size - 0.5)}
    assert set(POINT) == set(expected)
    for kind, loss_BO in expected.items():
        loss_B, _ = ne.loss_of(params, (), x_BTF, y_BO, None, kind=kind)
        np.testing.assert_allclose(loss_B, loss_BO.mean(axis=1), rtol=1e-5)


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
def test_a_bad_argument_is_named_with_what_is_allowed(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ne.check(**arguments)


def test_functions_refuse_bad_arguments_themselves():
    params, x_BTF, y_BO = network()
    with pytest.raises(ValueError, match="hidden"):
        ne.init_params(KEY, features=1, hidden=0)
    with pytest.raises(ValueError, match="init: unknown"):
        ne.init_params(KEY, features=1, hidden=1, scheme="torch")
    with pytest.raises(ValueError, match="dropout"):
        ne.apply(params, x_BTF, dropout=1)
    with pytest.raises(ValueError, match="loss: unknown"):
        ne.loss_of(params, (), x_BTF, y_BO, None, kind="rmse")
    with pytest.raises(ValueError, match=re.escape("y_BO: shape (4,); allowed: (4, 3)")):
        ne.loss_of(params, (), x_BTF, y_BO[:, 0], None)
    with pytest.raises(ValueError, match=re.escape("x_BTF: shape (4, 5); allowed: (batch, time, 2)")):
        ne.apply(params, x_BTF[:, :, 0])
    with pytest.raises(ValueError, match="carry: 1 states; allowed: 2"):
        ne.apply(params, x_BTF, ne.apply(params, x_BTF)[1][:1])


# Keras


@pytest.mark.parametrize(("dtype", "prefix", "tolerance"), [("float32", "", 1e-6), ("float64", "f64:", 1e-9)])
def test_keras_predictions_and_losses_are_reproduced_from_its_weights(dtype, prefix, tolerance):
    with jax.enable_x64(dtype == "float64"):

        def recorded(name):
            return jnp.asarray(KERAS[name], dtype)

        params = {
            "lstm_0": ne.unpack(recorded("w_kernel"), recorded("w_recurrent"), recorded("w_bias")),
            "head": {"kernel": recorded("w_dense"), "bias": recorded("w_dense_bias")},
        }
        x_BTF, y_BO = recorded("Xv"), recorded("yv")
        prediction_BO, _ = ne.apply(params, x_BTF)
        loss_B, _ = ne.loss_of(params, (), x_BTF, y_BO, None)
        assert loss_B.dtype == dtype
        np.testing.assert_allclose(prediction_BO, KERAS[prefix + "init/pred_val"], rtol=0, atol=tolerance)
        np.testing.assert_allclose(loss_B.mean(), KERAS[prefix + "init/val"], rtol=0, atol=tolerance)
