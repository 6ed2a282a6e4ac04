"""Where members lie: what a layout may be, and how they are divided over devices."""

import os

import jax.numpy as jnp
import pytest

from lstm_sched.population import Layout, choose_layout, replicate, shard, to_host, use_cores
from lstm_sched.population.layout import padded_size


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"devices": 0}, "devices: 0; allowed: 1 to 2"),
        ({"devices": 3}, "devices: 3; allowed: 1 to 2"),
        ({"at_once": 0}, "at_once: 0; allowed: 1 or more members"),
        ({"mapped": False, "divided": True}, "mapped: False; allowed where batches are divided: True"),
    ],
)
def test_what_is_no_layout_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        choose_layout(**arguments)


def test_on_cpus_members_are_mapped_over_all_devices():
    assert choose_layout() == Layout(2, True)
    assert choose_layout(1, mapped=False, at_once=3) == Layout(1, False, 3)
    assert choose_layout(divided=True) == Layout(2, True, divided=True)


def test_members_are_padded_with_the_last_one_until_the_devices_share_them_evenly():
    members = {"a": jnp.arange(5)}
    for layout, at_least, padded in (
        (Layout(2, True), 1, [0, 1, 2, 3, 4, 4]),
        (Layout(2, True), 7, [0, 1, 2, 3, 4, 4, 4, 4]),
        (Layout(1, True), 1, [0, 1, 2, 3, 4]),
        (Layout(2, True, divided=True), 1, [0, 1, 2, 3, 4]),
    ):
        placed = shard(members, layout, at_least)["a"]
        assert to_host(placed).tolist() == padded
        assert padded_size(max(5, at_least), layout) == len(padded)
        shard_size = len(padded) // layout.shards
        assert [part.data.shape for part in placed.addressable_shards] == [(shard_size,)] * layout.devices


def test_what_is_replicated_is_whole_on_every_device():
    placed = replicate({"a": jnp.arange(5)}, Layout(2, True))["a"]
    assert [part.data.tolist() for part in placed.addressable_shards] == [[0, 1, 2, 3, 4]] * 2


def test_more_cores_than_this_process_may_use_or_than_jax_was_begun_with_are_refused(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(4), raising=False)
    for cores, allowed in ((0, "1 to 4, the cores"), (5, "1 to 4, the cores"), (3, "1 to 2, since JAX")):
        with pytest.raises(ValueError, match=f"devices: {cores}; allowed: {allowed}"):
            use_cores(cores)
    use_cores(2)
    use_cores()
