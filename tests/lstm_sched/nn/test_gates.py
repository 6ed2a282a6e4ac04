"""A layer's gates and Keras' three arrays of it; which of its variables a leaf is part of."""

import jax
import jax.numpy as jnp
import numpy as np
from helpers.lstms import random_network

from lstm_sched.nn.gates import pack, unpack, variable_of


def test_joint_arrays_and_parameters_are_inverses_in_keras_gate_order():
    kernel, recurrent, bias = (
        jnp.arange(24.0).reshape(2, 12),
        jnp.arange(36.0).reshape(3, 12),
        jnp.arange(12.0),
    )
    params = unpack(kernel, recurrent, bias)
    for gate, columns in zip("ifgo", np.arange(12).reshape(4, 3), strict=True):
        np.testing.assert_array_equal(params["i" + gate]["kernel"], kernel[:, columns])
        np.testing.assert_array_equal(params["h" + gate]["kernel"], recurrent[:, columns])
        np.testing.assert_array_equal(params["h" + gate]["bias"], bias[columns])
    for a, b in zip(pack(params), (kernel, recurrent, bias), strict=True):
        np.testing.assert_array_equal(a, b)
    on_host = unpack(*map(np.asarray, (kernel, recurrent, bias)))
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves((on_host, pack(on_host))))
    jax.tree.map(np.testing.assert_array_equal, on_host, params)
    jax.tree.map(np.testing.assert_array_equal, pack(on_host), (kernel, recurrent, bias))


def test_every_leaf_is_part_of_the_keras_variable_of_its_name_and_fills_it():
    params = random_network(np.random.default_rng(0), hidden=5)
    sizes = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        sizes[variable_of(path)] = sizes.get(variable_of(path), 0) + leaf.size
    assert sizes == {
        ("lstm_0", "kernel"): 2 * 20,
        ("lstm_0", "recurrent_kernel"): 5 * 20,
        ("lstm_0", "bias"): 20,
        ("lstm_1", "kernel"): 5 * 20,
        ("lstm_1", "recurrent_kernel"): 5 * 20,
        ("lstm_1", "bias"): 20,
        ("head", "kernel"): 5 * 3,
        ("head", "bias"): 3,
    }
