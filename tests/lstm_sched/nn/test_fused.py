"""The fused LSTM is Flax's cell, scanned: in values, in gradients, under every transformation.

Letters as in network.py; M members.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from helpers.lstms import assert_close, random_cell, run_layer
from helpers.small import SOON
from jax.experimental import rnn
from jax.flatten_util import ravel_pytree
from jax.sharding import AxisType, PartitionSpec
from jax.test_util import check_grads

from lstm_sched.nn import lstm as lstm_layers

compile_soon = functools.partial(jax.jit, compiler_options=SOON)
lstm, scan_lstm = compile_soon(lstm_layers.lstm_layer), compile_soon(lstm_layers.scan_lstm)
recomputed = lstm_layers.LAYERS["recomputed"]

SIZES = [(1, 1, 1, 1), (4, 12, 1, 16), (2, 5, 6, 20)]  # batch, time, features, hidden
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}


@pytest.fixture(params=list(TOLERANCE))
def dtype(request):
    with jax.enable_x64(request.param == "float64"):
        yield request.param


def problem(dtype, batch=3, time=7, features=2, hidden=5, scale=0.3, seed=0) -> Any:
    """Random cell parameters, input and carry."""
    rng = np.random.default_rng(seed)
    cell_params = random_cell(rng, features, hidden, dtype, scale)
    x_BTF, c_BH, h_BH = (
        (scale * rng.normal(size=shape)).astype(dtype)
        for shape in ((batch, time, features), (batch, hidden), (batch, hidden))
    )
    return cell_params, x_BTF, (c_BH, h_BH)


def masked(arguments, live=0.6) -> Any:
    """A mask in which every step of some sequence is left out, the first and the last among them."""
    batch, time, _ = arguments[1].shape
    return (*arguments, np.random.default_rng(3).random((batch, time)) < live)


def weighted(layer, *arguments):
    """A scalar in which every output of `layer` counts differently; also the outputs."""
    outputs = layer(*arguments)
    rng, leaves = np.random.default_rng(1), jax.tree.leaves(outputs)
    weights = [jnp.asarray(rng.normal(size=a.shape), a.dtype) for a in leaves]
    return sum(jnp.vdot(a, w) for a, w in zip(leaves, weights, strict=True)), outputs


@functools.cache
def program(layer):
    """Outputs, and gradients with respect to weights, input and carry."""

    def outputs_and_gradients(*arguments):
        gradient = jax.grad(functools.partial(weighted, layer), (0, 1, 2), has_aux=True)
        return gradient(*arguments)[::-1]

    return compile_soon(outputs_and_gradients)


@pytest.mark.parametrize("layer", [lstm_layers.lstm_layer, recomputed])
@pytest.mark.parametrize("sizes", [*SIZES, "masked"])
def test_outputs_and_gradients_equal_a_numpy_loop_and_autodiff(dtype, sizes, layer):
    arguments = masked(problem(dtype, batch=6)) if sizes == "masked" else problem(dtype, *sizes)
    outputs, gradients = program(layer)(*arguments)
    scanned, by_autodiff = program(lstm_layers.scan_lstm)(*arguments)
    assert_close(outputs, run_layer(*arguments), TOLERANCE[dtype])
    assert_close(scanned, run_layer(*arguments), TOLERANCE[dtype])
    assert_close(gradients, by_autodiff, TOLERANCE[dtype])


def test_to_recompute_keeps_two_states_and_the_input_of_each_step():
    arguments = problem("float32", batch=4, time=12, features=1, hidden=16)

    def kept(layer):
        """Numbers that the gradient keeps per sample and time step."""
        saved = jax.tree.leaves(jax.eval_shape(lambda *a: jax.vjp(layer, *a)[1], *arguments))
        return sum(a.size for a in saved if a.ndim == 3 and a.shape[:2] == (12, 4)) / (12 * 4)

    assert kept(lstm_layers.lstm_layer) == 7 * 16 + 1 + 1
    assert kept(recomputed) == 2 * 16 + 1 + 1


@pytest.mark.parametrize("lengths", [(7, 7, 7, 7), (7, 1, 4, 2)])
def test_sequences_of_several_lengths_end_in_the_state_that_flax_returns(x64, lengths):
    cell_params, x_BTF, carry = problem("float64", batch=4)
    scanned = nn.RNN(nn.OptimizedLSTMCell(5), return_carry=True)

    @compile_soon
    def flax(lengths_B):
        return scanned.apply(
            {"params": {"cell": cell_params}}, x_BTF, initial_carry=carry, seq_lengths=lengths_B
        )

    lengths_B = np.array(lengths)
    after, h_BTH = flax(lengths_B)
    ours, ours_BTH = lstm(cell_params, x_BTF, carry, np.arange(7)[None] < lengths_B[:, None])
    assert_close(ours, after, 1e-12)
    if lengths == (7, 7, 7, 7):
        assert_close(ours_BTH, h_BTH, 1e-12)


def test_gradients_equal_autodiff_where_gates_saturate(x64):
    arguments = masked(problem("float64", batch=6, scale=10.0), live=1)
    gradients, by_autodiff = (program(f)(*arguments)[1] for f in (recomputed, lstm_layers.scan_lstm))
    assert_close(ravel_pytree(gradients)[0], ravel_pytree(by_autodiff)[0], 1e-12)
    fused = program(lstm_layers.lstm_layer)(*arguments)[1]
    assert_close(ravel_pytree(fused)[0], ravel_pytree(by_autodiff)[0], 1e-12)


def test_gradients_are_finite_where_every_gate_is_shut(dtype):
    arguments = masked(problem(dtype, batch=6, scale=1e4), live=1)
    _, gradients = program(lstm_layers.lstm_layer)(*arguments)
    assert all(np.isfinite(a).all() for a in jax.tree.leaves(gradients))


def test_gradients_equal_finite_differences(x64):
    check_grads(jax.jit(lstm_layers.lstm_layer), problem("float64", 2, 3, 2, 3), order=1, modes=["rev"])


def test_a_product_with_the_hessian_equals_plain_autodiff(x64):
    arguments, direction = problem("float64"), problem("float64", seed=1)

    def product(layer):
        gradient = jax.grad(lambda *a: weighted(layer, *a)[0], (0, 1, 2))
        return compile_soon(lambda *a: jax.jvp(gradient, a, direction)[1])(*arguments)

    assert_close(product(lstm_layers.lstm_layer), product(lstm_layers.scan_lstm), 1e-12)


def test_a_gradient_through_training_steps_equals_plain_autodiff(x64):
    """Of a scan of steps that each have a gradient: reverse over reverse, within a loop."""
    cell_params, *inputs = problem("float64", batch=2, time=3)

    def trained(layer, rate):
        def loss(params):
            return weighted(layer, params, *inputs)[0]

        def step(params, _):
            return jax.tree.map(lambda p, g: p - rate * g, params, jax.grad(loss)(params)), None

        params, _ = jax.lax.scan(step, cell_params, None, length=3)
        return loss(params)

    slopes = [
        compile_soon(jax.grad(functools.partial(trained, layer)))(0.01)
        for layer in (lstm_layers.lstm_layer, lstm_layers.scan_lstm)
    ]
    np.testing.assert_allclose(*slopes, rtol=1e-10)


@pytest.mark.parametrize("argument", range(3))
@pytest.mark.parametrize("way", [lambda f: f, jax.jit, jax.vmap], ids=["eager", "jit", "vmap"])
def test_forward_mode_is_refused_by_lstm_which_names_scan_lstm(argument, way):
    arguments = problem("float32")

    def slope(a):
        def layer(a):
            cell_params, x_BTF, carry = (*arguments[:argument], a, *arguments[argument + 1 :])
            return lstm_layers.lstm_layer(cell_params, x_BTF, carry)

        return jax.jvp(layer, (a,), (a,))

    value = arguments[argument]
    with pytest.raises(TypeError, match=r"forward mode .* allowed: scan_lstm"):
        way(slope)(jax.tree.map(lambda a: a[None], value) if way is jax.vmap else value)


def test_scan_lstm_has_forward_mode():
    cell_params, x_BTF, _ = problem("float32")
    _, slope = jax.jvp(lambda x: scan_lstm(cell_params, x)[1], (x_BTF,), (x_BTF,))
    assert jnp.abs(slope).max() > 0


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
    arguments = problem("float32", *SIZES[2])
    by_cudnn, ours = (program(f)(*arguments) for f in (lstm_layers.cudnn_lstm, lstm_layers.lstm_layer))
    assert_close(by_cudnn, ours, 2e-6)
    from_zeros = compile_soon(lstm_layers.cudnn_lstm)(*arguments[:2])
    assert_close(from_zeros, run_layer(*arguments[:2]), 2e-6)


def test_cudnn_refuses_what_it_cannot(reference, x64):
    with pytest.raises(ValueError, match="cudnn_lstm: float64; allowed: float32"):
        lstm_layers.cudnn_lstm(*problem("float64"))
    with pytest.raises(ValueError, match="cudnn_lstm: a mask of steps; allowed: none"):
        lstm_layers.cudnn_lstm(*masked(problem("float32")))


def test_without_a_gpu_cudnn_is_refused():
    with pytest.raises(ValueError, match="cudnn_lstm: on cpu; allowed: on an NVIDIA GPU"):
        lstm_layers.cudnn_lstm(*problem("float32"))


def test_an_output_depends_on_every_earlier_input_and_on_no_later_one(x64):
    cell_params, x_BTF, carry = problem("float64", batch=1)
    slope = compile_soon(jax.jacrev(lambda x: lstm_layers.lstm_layer(cell_params, x, carry)[1]))
    depends = np.abs(slope(x_BTF)).max(axis=(0, 2, 3, 5))  # of output time on input time
    np.testing.assert_array_equal(np.triu(depends, 1), 0)
    assert (depends[np.tril_indices_from(depends)] > 0).all()


def test_a_sequence_cut_at_every_step_with_its_carry_handed_on_is_one_sequence(dtype):
    cell_params, x_BTF, carry = problem(dtype, time=4)
    whole, after, outputs = lstm(cell_params, x_BTF, carry), carry, []
    for t in range(4):
        after, h_B1H = lstm(cell_params, x_BTF[:, t : t + 1], after)
        outputs.append(h_B1H)
    assert_close((after, np.concatenate(outputs, axis=1)), whole, TOLERANCE[dtype])


@jax.jit
def value_and_gradient(*arguments):
    def loss(*arguments):
        return jnp.sum(lstm_layers.lstm_layer(*arguments)[1] ** 2)

    return jax.value_and_grad(loss, (0, 1, 2))(*arguments)


def sharded(arguments):
    def mapped(arguments):
        return jax.lax.map(lambda member: value_and_gradient(*member), arguments)

    mesh = jax.make_mesh((2,), ("member",), axis_types=(AxisType.Auto,))
    spec = PartitionSpec("member")
    return jax.shard_map(mapped, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)(arguments)


def chosen(arguments):
    def of_member(member):
        return jax.lax.cond(member[1].sum() < jnp.inf, value_and_gradient, lambda *a: (0.0, a), *member)

    return jax.lax.map(of_member, arguments)


def batched(arguments):
    return jax.vmap(value_and_gradient)(*arguments)


@pytest.mark.parametrize("transformed", [sharded, chosen, batched])
def test_members_under_map_shard_map_cond_and_vmap_are_the_single_runs(transformed):
    members = [problem("float32", seed=seed) for seed in range(4)]
    values_M = jax.device_get(jax.jit(transformed)(jax.tree.map(lambda *a: np.stack(a), *members)))
    for m, member in enumerate(members):
        of_member = jax.tree.map(lambda a, m=m: a[m], values_M)
        assert_close(of_member, value_and_gradient(*member), TOLERANCE["float32"])
