"""The loop of the peers that JAX compiles: every arm of it drops what it says, in both forms."""

import numpy as np
import pytest

from experiments.harness.peers import workload
from experiments.harness.peers.scripts import flax_peer, jax_peer, nnx_peer

SHAPE = workload.Shape(hidden=3, batch=2, window=4, features=2, windows=4)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return str(workload.save(tmp_path_factory.mktemp("data") / "data.npz", workload.arrays(SHAPE)))


def loss(path, module, form, arm, epochs):
    sizes = {"hidden": SHAPE.hidden, "batch": SHAPE.batch}
    told = {"data": path, "arm": arm, "epochs": epochs, "members": [[0, 0.05]]} | sizes
    [found] = jax_peer.train(module.weights, module.loss_of, form, told)["loss"]
    return found


@pytest.mark.parametrize(("module", "form"), [(flax_peer, "step"), (flax_peer, "epoch"), (nnx_peer, "step")])
def test_calls_are_one_call_and_only_scratch_returns_to_the_beginning(path, module, form):
    whole, calls, recompile, scratch = (
        loss(path, module, form, arm, 4) for arm in ("one_call", "calls", "recompile", "scratch")
    )
    assert calls == whole
    assert recompile != whole
    np.testing.assert_allclose(scratch, loss(path, module, form, "one_call", 1), rtol=1e-6)
    assert whole < 0.99 * scratch


def test_both_forms_and_both_flaxes_train_the_same(path):
    ways = [(flax_peer, "step"), (flax_peer, "epoch"), (nnx_peer, "step"), (nnx_peer, "epoch")]
    found = [loss(path, module, form, "recompile", 3) for module, form in ways]
    np.testing.assert_allclose(found, found[0], rtol=1e-5)
