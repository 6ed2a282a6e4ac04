"""What every package trains when speed is measured: the same windows in the same order, weights, rates and optimizer.

Letters: N windows, T time steps, F features, M members.
"""

from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments.harness.peers.jobs import Shape
from lstm_sched.data.windows import Data, Samples
from lstm_sched.learner import Learner
from lstm_sched.members import make_origin
from lstm_sched.nn.interop import from_keras, to_keras
from lstm_sched.nn.network import lstm
from lstm_sched.optimizers import keras_adam
from lstm_sched.orders import SEQUENTIAL
from lstm_sched.state import Origin

WEIGHTS = 5  # arrays of one network, in Keras' form


def learner(shape: Shape, form: str = "fused") -> Learner:
    """Our side: Keras' Adam, batches in the order of the windows."""
    sizes = {"features": shape.features, "hidden": shape.hidden, "batch": shape.batch}
    return lstm(keras_adam, **sizes, order=SEQUENTIAL, form=form)


def arrays(shape: Shape, members: int = 1) -> dict[str, np.ndarray]:
    """X (N, T, F), y (N, 1), and `weights_0` … `weights_4`, (M, …) in Keras' form."""
    rng = np.random.default_rng(0)
    x_NTF = rng.normal(size=(shape.windows, shape.window, shape.features)).astype(np.float32)
    y_N1 = np.tanh(x_NTF[:, -5:].sum(axis=(1, 2)))[:, None].astype(np.float32)
    networks = [to_keras(make_origin(learner(shape), seed).params) for seed in range(members)]
    weights = {f"weights_{n}": np.stack([network[n] for network in networks]) for n in range(WEIGHTS)}
    return {"X": x_NTF, "y": y_N1} | weights


def data(arrays: Mapping[str, np.ndarray]) -> Data:
    """The windows for our side, which validates in every epoch: here on one window."""
    x_NTF, y_N1 = jnp.asarray(arrays["X"]), jnp.asarray(arrays["y"])
    first = Samples(x_NTF[:1], y_N1[:1])
    return Data(Samples(x_NTF, y_N1), first, first)


def origin(arrays: Mapping[str, np.ndarray], member: int = 0) -> Origin:
    """A run from a member's weights, to which a boundary may return."""
    weights = [arrays[f"weights_{n}"][member] for n in range(WEIGHTS)]
    return Origin(jax.random.key(member), from_keras(weights))


def save(path: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    """Write the arrays to a file for the packages, which run in processes of their own."""
    np.savez(path, allow_pickle=False, **arrays)
    return path
