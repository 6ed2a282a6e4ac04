"""The batches of an epoch are those of a plain loop; an epoch shorter than the data goes on as Keras' iterator does."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import small
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lstm_sched.batches import cut, upcoming
from lstm_sched.learner import batches_per_pass
from lstm_sched.orders import FIXED, SEQUENTIAL, SHUFFLED
from lstm_sched.state import begin

EPOCHS = 7
next_epoch = jax.jit(upcoming, static_argnames=("learner", "size"))


def held(batches):
    """The samples of each batch that is not empty."""
    rows = [
        index_B[weight_B == 1].tolist() for index_B, weight_B in zip(*map(np.asarray, batches), strict=True)
    ]
    assert set(np.asarray(batches.weight_B).ravel().tolist()) <= {0.0, 1.0}
    return [row for row in rows if row]


@given(size=st.integers(1, 40), batch=st.integers(1, 40), drop_last=st.booleans())
@settings(max_examples=40)
def test_a_pass_is_cut_into_batches_of_which_the_last_may_be_partial(size, batch, drop_last):
    batch = min(batch, size)
    learner = small.learner(batch=batch, drop_last=drop_last)
    index_N = jnp.asarray(np.random.default_rng(size).permutation(size))
    want = [np.asarray(index_N)[i : i + batch].tolist() for i in range(0, size, batch)]
    if drop_last and len(want[-1]) < batch:
        want.pop()
    assert held(cut(learner, jnp.asarray(index_N), batches_per_pass(learner, size))) == want


def keras_epochs(learner, stream, size, dropped):
    """Keras' EpochIterator over arrays: the batches of each epoch; a fit that begins at a dropped one iterates anew."""

    def one_pass():
        nonlocal stream
        stream, index_N = learner.order.draw(stream, size)
        for i in range(0, size, learner.batch):
            yield np.asarray(index_N)[i : i + learner.batch].tolist()

    whole, iterator, seen, epochs = -(-size // learner.batch), None, 0, []
    for e in range(EPOCHS):
        if iterator is None or e in dropped:
            iterator, seen = one_pass(), 0
        epochs.append([])
        for _ in range(learner.steps or whole):
            if seen == whole:
                break  # Keras: "Your input ran out of data; interrupting training."
            epochs[-1].append(next(iterator))
            seen += 1
        if seen == whole:
            iterator = None
    return epochs


@pytest.mark.parametrize(
    ("steps", "order"),
    [
        (1, SHUFFLED),
        (2, SHUFFLED),
        (3, SHUFFLED),
        (9, SHUFFLED),
        (None, SHUFFLED),
        (2, FIXED),
        (2, SEQUENTIAL),
    ],
    ids=["one", "two of three", "all", "more", "a pass", "fixed", "sequential"],
)
@given(seed=st.integers(0, 3), dropped=st.sets(st.integers(1, EPOCHS - 1)))
@settings(max_examples=15)
@example(seed=0, dropped=set())
@example(seed=0, dropped=set(range(1, EPOCHS)))
def test_a_short_epoch_goes_on_in_its_pass_and_a_dropped_position_begins_the_next_one(
    steps, order, seed, dropped
):
    learner, size = small.learner(batch=4, order=order, steps=steps), 10
    key = jax.random.key(seed)
    first = begin(learner, key, learner.init(key))
    state, got = first, []
    for e in range(EPOCHS):
        if e in dropped:
            state = state._replace(position=first.position)  # a policy with position 0 and order 1
        state, batches = next_epoch(learner, size, state)
        got.append(held(batches))
    assert got == keras_epochs(learner, first.order, size, dropped)


def test_a_pass_goes_on_in_its_own_order_where_a_policy_keeps_the_place_and_drops_the_stream():
    learner, key = small.learner(batch=4, steps=2), jax.random.key(1)
    first = begin(learner, key, learner.init(key))
    draw = partial(next_epoch, learner, 10)
    begun, _ = draw(first)
    _, rest = draw(begun)
    state, again = draw(begun._replace(order=jax.random.key(9)))
    assert held(again) == held(rest)
    assert small.bits(state.order) == small.bits(jax.random.key(9))
