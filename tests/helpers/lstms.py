"""LSTMs in NumPy: random weights, for which nothing is compiled, and the formulas step by step.

Letters as in network.py.
"""

import jax
import numpy as np

from lstm_sched.nn.gates import GATES, unpack


def random_cell(rng, features, hidden, dtype="float64", scale=0.3):
    """The parameters of a layer."""
    kernel, recurrent, bias = (
        scale * rng.normal(size=shape) for shape in ((features, 4 * hidden), (hidden, 4 * hidden), 4 * hidden)
    )
    return unpack(kernel.astype(dtype), (recurrent / hidden**0.5).astype(dtype), bias.astype(dtype))


def random_network(rng, features=2, hidden=6, layers=2, outputs=3, dtype="float64"):
    """The parameters of a network."""
    cells = {
        f"lstm_{n}": random_cell(rng, hidden if n else features, hidden, dtype, scale=1)
        for n in range(layers)
    }
    head = {"kernel": rng.normal(size=(hidden, outputs)), "bias": rng.normal(size=outputs)}
    return cells | {"head": {name: a.astype(dtype) for name, a in head.items()}}


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def run_layer(cell_params, x_BTF, carry=None, mask_BT=None):
    """The state after the last step, and every step's output."""
    kernel, recurrent, bias = (
        np.concatenate([np.asarray(cell_params[side + gate][name]) for gate in GATES], axis=-1)
        for side, name in (("i", "kernel"), ("h", "kernel"), ("h", "bias"))
    )
    zeros_BH = np.zeros((len(x_BTF), len(recurrent)), kernel.dtype)
    (c, h), outputs = (zeros_BH, zeros_BH) if carry is None else carry, []
    for t in range(x_BTF.shape[1]):
        before = c, h
        i, f, g, o = np.split(x_BTF[:, t] @ kernel + h @ recurrent + bias, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        if mask_BT is not None:
            c, h = (np.where(mask_BT[:, t, None], new, old) for new, old in zip((c, h), before, strict=True))
        outputs.append(h)
    return (c, h), np.stack(outputs, axis=1)


def run_network(params, x_BTF):
    """The prediction, and each layer's state after the last step."""
    states = []
    for n in range(len(params) - 1):
        state, x_BTF = run_layer(params[f"lstm_{n}"], x_BTF)
        states.append(state)
    return x_BTF[:, -1] @ params["head"]["kernel"] + params["head"]["bias"], tuple(states)


def assert_close(tree, reference, tolerance):
    """Differences are relative to the largest entry of the array they fall in."""
    assert jax.tree.structure(tree) == jax.tree.structure(reference)
    for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(reference), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max(initial=1e-300))
