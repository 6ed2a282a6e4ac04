"""What everybody trains when speed is measured: the same windows in the same order, weights, rates and optimizer.

Letters: N windows, T time steps, F features, M members, E epochs, S steps of the run.
"""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lstm_sched.data.windows import Data, Samples
from lstm_sched.learner import Learner, Params
from lstm_sched.members import make_origin
from lstm_sched.nn.interop import from_keras, to_keras
from lstm_sched.nn.network import lstm
from lstm_sched.optimizers import keras_adam
from lstm_sched.orders import SEQUENTIAL
from lstm_sched.state import Origin

RATE = 1e-3
ARRAYS = 5  # of the weights, in Keras' form


class Shape(NamedTuple):
    """Sizes of a training; the defaults are the question's setting."""

    hidden: int = 50
    batch: int = 32
    window: int = 30
    features: int = 4
    windows: int = 2048

    @property
    def steps(self) -> int:
        """In an epoch."""
        return self.windows // self.batch


def learner(shape: Shape, form: str = "fused") -> Learner:
    """Ours: Keras' Adam, batches in the order of the windows."""
    sizes = {"features": shape.features, "hidden": shape.hidden, "batch": shape.batch}
    return lstm(keras_adam, **sizes, order=SEQUENTIAL, form=form)


def arrays(shape: Shape, members: int = 1) -> dict[str, np.ndarray]:
    """X (N, T, F) and y (N, 1), and `weights_0` … `weights_4` of all members, (M, …), in Keras' form."""
    rng = np.random.default_rng(0)
    x_NTF = rng.normal(size=(shape.windows, shape.window, shape.features)).astype(np.float32)
    y_NO = np.tanh(x_NTF[:, -5:].sum(axis=(1, 2)))[:, None].astype(np.float32)
    own = learner(shape)
    each = [to_keras(make_origin(own, seed).params) for seed in range(members)]
    weights = {f"weights_{n}": np.stack([member[n] for member in each]) for n in range(ARRAYS)}
    return {"X": x_NTF, "y": y_NO} | weights


def data(told: dict[str, np.ndarray]) -> Data:
    """Of `arrays`, for ours: it validates in every epoch, here on one window."""
    x_NTF, y_NO = jnp.asarray(told["X"]), jnp.asarray(told["y"])
    one = Samples(x_NTF[:1], y_NO[:1])
    return Data(Samples(x_NTF, y_NO), one, one)


def params(told: dict[str, np.ndarray], member: int = 0) -> Params:
    """A member's weights, of `arrays`, in our form."""
    return from_keras([told[f"weights_{n}"][member] for n in range(ARRAYS)])


def origin(told: dict[str, np.ndarray], member: int = 0) -> Origin:
    """A run from those weights, which a boundary returns to."""
    return Origin(jax.random.key(member), params(told, member))


def save(path: Path, told: dict[str, np.ndarray]) -> Path:
    """For the other packages, which run in processes of their own."""
    np.savez(path, allow_pickle=False, **told)
    return path


SHAPES = {
    "question": Shape(),
    "medium": Shape(hidden=128, batch=64, features=8),
    "large": Shape(hidden=512, batch=128, window=100, features=16),
}


RATES = (2.5e-4, 5e-4, 1e-3, 2e-3)  # of the members, in turn
