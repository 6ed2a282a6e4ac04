"""Weights of Keras and PyTorch networks, against LSTMs written in each framework's own convention."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from helpers import small
from helpers.lstms import random_network, run_network, sigmoid
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_sched.nn import interop

networks = st.builds(
    lambda seed, features, hidden, outputs: (np.random.default_rng(seed), features, hidden, outputs),
    st.integers(0, 99),
    st.integers(1, 3),
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
    st.integers(1, 3),
)


def drawn(rng, *shapes):
    return [rng.normal(size=shape) for shape in shapes]


def keras_arrays(rng, features, hidden, outputs):
    """`model.get_weights()` of a random network."""
    arrays = []
    for f, h in zip([features, *hidden], hidden, strict=False):
        arrays += drawn(rng, (f, 4 * h), (h, 4 * h), 4 * h)
    return arrays + drawn(rng, (hidden[-1], outputs), outputs)


def keras_predict(arrays, x_BTF):
    """keras/src/layers/rnn/lstm.py: z = x kernel + h recurrent + bias; gates i, f, c, o."""
    *layers, kernel, bias = arrays
    for n in range(0, len(layers), 3):
        h = c = np.zeros((len(x_BTF), layers[n + 1].shape[0]))
        outputs = []
        for t in range(x_BTF.shape[1]):
            z = x_BTF[:, t] @ layers[n] + h @ layers[n + 1] + layers[n + 2]
            z0, z1, z2, z3 = np.split(z, 4, axis=1)
            c = sigmoid(z1) * c + sigmoid(z0) * np.tanh(z2)
            h = sigmoid(z3) * np.tanh(c)
            outputs.append(h)
        x_BTF = np.stack(outputs, axis=1)
    return x_BTF[:, -1] @ kernel + bias


def torch_arrays(rng, features, hidden, layers, outputs):
    """`state_dict()` of a random module with an nn.LSTM `lstm` and an nn.Linear `head`."""
    arrays = {}
    for n in range(layers):
        f = hidden if n else features
        parts = drawn(rng, (4 * hidden, f), (4 * hidden, hidden), 4 * hidden, 4 * hidden)
        for name, array in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), parts, strict=True):
            arrays[f"lstm.{name}_l{n}"] = array
    arrays["head.weight"], arrays["head.bias"] = drawn(rng, (outputs, hidden), outputs)
    return arrays


def torch_predict(arrays, x_BTF):
    """torch.nn.LSTM's documentation: W_ih x + b_ih + W_hh h + b_hh for each of i, f, g, o, sample by sample."""
    predictions = []
    for x_TF in x_BTF:
        for n in range(sum("weight_ih" in name for name in arrays)):
            w_ih, w_hh, b_ih, b_hh = (
                arrays[f"lstm.{name}_l{n}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            size = len(w_hh) // 4
            W = {gate: slice(k * size, (k + 1) * size) for k, gate in enumerate("ifgo")}
            h = c = np.zeros(size)
            outputs = []
            for x in x_TF:
                i, f, g, o = (w_ih[W[k]] @ x + b_ih[W[k]] + w_hh[W[k]] @ h + b_hh[W[k]] for k in "ifgo")
                c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
                h = sigmoid(o) * np.tanh(c)
                outputs.append(h)
            x_TF = np.stack(outputs)
        predictions.append(arrays["head.weight"] @ x_TF[-1] + arrays["head.bias"])
    return np.stack(predictions)


def predicted(params, x_BTF):
    return run_network(jax.device_get(params), x_BTF)[0]


@given(networks)
@settings(max_examples=8)
def test_a_keras_network_predicts_the_same_here(drawing):
    rng, features, hidden, outputs = drawing
    arrays = keras_arrays(rng, features, hidden, outputs)
    x_BTF = rng.normal(size=(3, 4, features))
    with jax.enable_x64(True):
        params = interop.from_keras(arrays)
    np.testing.assert_allclose(predicted(params, x_BTF), keras_predict(arrays, x_BTF), rtol=1e-12, atol=1e-13)


@given(networks)
@settings(max_examples=8)
def test_a_torch_network_predicts_the_same_here(drawing):
    rng, features, hidden, outputs = drawing
    arrays = torch_arrays(rng, features, hidden[0], len(hidden), outputs)
    x_BTF = rng.normal(size=(3, 4, features))
    with jax.enable_x64(True):
        params = interop.from_torch(arrays)
    np.testing.assert_allclose(predicted(params, x_BTF), torch_predict(arrays, x_BTF), rtol=1e-12, atol=1e-13)


class Flax(nn.Module):
    """Both of Flax's LSTM cells, and its Dense."""

    @nn.compact
    def __call__(self, x_BTF: Any):
        for n, cell in enumerate((nn.OptimizedLSTMCell, nn.LSTMCell)):
            x_BTF = nn.RNN(cell(4 - n, name=f"lstm_{n}"))(x_BTF)
        return nn.Dense(2, name="head")(x_BTF[:, -1])


def test_the_parameters_of_a_flax_network_are_those_here():
    rng = np.random.default_rng(0)
    x_BTF = rng.normal(size=(3, 4, 2)).astype("float32")
    with jax.numpy_rank_promotion("allow"):  # Flax adds its biases so
        shapes = jax.eval_shape(Flax().init, jax.random.key(0), x_BTF)
        variables = jax.tree.map(lambda a: rng.normal(size=a.shape).astype(a.dtype), shapes)
        theirs = jax.jit(Flax().apply, compiler_options=small.SOON)(variables, x_BTF)
    np.testing.assert_allclose(
        predicted(variables["params"], x_BTF), np.asarray(theirs), rtol=1e-5, atol=1e-5
    )


# There and back again


@given(networks, st.sampled_from(["float16", "bfloat16", "float32", "float64"]))
@settings(max_examples=25)
def test_keras_arrays_come_back_bit_for_bit(drawing, dtype):
    arrays = [a.astype(jnp.dtype(dtype)) for a in keras_arrays(*drawing)]
    arrays[0][0] = -0.0
    with jax.enable_x64(dtype == "float64"):
        back = interop.to_keras(interop.from_keras(arrays))
    assert [a.dtype for a in back] == [a.dtype for a in arrays]
    assert small.bits(back) == small.bits(arrays)


@given(networks)
@settings(max_examples=25)
def test_our_weights_come_back_from_torch_bit_for_bit(drawing):
    rng, features, hidden, outputs = drawing
    arrays = [a.astype("float32") for a in keras_arrays(rng, features, hidden[:1] * len(hidden), outputs)]
    arrays[2][0] = -0.0  # of a bias, where a sum with 0 would lose the sign
    params = interop.from_keras(arrays)
    state_dict = interop.to_torch(params)
    back = interop.from_torch(state_dict)
    assert jax.tree.structure(back) == jax.tree.structure(params)
    assert small.bits(back) == small.bits(params)
    for n in range(len(hidden)):
        np.testing.assert_array_equal(state_dict[f"lstm.bias_hh_l{n}"], 0)


def test_torch_arrays_come_back_with_both_biases_in_one():
    arrays = torch_arrays(np.random.default_rng(0), 2, 3, 2, 1)
    with jax.enable_x64(True):
        back = interop.to_torch(interop.from_torch(arrays))
    assert set(back) == set(arrays)
    for name, array in arrays.items():
        if "bias_ih" in name:
            array = array + arrays[name.replace("_ih", "_hh")]
        if "bias_hh" in name:
            array = 0 * array
        np.testing.assert_array_equal(back[name], array)


def test_arrays_are_copied_on_the_way_in_and_out():
    source = [a.astype("float32") for a in keras_arrays(np.random.default_rng(0), 1, [1], 1)]
    params = interop.from_keras(source)
    state_dict = interop.to_torch(params)
    params = params, interop.from_torch(state_dict)
    before = small.bits(params)
    for array in (*source, *state_dict.values(), *interop.to_keras(params[0])):
        assert array.flags.writeable and array.flags.c_contiguous
        array[...] = 7
    assert small.bits(params) == before


# Names, biases that are not there, and what is refused


@pytest.mark.parametrize(("lstm", "head"), [("", "fc"), ("net.rnn", ""), ("module.a", "module.b.c")])
def test_torch_modules_are_found_under_the_names_given(lstm, head):
    params = random_network(np.random.default_rng(0), dtype="float32")
    state_dict = interop.to_torch(params, lstm, head)
    assert f"{lstm}.weight_hh_l1".lstrip(".") in state_dict
    assert f"{head}.bias".lstrip(".") in state_dict
    assert small.bits(interop.from_torch(state_dict, lstm, head)) == small.bits(params)


def test_a_bias_that_is_not_there_is_zeros(x64):
    rng = np.random.default_rng(0)
    arrays = keras_arrays(rng, 2, [3, 4], 1)
    zeroed = [np.zeros_like(a) if a.ndim == 1 else a for a in arrays]
    matrices = [a for a in arrays if a.ndim == 2]
    assert small.bits(interop.to_keras(interop.from_keras(matrices))) == small.bits(zeroed)
    mixed = [arrays[0], arrays[1], *arrays[3:7]]  # no bias in the first layer, none in Dense
    back = interop.to_keras(interop.from_keras(mixed))
    assert small.bits(back) == small.bits([*arrays[:2], zeroed[2], *arrays[3:7], zeroed[7]])

    torch = torch_arrays(rng, 2, 3, 2, 1)
    weights = {name: a for name, a in torch.items() if "weight" in name}
    zeroed = {name: a if "weight" in name else np.zeros_like(a) for name, a in torch.items()}
    assert small.bits(interop.from_torch(weights)) == small.bits(interop.from_torch(zeroed))


KERAS = [np.zeros(shape, "float32") for shape in ((2, 12), (3, 12), 12, (3, 16), (4, 16), 16, (4, 1), 1)]


def changed(n, *shape):
    return [np.zeros(shape, "float32") if k == n else a for k, a in enumerate(KERAS)]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ([], "arrays: 0 of ranks []; allowed: kernel, recurrent kernel and bias"),
        (KERAS[6:], "arrays: 2 of ranks [2, 1]; allowed"),
        (KERAS[:-2], "arrays: 6 of ranks [2, 2, 1, 2, 2, 1]; allowed"),
        ([KERAS[0], KERAS[2], KERAS[1], *KERAS[6:]], "arrays: 5 of ranks [2, 1, 2, 2, 1]; allowed"),
        ([*KERAS, KERAS[-1]], "arrays: 9 of ranks"),
        (changed(2, 2, 12), "arrays: 8 of ranks [2, 2, 2, 2, 2, 1, 2, 1]"),  # a GRU's bias
        (changed(0, 2, 9), "arrays[0] (kernel): shape (2, 9); allowed: (any, 12)"),
        (changed(1, 3, 9), "arrays[1] (recurrent kernel): shape (3, 9); allowed: (3, 12)"),
        (changed(2, 3), "arrays[2] (bias): shape (3,); allowed: (12)"),
        (changed(3, 6, 16), "arrays[3] (kernel): shape (6, 16); allowed: (3, 16)"),  # bidirectional below
        (changed(6, 8, 1), "arrays[6] (kernel of Dense): shape (8, 1); allowed: (4, any)"),
        (changed(7, 2), "arrays[7] (bias): shape (2,); allowed: (1)"),
        ([KERAS[0].astype(int), *KERAS[1:]], "arrays[0] (kernel): dtype int64; allowed: floating"),
        ([*KERAS[:-1], np.zeros(1)], "arrays[7] (bias): dtype float64; allowed: float32, or float64 under"),
    ],
)
def test_keras_arrays_of_another_network_are_refused_by_name(arrays, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        interop.from_keras(arrays)


TORCH = {n: a.astype("float32") for n, a in torch_arrays(np.random.default_rng(0), 2, 3, 2, 1).items()}


def zeros(*shape):
    return np.zeros(shape, "float32")


@pytest.mark.parametrize(
    ("state_dict", "message"),
    [
        ({}, "state_dict: 'lstm.weight_hh_l0' is missing; it has nothing"),
        (
            {f"net.{n}": a for n, a in TORCH.items()},
            "'lstm.weight_hh_l0' is missing; it has net.lstm.weight_ih_l0",
        ),
        (
            {n: a for n, a in TORCH.items() if n != "lstm.bias_hh_l1"},
            "state_dict: 'lstm.bias_hh_l1' is missing",
        ),
        ({n: a for n, a in TORCH.items() if n != "lstm.weight_ih_l0"}, "'lstm.weight_ih_l0' is missing"),
        ({n: a for n, a in TORCH.items() if "head" not in n}, "state_dict: 'head.weight' is missing"),
        ({n: a for n, a in TORCH.items() if "_l0" not in n}, "'lstm.weight_hh_l0' is missing"),
        (
            TORCH | {"lstm.weight_hr_l0": zeros(2, 3)},
            "'lstm.weight_hr_l0'; allowed: an LSTM of one direction",
        ),
        (
            TORCH | {"lstm.bias_ih_l0_reverse": zeros(12)},
            "'lstm.bias_ih_l0_reverse'; allowed: an LSTM of one",
        ),
        (
            TORCH | {"norm.weight": zeros(3)},
            "state_dict: 'norm.weight'; allowed: head.bias, head.weight, lstm",
        ),
        (TORCH | {"lstm.weight_ih_l3": zeros(12, 3)}, "state_dict: 'lstm.weight_ih_l3'; allowed"),
        (TORCH | {"lstm.weight_ih_l0": zeros(9, 2)}, "lstm.weight_ih_l0: shape (9, 2); allowed: (12, any)"),
        (TORCH | {"lstm.weight_hh_l0": zeros(9, 3)}, "lstm.weight_hh_l0: shape (9, 3); allowed: (12, 3)"),
        (TORCH | {"lstm.weight_ih_l1": zeros(12, 6)}, "lstm.weight_ih_l1: shape (12, 6); allowed: (12, 3)"),
        (TORCH | {"lstm.bias_ih_l0": zeros(3, 4)}, "lstm.bias_ih_l0: shape (3, 4); allowed: (12)"),
        (TORCH | {"head.weight": zeros(3, 1)}, "head.weight: shape (3, 1); allowed: (any, 3)"),
        (TORCH | {"head.bias": zeros(2)}, "head.bias: shape (2,); allowed: (1)"),
    ],
)
def test_torch_arrays_of_another_network_are_refused_by_name(state_dict, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        interop.from_torch(state_dict)


def test_layers_of_different_sizes_fit_keras_and_flax_but_no_single_torch_lstm():
    params = interop.from_keras(KERAS)
    assert [a.shape for a in interop.to_keras(params)] == [a.shape for a in KERAS]
    with pytest.raises(
        ValueError, match=re.escape("params: layers of [3, 4] hidden units; allowed: the same")
    ):
        interop.to_torch(params)
