"""All peers that this Python has train the same in every arm, alone and as many."""

from functools import partial

import numpy as np
import pytest
from helpers.packages import TINY

from experiments.harness.peers import workload
from experiments.harness.peers.jobs import ARMS
from experiments.harness.peers.scripts import flax_peer, loop_peer, ours_peer
from lstm_sched import population
from lstm_sched.population.layout import Layout

TRAINERS = {"ours": ours_peer.train} | {
    name: partial(loop_peer.train, *functions) for name, functions in flax_peer.FORMS.items()
}
MEMBERS = [[0, 1e-3], [2, 2e-2]]


@pytest.fixture(scope="module")
def answer(tmp_path_factory):
    """What a peer answers to a task of these sizes."""
    path = workload.save(tmp_path_factory.mktemp("data") / "data.npz", workload.arrays(TINY, 8))
    sizes = {"data": str(path), "hidden": TINY.hidden, "batch": TINY.batch, "device": "cpu"}

    def answer(train, arm="one_call", epochs=4, members=((0, 0.02),)):
        return train(sizes | {"arm": arm, "epochs": epochs, "members": members})

    return answer


@pytest.fixture
def two_devices(monkeypatch):
    """The layout of a process that has two cores."""
    monkeypatch.setattr(population, "choose_layout", lambda divided=False: Layout(2, True, divided=divided))


@pytest.fixture(scope="module")
def expected(answer):
    """The losses of ours."""
    arms = {arm: answer(ours_peer.train, arm)["loss"][0] for arm in (*ARMS, "keep")}
    return arms | {"one epoch": answer(ours_peer.train, epochs=1)["loss"][0]}


def test_our_arms_train_the_same_and_only_scratch_returns_to_the_beginning(expected):
    assert expected["one_call"] == expected["calls"] == expected["keep"]
    assert expected["recompile"] != expected["one_call"]
    assert expected["scratch"] == pytest.approx(expected["one epoch"], rel=1e-6)
    assert expected["one_call"] < 0.99 * expected["scratch"]


@pytest.mark.parametrize("name", list(TRAINERS)[1:])
def test_every_arm_drops_what_that_of_ours_drops(answer, expected, name):
    losses = {arm: answer(TRAINERS[name], arm)["loss"][0] for arm in ARMS}
    assert losses["calls"] == losses["one_call"]
    np.testing.assert_allclose(list(losses.values()), [expected[arm] for arm in losses], rtol=1e-3)
    assert abs(expected["recompile"] / expected["one_call"] - 1) > 2e-3


def test_members_are_trained_as_they_are_alone(answer, two_devices):
    alone = [answer(ours_peer.train, members=[member])["loss"][0] for member in MEMBERS]
    assert abs(alone[0] - alone[1]) > 2e-3 * alone[1]
    for name, train in (TRAINERS | {"divided": partial(ours_peer.train, divided=True)}).items():
        found = answer(train, members=MEMBERS)
        np.testing.assert_allclose(found["loss"], alone, rtol=1e-3, err_msg=name)
        assert found["seconds"] > 0


def test_the_memory_of_ours_grows_with_its_members_and_is_at_least_that_of_its_arrays(answer, two_devices):
    counts = (1, 2, 8)
    members = {count: [[m, 1e-3] for m in range(count)] for count in counts}
    one, two, eight = (answer(ours_peer.train, "memory", members=members[n])["bytes"] for n in counts)
    weights = 4 * sum(a.size for name, a in workload.arrays(TINY).items() if name.startswith("weights"))
    assert one > 3 * weights  # with both moments
    assert eight - two > 6 * 3 * weights
    assert eight > two > one


def test_a_product_is_timed_and_its_operations_counted(monkeypatch):
    monkeypatch.setattr(ours_peer, "SIZE", 8)
    found = ours_peer.train({"arm": "product"})
    assert found["seconds"] > 0 and found["flops"] == 2 * 8**3
