"""Trees of many members: stacked, taken apart and copied, keys among their leaves."""

import jax
import jax.numpy as jnp
import numpy as np
from helpers import small

from lstm_sched.population import stack, take, to_host
from lstm_sched.population.stacking import concatenate


def member(seed):
    return {"key": jax.random.key(seed), "w": jnp.full((2, 3), seed, float), "n": np.int32(seed)}


def test_members_come_out_of_a_stack_as_they_went_in():
    members = [member(seed) for seed in range(4)]
    stacked = stack(members)
    assert stacked["w"].shape == (4, 2, 3) and stacked["key"].shape == stacked["n"].shape == (4,)
    for i in range(4):
        assert small.bits(take(stacked, i)) == small.bits(members[i])
    parts = [to_host(take(stacked, np.s_[i : i + 3])) for i in (0, 3)]
    assert small.bits(jax.tree.map(concatenate, *parts)) == small.bits(stacked)
    assert small.bits(to_host(stacked, [2, 0])) == small.bits(stack([members[2], members[0]]))


def test_members_are_stacked_within_a_compiled_program_too():
    stacked = jax.jit(lambda *members: stack(members))(member(1), member(2))
    assert small.bits(stacked) == small.bits(stack([member(1), member(2)]))


def test_a_copy_on_the_host_outlives_its_source():
    source = {"w": jnp.arange(3.0), "scalar": jnp.ones(())}
    copy = to_host(source, ...)
    source["w"].delete()
    assert copy["w"].tolist() == [0, 1, 2] and copy["scalar"].shape == ()
