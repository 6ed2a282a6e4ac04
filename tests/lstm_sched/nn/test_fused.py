"""The fused LSTM is Flax's cell, scanned: in values, in gradients, under every transformation.

Differences are relative to the largest entry of the array they fall in. Letters as in cell.py; M members.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.experimental import rnn
from jax.flatten_util import ravel_pytree
from jax.sharding import AxisType, PartitionSpec
from jax.test_util import check_grads

from lstm_sched.nn import lstm as lstm_layers
from lstm_sched.nn.gates import pack, unpack

lstm, scan_lstm = jax.jit(lstm_layers.lstm_layer), jax.jit(lstm_layers.scan_lstm)
recomputed = jax.jit(functools.partial(lstm_layers.lstm_layer, recompute=True))

SIZES = [(1, 1, 1, 1), (4, 12, 1, 16), (2, 5, 6, 20)]  # batch, time, features, hidden
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}


@pytest.fixture(params=list(TOLERANCE))
def dtype(request):
    with jax.enable_x64(request.param == "float64"):
        yield request.param


def problem(dtype, batch=3, time=7, features=2, hidden=5, scale=0.3, seed=0):
    """Random cell parameters, input and carry."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return jnp.asarray(scale * rng.normal(size=shape), dtype)

    cell_params = unpack(
        normal(features, 4 * hidden), normal(hidden, 4 * hidden) / hidden**0.5, normal(4 * hidden)
    )
    return cell_params, normal(batch, time, features), (normal(batch, hidden), normal(batch, hidden))


def assert_close(tree, reference, tolerance):
    assert jax.tree.structure(tree) == jax.tree.structure(reference)
    for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(reference), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max(initial=1e-300))


def numpy_lstm(cell_params, x_BTF, carry, mask_BT=None):
    kernel, recurrent, bias = (np.asarray(a) for a in pack(cell_params))
    (c, h), outputs = (np.asarray(a) for a in carry), []
    live_BT = np.ones(x_BTF.shape[:2], bool) if mask_BT is None else np.asarray(mask_BT)
    for t in range(x_BTF.shape[1]):
        live_B1, before = live_BT[:, t, None], (c, h)
        i, f, g, o = np.split(np.asarray(x_BTF)[:, t] @ kernel + h @ recurrent + bias, 4, axis=1)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
        c, h = (np.where(live_B1, new, old) for new, old in zip((c, h), before, strict=True))
        outputs.append(h)
    return (c, h), np.stack(outputs, axis=1)


def weighted(layer, weights):
    """A scalar in which every output of `layer` counts differently."""

    def total(*arguments):
        outputs = jax.tree.leaves(layer(*arguments))
        return sum(jnp.vdot(a, w) for a, w in zip(outputs, jax.tree.leaves(weights), strict=True))

    return total


def random_like(tree, seed=1):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape), a.dtype), tree)


def both_gradients(arguments, by_hand=lstm):
    """With respect to weights, input and carry, by hand and by autodiff."""
    weights = random_like(jax.eval_shape(lstm, *arguments))
    return (jax.jit(jax.grad(weighted(f, weights), (0, 1, 2)))(*arguments) for f in (by_hand, scan_lstm))


def masked(arguments, seed=3):
    """A mask in which every step of some sequence is left out, the first and the last among them."""
    batch, time, _ = arguments[1].shape
    return (*arguments, jnp.asarray(np.random.default_rng(seed).random((batch, time)) < 0.6))


@pytest.mark.parametrize("sizes", SIZES)
def test_values_equal_flax_and_a_numpy_loop(dtype, sizes):
    arguments = cell_params, x_BTF, carry = problem(dtype, *sizes)
    result = lstm(*arguments)
    scanned = nn.RNN(nn.OptimizedLSTMCell(sizes[-1]), return_carry=True)
    flax = jax.jit(scanned.apply)({"params": {"cell": cell_params}}, x_BTF, initial_carry=carry)
    assert_close(result, scan_lstm(*arguments), TOLERANCE[dtype])
    assert_close(result, flax, TOLERANCE[dtype])
    assert_close(result, numpy_lstm(*arguments), TOLERANCE[dtype])


@pytest.mark.parametrize("sizes", SIZES)
def test_gradients_of_weights_input_and_carry_equal_autodiff(dtype, sizes):
    fused, plain = both_gradients(problem(dtype, *sizes))
    assert_close(fused, plain, TOLERANCE[dtype])


@pytest.mark.parametrize("sizes", SIZES)
def test_gradients_that_compute_the_gates_again_equal_autodiff(dtype, sizes):
    arguments = problem(dtype, *sizes)
    fused, plain = both_gradients(arguments, recomputed)
    assert_close(fused, plain, TOLERANCE[dtype])
    assert_close(recomputed(*arguments), lstm(*arguments), TOLERANCE[dtype])


def test_to_recompute_keeps_two_states_and_the_input_of_each_step():
    arguments = problem("float32", batch=4, time=12, features=1, hidden=16)

    def kept(form):
        """Numbers that the gradient keeps for a sample and time step."""
        saved = jax.tree.leaves(jax.eval_shape(lambda *a: jax.vjp(form, *a)[1], *arguments))
        return sum(a.size for a in saved if a.ndim == 3 and a.shape[:2] == (12, 4)) / (12 * 4)

    assert kept(lstm) == 7 * 16 + 1 + 1
    assert kept(recomputed) == 2 * 16 + 1 + 1


def test_a_masked_step_leaves_state_and_output_as_they_were(dtype):
    arguments = masked(problem(dtype, batch=6))
    for form in (lstm, recomputed, scan_lstm):
        assert_close(form(*arguments), numpy_lstm(*arguments), TOLERANCE[dtype])


def test_sequences_of_several_lengths_end_in_the_state_that_flax_returns(dtype):
    cell_params, x_BTF, carry = problem(dtype, batch=4)
    lengths_B = jnp.array([7, 1, 4, 2])
    scanned = nn.RNN(nn.OptimizedLSTMCell(5), return_carry=True)
    flax, _ = scanned.apply(
        {"params": {"cell": cell_params}}, x_BTF, initial_carry=carry, seq_lengths=lengths_B
    )
    ours, _ = lstm(cell_params, x_BTF, carry, jnp.arange(7)[None] < lengths_B[:, None])
    assert_close(ours, flax, TOLERANCE[dtype])


@pytest.mark.parametrize("by_hand", [lstm, recomputed])
def test_gradients_through_a_mask_equal_autodiff(dtype, by_hand):
    fused, plain = both_gradients(masked(problem(dtype, batch=6)), by_hand)
    assert_close(fused, plain, TOLERANCE[dtype])


def test_gradients_of_the_last_output_alone_equal_autodiff(dtype):
    arguments = problem(dtype)
    fused, plain = (
        jax.jit(jax.grad(lambda *a, f=f: jnp.sum(f(*a)[0][1] ** 2), (0, 1, 2)))(*arguments)
        for f in (lstm, scan_lstm)
    )
    assert_close(fused, plain, TOLERANCE[dtype])


def test_gradients_equal_autodiff_where_gates_saturate(x64):
    fused, plain = both_gradients(problem("float64", scale=10.0))
    assert_close(ravel_pytree(fused)[0], ravel_pytree(plain)[0], 1e-12)


def test_gradients_are_finite_where_every_gate_is_shut(dtype):
    fused, _ = both_gradients(problem(dtype, scale=1e4))
    assert all(np.isfinite(a).all() for a in jax.tree.leaves(fused))


def test_gradients_equal_finite_differences_twice(x64):
    check_grads(lstm, problem("float64", 2, 3, 2, 3), order=2, modes=["rev"])


def test_a_product_with_the_hessian_equals_plain_autodiff(x64):
    arguments = problem("float64")
    weights, direction = random_like(jax.eval_shape(lstm, *arguments)), random_like(arguments)

    def product(layer):
        gradient = jax.grad(weighted(layer, weights), (0, 1, 2))
        return jax.jit(lambda *a: jax.jvp(gradient, a, direction)[1])(*arguments)

    assert_close(product(lstm), product(scan_lstm), 1e-12)


@pytest.mark.parametrize("which", ["weights", "inputs", "carry"])
@pytest.mark.parametrize("way", [lambda f: f, jax.jit, jax.vmap], ids=["as it is", "jit", "vmap"])
def test_forward_mode_is_refused_by_lstm_which_names_scan_lstm(which, way):
    cell_params, x_BTF, carry = problem("float32")
    argument, after = {
        "weights": (cell_params, lambda a: lstm_layers.lstm_layer(a, x_BTF, carry)),
        "inputs": (x_BTF, lambda a: lstm_layers.lstm_layer(cell_params, a, carry)),
        "carry": (carry, lambda a: lstm_layers.lstm_layer(cell_params, x_BTF, a)),
    }[which]

    def slope(a):
        return jax.jvp(after, (a,), (a,))

    moved = jax.tree.map(lambda a: a[None], argument) if way is jax.vmap else argument
    with pytest.raises(TypeError, match=r"lstm: forward mode .* allowed: scan_lstm"):
        way(slope)(moved)


def test_scan_lstm_has_forward_mode():
    arguments = problem("float32")
    _, slope = jax.jvp(lambda x: scan_lstm(arguments[0], x)[1], arguments[1:2], arguments[1:2])
    assert jnp.abs(slope).max() > 0


def test_a_gradient_through_training_steps_equals_plain_autodiff(x64):
    """Of a scan of steps that each have a gradient: reverse over reverse, within a loop."""
    arguments = problem("float64")
    weights = random_like(jax.eval_shape(lstm, *arguments))

    def trained(form, rate):
        def step(params, _):
            grads = jax.grad(weighted(form, weights))(params, *arguments[1:])
            return jax.tree.map(lambda p, g: p - rate * g, params, grads), None

        params, _ = jax.lax.scan(step, arguments[0], None, length=3)
        return weighted(form, weights)(params, *arguments[1:])

    slopes = [
        jax.jit(jax.grad(functools.partial(trained, f)))(0.01)
        for f in (lstm_layers.lstm_layer, lstm_layers.scan_lstm)
    ]
    np.testing.assert_allclose(*slopes, rtol=1e-10)


@pytest.fixture
def reference(monkeypatch):
    """JAX's own reference for cuDNN's arrays, where there is no cuDNN."""

    def unpacked(x_BTF, h_1BH, c_1BH, weights, lengths_B, *sizes):
        features, hidden, layers, _, both_ways = sizes
        weights = rnn.unpack_lstm_weights(weights, features, hidden, layers, both_ways)
        return rnn.lstm_ref(x_BTF, h_1BH, c_1BH, *weights, lengths_B, *sizes)

    monkeypatch.setattr(rnn, "lstm", unpacked)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")


def test_what_cudnn_is_given_is_the_same_lstm(reference):
    arguments = problem("float32", 4, 12, 3, 5)
    assert_close(lstm_layers.cudnn_lstm(*arguments), lstm(*arguments), 2e-6)
    by_cudnn, plain = both_gradients(arguments, jax.jit(lstm_layers.cudnn_lstm))
    assert_close(by_cudnn, plain, 2e-6)
    at_rest = jax.tree.map(jnp.zeros_like, arguments[2])
    assert_close(lstm_layers.cudnn_lstm(*arguments[:2]), lstm(*arguments[:2], at_rest), 2e-6)


def test_cudnn_refuses_what_it_cannot(reference, x64):
    arguments = problem("float32")
    with pytest.raises(ValueError, match="cudnn_lstm: float64; allowed: float32"):
        lstm_layers.cudnn_lstm(*problem("float64"))
    with pytest.raises(ValueError, match="cudnn_lstm: a mask of steps; allowed: none"):
        lstm_layers.cudnn_lstm(*masked(arguments))


def test_without_a_gpu_cudnn_is_refused():
    with pytest.raises(ValueError, match="cudnn_lstm: on cpu; allowed: on an NVIDIA GPU"):
        lstm_layers.cudnn_lstm(*problem("float32"))


def test_an_output_depends_on_every_earlier_input_and_on_no_later_one(x64):
    cell_params, x_BTF, carry = problem("float64", batch=1)
    slope_BTHBTF = jax.jit(jax.jacrev(lambda x: lstm(cell_params, x, carry)[1]))(x_BTF)
    depends = np.abs(slope_BTHBTF).max(axis=(0, 2, 3, 5))  # of output time on input time
    np.testing.assert_array_equal(np.triu(depends, 1), 0)
    assert (depends[np.tril_indices_from(depends)] > 0).all()


@pytest.mark.parametrize("cut", [1, 4])
def test_a_sequence_cut_in_two_with_its_carry_handed_on_is_one_sequence(dtype, cut):
    cell_params, x_BTF, carry = problem(dtype)
    middle, first = lstm(cell_params, x_BTF[:, :cut], carry)
    end, second = lstm(cell_params, x_BTF[:, cut:], middle)
    parts = end, jnp.concatenate([first, second], axis=1)
    assert_close(parts, lstm(cell_params, x_BTF, carry), TOLERANCE[dtype])


def test_no_carry_is_a_carry_of_zeros():
    cell_params, x_BTF, (c_BH, h_BH) = problem("float32")
    for form in (lstm, scan_lstm):
        zeros = form(cell_params, x_BTF, (0 * c_BH, 0 * h_BH))
        assert_close(form(cell_params, x_BTF), zeros, 0)


@jax.jit
def value_and_gradient(*arguments):
    return jax.value_and_grad(lambda *a: jnp.sum(lstm(*a)[1] ** 2), (0, 1, 2))(*arguments)


def mapped(arguments):
    return jax.lax.map(lambda one: value_and_gradient(*one), arguments)


def sharded(arguments):
    mesh = jax.make_mesh((2,), ("member",), axis_types=(AxisType.Auto,))
    spec = PartitionSpec("member")
    return jax.shard_map(mapped, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)(arguments)


def chosen(arguments):
    def one(arguments):
        return jax.lax.cond(arguments[1].sum() < jnp.inf, value_and_gradient, lambda *a: (0.0, a), *arguments)

    return jax.lax.map(one, arguments)


def batched(arguments):
    return jax.vmap(value_and_gradient)(*arguments)


@pytest.mark.parametrize("transformed", [mapped, sharded, chosen, batched])
def test_members_under_map_shard_map_cond_and_vmap_are_the_single_runs(transformed):
    each = [problem("float32", seed=seed) for seed in range(4)]
    arguments = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    together = jax.device_get(jax.jit(transformed)(arguments))
    for m, single in enumerate(each):
        row = jax.tree.map(lambda a, m=m: a[m], together)
        assert_close(row, value_and_gradient(*single), TOLERANCE["float32"])
