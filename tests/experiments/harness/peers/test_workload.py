"""What all packages train is the same, and is what it says."""

import jax
import numpy as np

from experiments.harness.peers import workload
from lstm_sched.nn.network import apply

SHAPE = workload.Shape(hidden=3, batch=2, window=4, features=2, windows=6)


def test_the_arrays_have_the_sizes_that_are_asked_for():
    told = workload.arrays(SHAPE, members=3)
    sizes = {name: a.shape for name, a in told.items()}
    assert sizes == {
        "X": (6, 4, 2),
        "y": (6, 1),
        "weights_0": (3, 2, 12),
        "weights_1": (3, 3, 12),
        "weights_2": (3, 12),
        "weights_3": (3, 3, 1),
        "weights_4": (3, 1),
    }
    assert {a.dtype for a in told.values()} == {np.dtype(np.float32)}
    assert SHAPE.steps == 3
    assert workload.Shape().steps == 64


def test_members_differ_and_the_same_call_gives_the_same_arrays(tmp_path):
    told, again = workload.arrays(SHAPE, members=2), workload.arrays(SHAPE, members=2)
    assert (told["weights_0"][0] != told["weights_0"][1]).any()
    kept = np.load(workload.save(tmp_path / "a.npz", told))
    assert all((told[name] == again[name]).all() and (told[name] == kept[name]).all() for name in told)


def test_the_weights_are_the_members_own():
    told = workload.arrays(SHAPE, members=2)
    x = workload.data(told).train.take(np.arange(2))[0]
    first, second = (apply(workload.params(told, m), x)[0] for m in (0, 1))
    assert np.abs(np.asarray(first) - np.asarray(second)).max() > 1e-4
    origin = workload.origin(told, 1)
    assert all(
        jax.tree.leaves(jax.tree.map(lambda a, b: (a == b).all(), origin.params, workload.params(told, 1)))
    )
    assert origin.redraw == ()
