"""What is measured follows from what was asked for; what cannot be is refused; operations are counted right."""

import dataclasses

import jax
import numpy as np
import pytest
from helpers.packages import TINY
from jax.extend.core import jaxprs_in_params

from experiments.harness.peers import process, workload
from experiments.harness.peers.jobs import Shape
from experiments.harness.peers.process import DIVIDED, EPOCH, OURS
from experiments.harness.peers.scripts import flax_peer
from experiments.throughput import jobs
from experiments.throughput.jobs import Config


def decided(cores=(0, 1), **flags):
    [decisions] = jobs.decide(Config(**flags), {})
    return dataclasses.replace(decisions, cores=cores)


def test_batches_of_one_training_are_divided_where_there_are_cores_for_it():
    for cores in ((0,), (0, 1)):
        found = jobs.ones(decided(cores), "question")
        assert (DIVIDED in [job.package for job in found]) is (len(cores) > 1)
        assert {job.cores for job in found} == {(cores,)}


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, [(OURS, ((0,),)), (OURS, ((0, 1),)), (EPOCH, ((0, 1),)), (EPOCH, ((0,), (1,)))]),
        ({"quick": True}, [(OURS, ((0, 1),)), (EPOCH, ((0,), (1,)))]),
    ],
)
def test_many_are_on_one_core_and_on_all_and_in_the_quick_form_on_all(flags, expected):
    found = jobs.many(decided(**flags), EPOCH)
    assert [(job.package, job.cores) for job in found] == expected
    assert {job.members for job in found} == {4 if flags else 64}


def test_what_grows_is_the_axis_alone():
    decisions = decided()
    hidden = jobs.growth(decisions, "hidden")
    assert [job.shape.hidden for job in hidden] == list(jobs.GROWTH["hidden"])
    assert {dataclasses.replace(job.shape, hidden=50) for job in hidden} == {Shape()}
    assert [job.members for job in jobs.growth(decisions, "members")] == list(jobs.GROWTH["members"])
    assert [job.cores for job in jobs.growth(decisions, "cores")] == [((0,),), ((0, 1),)]
    assert {job.members for job in jobs.growth(decisions, "cores")} == {64}
    assert len({job.key for axis in jobs.GROWTH for job in jobs.growth(decisions, axis)}) == 15


def test_on_a_gpu_the_choice_of_the_lstm_is_measured_and_losses_are_checked_first():
    for device, packages in {"cpu": [OURS, "PyTorch"], "cuda": [OURS, process.CUDNN, "PyTorch"]}.items():
        found = jobs.on_gpu(decided(gpu=True, device=device, others=3).config)
        assert [job.package for job in found if job.part == "one"] == packages
        many = [(job.package, job.members, job.epochs) for job in found if job.part == "many"]
        assert many == [(OURS, 1024, 100), ("PyTorch", 3, 100)]
        checks = [(job.members, job.epochs) for job in found if not job.repeated]
        assert checks == [(3, jobs.CHECKED)] * 2 + [(1, jobs.CHECKED)] * len(packages)
    assert {job.axis for job in jobs.on_gpu(decided(gpu=True, large_epochs=0).config)} == {"question"}


def test_flags_that_are_given_are_kept_in_every_form():
    small = decided(gpu=True, device="cpu", members=8, epochs=3, others=2).config
    assert (small.members, small.epochs, small.repetitions, small.peers) == (8, 3, 3, ("PyTorch",))
    quick = decided(quick=True, members=64, peers=("PyTorch",)).config
    assert (quick.members, quick.repetitions, quick.peers) == (64, 3, ("PyTorch",))
    assert decided(full=True).config.shapes == ("question", "medium", "large")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"shapes": ("tiny",)}, "shapes: unknown 'tiny'"),
        ({"peers": ("Torch",)}, "peers: unknown 'Torch'"),
        ({"members": 1}, "members: 1; allowed: 2 or more"),
        ({"repetitions": 0}, "repetitions: 0; allowed: 1 or more"),
        ({"python": "nowhere"}, "python: nowhere is no file"),
        ({"device": "cpu"}, "device: cpu without gpu"),
        ({"gpu": True, "shapes": ("medium",)}, r"shapes: \('medium',\) with gpu"),
        ({"gpu": True, "quick": True}, "gpu: True with quick"),
        ({"gpu": True, "peers": ("Equinox",)}, "peers: unknown 'Equinox'"),
        ({"gpu": True, "members": 0}, "members: 0; allowed: 1 or more"),
        ({"gpu": True, "epochs": -1}, "epochs: -1; allowed: 1 or more"),
        ({"gpu": True, "large_epochs": -1}, "large_epochs: -1; allowed: 0 or more"),
        ({"gpu": True, "members": 3}, "others: 4; allowed: up to 3"),
    ],
)
def test_what_cannot_be_measured_is_refused(flags, message):
    with pytest.raises(ValueError, match=message):
        jobs.decide(Config(**flags), {})


def _products(jaxpr) -> int:
    """Floating-point operations of all dot_generals, those of a scan as often as it turns."""
    total = 0
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            size = np.prod([eqn.invars[0].aval.shape[i] for i in contracted], dtype=int)
            total += 2 * size * int(np.prod(eqn.outvars[0].aval.shape))
        turns = eqn.params.get("length", 1) if eqn.primitive.name == "scan" else 1
        for inner in jaxprs_in_params(eqn.params):
            total += turns * _products(inner)
    return total


@pytest.mark.parametrize("shape", [TINY, Shape(hidden=5, batch=6, window=7, features=3, windows=12)])
def test_the_operations_are_those_of_flax_s_gradient(shape):
    arrays = workload.arrays(shape)
    params = flax_peer.weights(arrays, 0)
    x, y = (arrays[name][: shape.batch] for name in ("X", "y"))
    gradient = jax.make_jaxpr(jax.grad(flax_peer.loss_of))(params, x, y)
    head = 3 * 2 * shape.batch * shape.hidden
    assert jobs.operations(shape) == shape.steps * (_products(gradient.jaxpr) - head)
