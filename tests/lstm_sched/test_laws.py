"""Laws 1, 2 and 6 over orders, noise and learners; over policies and optimizers see the tests of each module."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from helpers import small
from helpers.hand import agree
from hypothesis import given, settings
from hypothesis import strategies as st

import lstm_sched as ls
from lstm_sched.noise import DRAWN, Noise, gaussian_noise
from lstm_sched.state import restart

EPOCHS, SIZE = 4, 10
INDEX_EN = np.random.default_rng(1).permuted(np.tile(np.arange(SIZE), (3, 1)), axis=1)
ORDERS = {
    "shuffled": ls.SHUFFLED,
    "fixed": ls.FIXED,
    "sequential": ls.SEQUENTIAL,
    "replaced": ls.REPLACED,
    "composed": ls.composed(SIZE),
    "given": ls.given(INDEX_EN),
}
NOISY = {name: small.learner(order=order, dropout=True, noise=True) for name, order in ORDERS.items()}


def flax(model, kind, dropout=False):
    def loss(params, carry, x_BTF, y_BO, key):
        training = {"training": key is not None} if dropout else {}
        output_BO = model.apply(params, x_BTF, **training, rngs={} if key is None else {"dropout": key})
        return ls.sample_losses(kind, output_BO, y_BO), carry

    init = {"training": False} if dropout else {}

    def init_params(key):
        return model.init(key, jnp.zeros((1, 3, 1), float), **init)

    return ls.Learner(init_params, loss, ls.keras_adam, batch=5, dropout=dropout)


class Convolution(nn.Module):
    """A network as a user writes one."""

    @nn.compact
    def __call__(self, x_BTF, training):
        h_BTH = nn.relu(nn.Conv(3, (2,))(x_BTF))
        h_BTH = nn.Dropout(0.2, deterministic=not training)(h_BTH)
        return nn.Dense(1)(h_BTH.reshape((len(h_BTH), -1)))


wide = partial(nn.Dense, param_dtype=float)
LEARNERS = {
    "classes": ls.lstm(ls.keras_adam, hidden=3, outputs=3, loss="crossentropy", batch=5),
    "density": ls.lstm(ls.keras_adam, hidden=3, outputs=2, loss="gaussian", batch=5),
    "dense": flax(nn.Sequential([lambda x_BTF: x_BTF[..., 0], wide(4), nn.tanh, wide(1)]), "mse"),
    "convolution": flax(Convolution(), "huber", dropout=True),
}


def data_of(name):
    data: Any = small.data(SIZE)
    if name != "classes":
        return data
    return ls.Data(*(part._replace(y_NO=jnp.floor(3 * jnp.abs(part.y_NO) % 3)) for part in data))


def same_in_fits_and_chunks(learner, data, n, sizes, noise=small.NOISE):
    """Law 1: a loop of fits that drops nothing, run in chunks, against one fit."""
    member = partial(small.a_member, learner, data, EPOCHS, noise=noise)
    whole, _ = small.finish(learner, member(), data, EPOCHS, EPOCHS)
    loop = member(when=ls.every(n, EPOCHS))
    progress = ls.start(learner, loop.origin)
    for size in [*sizes, EPOCHS]:
        end = min(int(progress.clock) + size, EPOCHS)
        progress, _ = small.run_soon(learner, loop, data, progress, EPOCHS, end)
    assert small.bits(progress._replace(log=())) == small.bits(whole._replace(log=()))


chunks = st.lists(st.integers(1, EPOCHS), max_size=3)
noises = st.builds(gaussian_noise, st.sampled_from([0.0, 0.1]), st.sampled_from([*DRAWN]))


@pytest.mark.parametrize("order", ORDERS)
@given(n=st.integers(1, EPOCHS), sizes=chunks, inputs=noises, grads=noises)
@settings(max_examples=6)
def test_nothing_dropped_is_nothing_different_under_every_order_and_noise(order, n, sizes, inputs, grads):
    same_in_fits_and_chunks(NOISY[order], small.data(SIZE), n, sizes, Noise(inputs, grads))


@pytest.mark.parametrize("name", LEARNERS)
@given(n=st.integers(1, EPOCHS), sizes=chunks)
@settings(max_examples=5)
def test_nothing_dropped_is_nothing_different_whatever_is_trained(name, n, sizes):
    same_in_fits_and_chunks(LEARNERS[name], data_of(name), n, sizes)


@pytest.mark.parametrize("learner", [*NOISY.values(), *LEARNERS.values()], ids=[*NOISY, *LEARNERS])
def test_a_boundary_keeps_all_or_returns_to_the_beginning(learner):
    origin = ls.make_origin(learner, 0)
    begun = ls.begin(learner, origin.key, origin.params)

    def moved(x):
        is_key = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
        return jax.random.fold_in(x, 1) if is_key else x + jnp.ones((), x.dtype)

    state = jax.tree.map(moved, begun)
    after = jax.jit(partial(restart, learner), compiler_options=small.SOON)
    for policy, want in ((ls.CONTINUE, state), (ls.POLICIES["scratch"], begun)):
        assert small.bits(after(ls.spread(policy, state), origin, state, 1)) == small.bits(want)


@pytest.mark.parametrize(
    "name", ["classes", "density", "dense"]
)  # the mask of a partial batch has another shape
def test_whatever_is_trained_is_trained_as_by_hand(name, x64):
    learner, data = LEARNERS[name], data_of(name)
    agree(learner, small.a_member(learner, data, EPOCHS), data, EPOCHS)
