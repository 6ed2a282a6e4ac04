"""The rows of a dense network: what each can tell, and that what both sides are given is the package's own."""

import functools
import importlib.util

import jax
import numpy as np
import pytest
from helpers.small import SOON

from experiments.conformance import dense_rows, ours
from experiments.conformance import run as conformance
from experiments.conformance.rows import ARRAYS, EPOCHS, HIDDEN
from lstm_sched.loop import run
from lstm_sched.presets import SKLEARN_PARTIAL_FIT, SKORCH_FIT
from lstm_sched.state import init_params

SAME = {  # rows that are the same training, to the last bit
    "MLP partial_fit": "MLP fit",
    "skorch partial_fit": "skorch fit",
    "skorch warm_start": "skorch fit",
}
OTHERS = [
    ("MLP fit", "MLP fit again"),
    ("MLP fit", "MLP warm_start, max_iter=1"),
    ("MLP fit", "MLP warm_start"),
    ("MLP fit", "MLP shuffled, fit"),
    ("MLP SGD, partial_fit", "MLP SGD, warm_start, max_iter=1"),
    ("MLP shuffled, fit", "MLP shuffled, partial_fit"),
    ("MLP shuffled, fit", "MLP shuffled, warm_start"),
    ("MLP shuffled, partial_fit", "MLP shuffled, warm_start, max_iter=1"),
    ("skorch fit", "skorch fit again"),
    ("skorch SGD, partial_fit", "skorch SGD, fit again"),
]

RUN_SOON = jax.jit(run, static_argnames=("learner", "epochs"), compiler_options=SOON)


@functools.cache
def own(name):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ours, "_run_jit", RUN_SOON)
        return ours.ours(dense_rows.DENSE[name])


def said(name, change=0.0):
    """What a package would say that trains as we do, but for a change of the third epoch's loss."""
    log_E2, flat = own(name)
    log = log_E2.tolist()
    log[2][0] += change
    return {"version": "package 1", "rows": {name: {"log": log, "weights": {"0": flat.tolist()}}}}


@pytest.mark.parametrize("name", ["MLP warm_start", "skorch fit again"])
def test_a_row_agrees_to_a_billionth_or_not_at_all(name):
    backend = dense_rows.DENSE[name].backends[0]
    for change, verdict in ((0.0, "agrees"), (1e-8, "disagrees")):
        [finding] = conformance.compare(backend, said(name, change), {name: own(name)})
        assert finding.verdict == verdict
        assert finding.loss_E[2] == pytest.approx(change, abs=1e-12)


@pytest.mark.parametrize("backend", ["sklearn", "skorch"])
def test_a_package_that_is_not_there_is_named_row_by_row(backend):
    findings = conformance.compare(backend, {"why_not": "it is not installed"}, {})
    assert [f.row for f in findings] == list(getattr(dense_rows, backend.upper()))
    assert {f.verdict for f in findings} == {"not checked"}


@pytest.mark.parametrize(("name", "other"), SAME.items())
def test_fits_that_drop_nothing_that_is_read_are_one_fit_to_the_last_bit(name, other):
    jax.tree.map(np.testing.assert_array_equal, own(name), own(other))


@pytest.mark.parametrize(("one", "other"), OTHERS)
def test_a_row_can_tell_what_it_is_about(one, other):
    assert np.abs(own(one)[0] - own(other)[0]).max() > 1e-3


def test_a_fit_again_repeats_the_first_and_one_from_new_weights_does_not():
    log_FE2 = own("MLP fit again")[0].reshape(-1, dense_rows.FIT, 2)
    np.testing.assert_array_equal(log_FE2, np.broadcast_to(log_FE2[:1], log_FE2.shape))
    firsts = own("skorch fit again")[0][:: dense_rows.FIT, 0]
    assert np.diff(np.sort(firsts)).min() > 1e-3


def test_the_preset_alone_would_go_back_to_the_first_order():
    """Why the shuffled rows are given every order: scikit-learn's second fit shuffles a stream that drew no weights."""
    row = dense_rows.DENSE["MLP shuffled, partial_fit"]
    log_E2, _ = ours.ours(row._replace(policy=SKLEARN_PARTIAL_FIT))
    np.testing.assert_array_equal(log_E2[0], own("MLP shuffled, partial_fit")[0][0])
    assert np.abs(log_E2[1:] - own("MLP shuffled, partial_fit")[0][1:]).max() > 1e-3


@pytest.mark.parametrize("fit", [1, 3, EPOCHS])
def test_orders_are_permutations_and_all_fits_but_the_first_have_the_same(fit):
    index_FEN = dense_rows.orders(fit).reshape(-1, fit, dense_rows.SAMPLES)
    np.testing.assert_array_equal(
        np.sort(index_FEN), np.broadcast_to(np.arange(dense_rows.SAMPLES), index_FEN.shape)
    )
    assert (index_FEN[1:] == index_FEN[1:2]).all()
    assert not (index_FEN[1:, 0] == index_FEN[0, 0]).all(-1).any()


def test_the_module_is_handed_what_the_preset_draws(x64):
    row, arrays = dense_rows.DENSE["skorch fit again"], dense_rows.arrays()
    learner = row.learner
    assert learner is not None
    assert row.policy is SKORCH_FIT
    drawn = jax.jit(lambda epoch: init_params(learner, jax.random.key(dense_rows.SEED), epoch))
    for n, epoch in enumerate(range(0, EPOCHS, row.every)):
        for i, weight in enumerate(drawn(epoch)):
            assert weight.dtype == np.float64
            np.testing.assert_array_equal(weight, arrays[f"draw_{n}_{i}"])


def test_the_network_is_the_one_in_numpy(x64):
    x_BTF, y_BO = (ARRAYS[name].astype(float) for name in ("X", "y"))
    weights = dense_rows.drawn(np.random.RandomState(0))
    h_BH = np.tanh(x_BTF.reshape(len(x_BTF), -1) @ weights[0] + weights[1])
    want_B = 0.5 * ((h_BH @ weights[2] + weights[3] - y_BO) ** 2)[:, 0]
    weights, x_BTF, y_BO = jax.tree.map(jax.numpy.asarray, (tuple(weights), x_BTF, y_BO))
    got_B, carry = dense_rows.loss(weights, "carry", x_BTF, y_BO, None, share=0.5)
    np.testing.assert_allclose(got_B, want_B, rtol=1e-12)
    assert carry == "carry"


@pytest.mark.peers
def test_weights_and_orders_are_those_of_scikit_learn():
    """Drawn here from NumPy's stream, there by the package's own functions."""
    if importlib.util.find_spec("sklearn") is None:
        pytest.skip("sklearn: not installed (extra `peers`)")
    from sklearn.neural_network import MLPRegressor  # pyright: ignore[reportMissingImports]
    from sklearn.utils import shuffle  # pyright: ignore[reportMissingImports]

    x, y = ARRAYS["X"].reshape(dense_rows.SAMPLES, -1).astype(float), ARRAYS["y"][:, 0].astype(float)
    still = {"solver": "sgd", "learning_rate_init": 1e-300}  # no weight moves
    sizes = {"hidden_layer_sizes": (HIDDEN,), "random_state": dense_rows.SEED}
    model = MLPRegressor(**sizes, **still).partial_fit(x, y)
    stream = np.random.RandomState(dense_rows.SEED)
    kernel_IH, bias_H, kernel_HO, bias_O = dense_rows.drawn(stream)
    jax.tree.map(np.testing.assert_array_equal, model.coefs_, [kernel_IH, kernel_HO])
    jax.tree.map(np.testing.assert_array_equal, model.intercepts_, [bias_H, bias_O])
    index_N = np.arange(dense_rows.SAMPLES)
    for want_N in dense_rows.orders(EPOCHS):
        index_N = shuffle(index_N, random_state=stream)
        np.testing.assert_array_equal(index_N, want_N)
