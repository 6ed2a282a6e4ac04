"""What all packages train is the same, and has the sizes that are asked for."""

import numpy as np
from helpers.packages import TINY

from experiments.harness.peers import workload
from experiments.harness.peers.jobs import Shape
from lstm_sched.nn.network import apply


def test_the_arrays_have_the_sizes_that_are_asked_for_and_are_the_same_each_time(tmp_path):
    arrays, again = workload.arrays(TINY, members=3), workload.arrays(TINY, members=3)
    assert {name: a.shape for name, a in arrays.items()} == {
        "X": (4, 4, 2),
        "y": (4, 1),
        "weights_0": (3, 2, 12),
        "weights_1": (3, 3, 12),
        "weights_2": (3, 12),
        "weights_3": (3, 3, 1),
        "weights_4": (3, 1),
    }
    assert {a.dtype for a in arrays.values()} == {np.dtype(np.float32)}
    assert (TINY.steps, Shape().steps) == (2, 64)
    stored = np.load(workload.save(tmp_path / "a.npz", arrays))
    assert all((a == again[name]).all() and (a == stored[name]).all() for name, a in arrays.items())


def test_members_begin_from_weights_of_their_own():
    arrays = workload.arrays(TINY, members=2)
    x = workload.data(arrays).train.take(np.arange(2))[0]
    first, second = (apply(workload.origin(arrays, m).params, x)[0] for m in (0, 1))
    assert np.abs(np.asarray(first) - np.asarray(second)).max() > 1e-4
    assert workload.origin(arrays, 1).redraw == ()
