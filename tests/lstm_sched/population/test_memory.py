"""Bytes of a compiled program, divided among members; how many members fit."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_sched.population.memory import SPARE, Memory, free_bytes, members_that_fit, memory_of


def program(**sizes):
    analysis = SimpleNamespace(**{f"{name}_size_in_bytes": size for name, size in sizes.items()})
    return SimpleNamespace(memory_analysis=lambda: analysis)


def test_vmapped_members_have_a_work_space_each_and_mapped_ones_stack_their_outputs_alone():
    sizes = program(argument=1000, output=300, alias=200, temp=5000)
    assert memory_of(sizes, data=400, members=10, mapped=False) == Memory(400, (600 + 100 + 5000) // 10)
    assert memory_of(sizes, data=400, members=10, mapped=True) == Memory(400 + 4700, (600 + 100 + 300) // 10)


@pytest.mark.parametrize("size", [10, 1000])
def test_the_bytes_of_a_compiled_program_are_those_of_its_arrays(size):
    compiled = jax.jit(lambda x, data: x * data[0]).lower(jnp.zeros((4, size)), jnp.zeros(7)).compile()
    needs = memory_of(compiled, data=28, members=4, mapped=False)
    assert needs.fixed == 28
    assert 8 * size <= needs.per_member <= 8 * size + 8


@given(st.integers(0, 10**9), st.integers(1, 10**6), st.integers(0, 10**9))
def test_what_fits_fits_and_one_more_does_not(fixed, per_member, free):
    n = members_that_fit(Memory(fixed, per_member), free)
    assert n == 1 or fixed + n * per_member <= (1 - SPARE) * free
    assert fixed + (n + 1) * per_member > (1 - SPARE) * free - 1


def test_a_device_with_a_limit_has_what_is_left_of_it_and_a_cpu_device_its_part_of_the_host(monkeypatch):
    host = free_bytes()
    assert host > 2**20
    for stats, free in (({"bytes_limit": 100, "bytes_in_use": 30}, 70), ({}, host), (None, host)):
        device = SimpleNamespace(memory_stats=lambda stats=stats: stats)
        with monkeypatch.context() as patch:
            patch.setattr(jax, "local_devices", lambda device=device: [device])
            assert free_bytes() == free
