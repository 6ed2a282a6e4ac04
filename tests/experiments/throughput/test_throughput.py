"""Everybody trains the same; times, ratios and operations are counted right; what is missing is named."""

import contextlib
import csv
import functools
import importlib.util
import sys
from typing import Any

import jax
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from experiments.harness import run_folder
from experiments.harness.peers import process as pr
from experiments.harness.peers import workload
from experiments.harness.peers.scripts import flax_peer, jax_peer, nnx_peer, ours_peer
from experiments.throughput import jobs as jo
from experiments.throughput import measure, report
from experiments.throughput import run as throughput
from lstm_sched import population
from lstm_sched.population.layout import Layout

SHAPE = workload.Shape(hidden=3, batch=2, window=4, features=2, windows=4)
FLAX, NNX = ((module.weights, module.loss_of) for module in (flax_peer, nnx_peer))
TRAINERS = {
    pr.OURS: ours_peer.train,
    pr.DIVIDED: functools.partial(ours_peer.train, divided=True),
    pr.STEP: functools.partial(jax_peer.train, *FLAX, "step"),
    pr.EPOCH: functools.partial(jax_peer.train, *FLAX, "epoch"),
    "Flax NNX": functools.partial(jax_peer.train, *NNX, "step"),
}


@pytest.fixture
def here(monkeypatch):
    """Processes that are none: whoever is asked trains here."""

    nobody: Any = None

    @contextlib.contextmanager
    def opened(python, name, errors, cores=None, platform="cpu"):
        yield (pr.Process(nobody, version="here") if name in TRAINERS else pr.Process(nobody, why_not="no"))

    monkeypatch.setattr(pr, "opened", opened)
    monkeypatch.setattr(pr, "ask", lambda process, name, errors, told: TRAINERS[name](told))
    monkeypatch.setattr(ours_peer, "SIZE", 8)
    monkeypatch.setattr(population, "choose_layout", lambda divided=False: Layout(2, True, divided=divided))
    monkeypatch.setitem(workload.SHAPES, "question", SHAPE)


def asked(path, members, epochs=3):
    sizes = {"hidden": SHAPE.hidden, "batch": SHAPE.batch, "rate": workload.RATE}
    return {"data": str(path), "arm": "one_call", "epochs": epochs, "members": members} | sizes


def test_ours_and_all_forms_of_flax_reach_the_same_losses_alone_and_as_many(tmp_path):
    path = workload.save(tmp_path / "data.npz", workload.arrays(SHAPE, 3))
    members = [[0, 1e-3], [2, 5e-2]]
    told = {name: train(asked(path, members)) for name, train in TRAINERS.items()}
    alone = [ours_peer.train(asked(path, [member]))["loss"][0] for member in members]
    for answer in told.values():
        np.testing.assert_allclose(answer["loss"], alone, rtol=1e-3)
        assert answer["seconds"] > 0
    more = ours_peer.train(asked(path, members[1:], epochs=4))["loss"][0]
    assert abs(more - alone[1]) > 2e-3 * alone[1]
    assert abs(alone[0] - alone[1]) > 2e-3 * alone[1]


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


@pytest.mark.parametrize(
    "shape", [SHAPE, workload.Shape(hidden=5, batch=6, window=7, features=3, windows=12)]
)
def test_the_operations_are_those_of_flax_s_gradient(shape):
    told = workload.arrays(shape)
    params = flax_peer.weights(told, 0)
    x, y = (told[name][: shape.batch] for name in ("X", "y"))
    gradient = jax.make_jaxpr(jax.grad(flax_peer.loss_of))(params, x, y)
    head = 3 * 2 * shape.batch * shape.hidden
    assert jo.operations(shape) == shape.steps * (_products(gradient.jaxpr) - head)


def plan_of(tmp_path, **config):
    return jo.prepare(jo.Config(out=str(tmp_path / "run"), **config))._replace(cores=(0, 1))


def test_many_are_shared_out_to_one_process_a_core_and_no_member_is_lost(here, tmp_path):
    plan = plan_of(tmp_path, members=3, repetitions=1)
    jobs = jo.many(plan, pr.EPOCH)
    assert [(job.package, job.cores) for job in jobs] == [
        (pr.OURS, ((0,),)),
        (pr.OURS, ((0, 1),)),
        (pr.EPOCH, ((0, 1),)),
        (pr.EPOCH, ((0,), (1,))),
    ]
    missing: dict[str, str] = {}
    rows = measure.timed(plan, jobs, measure.report.console(), missing)
    assert [r.processes for r in rows if not r.repetition] == [1, 1, 1, 2]
    assert report.disagreeing(rows) == []
    assert len({r.loss for r in rows if r.package == pr.EPOCH}) <= 2
    assert not missing


@pytest.mark.parametrize("cores", [(0,), (0, 1)])
def test_batches_of_one_training_are_divided_where_there_are_cores_for_it(cores, tmp_path):
    jobs = jo.ones(plan_of(tmp_path)._replace(cores=cores), "question")
    assert (pr.DIVIDED in [job.package for job in jobs]) is (len(cores) > 1)
    assert {job.cores for job in jobs} == {(cores,)}


def test_many_of_the_quick_form_are_on_all_cores_and_have_as_many_members(tmp_path):
    jobs = jo.many(plan_of(tmp_path, quick=True), pr.EPOCH)
    assert [(job.package, job.cores) for job in jobs] == [
        (pr.OURS, ((0, 1),)),
        (pr.EPOCH, ((0,), (1,))),
    ]
    assert {job.members for job in jobs} == {jo.QUICK["members"]}


def test_what_grows_is_the_axis_alone(tmp_path):
    plan = plan_of(tmp_path)
    hidden = jo.growth(plan, "hidden")
    assert [job.shape.hidden for job in hidden] == list(jo.GROWTH["hidden"])
    assert {job.shape._replace(hidden=50) for job in hidden} == {workload.Shape()}
    assert [job.members for job in jo.growth(plan, "members")] == list(jo.GROWTH["members"])
    assert [job.cores for job in jo.growth(plan, "cores")] == [((0,),), ((0, 1),)]
    assert {job.members for job in jo.growth(plan, "cores")} == {64}


def test_the_quick_form_says_what_is_missing_and_ends_with_the_ratio(here, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(jo.os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    found = throughput.main(jo.Config(quick=True, members=2, repetitions=2, out=str(tmp_path / "run")))
    said = capsys.readouterr().out
    assert all(f"{name}: not measured (not asked)" in said for name in jo.ASKED)
    assert said.rstrip().splitlines()[-1] == report.last_line(found)
    assert {r.part for r in found} == {"one", "many", "limit"}
    assert {r.repetition for r in found} == {0, 1, 2}
    known = {r.package == pr.OURS and not r.repetition and r.axis != "product" for r in found if r.bytes}
    assert known == {True}
    names = {p.name for p in (tmp_path / "run").iterdir()}
    assert {"results.csv", "table.md", "figure.svg", "figure.png", "report.html", "config.json"} <= names
    assert not [name for name in names if name.endswith((".npz", ".part"))]
    with (tmp_path / "run" / "results.csv").open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == len(found)
    assert run_folder.read_json(tmp_path / "run" / "status.json")["state"] == "finished"


def test_the_whole_form_grows_too_and_notes_packages_that_are_not_there(here, tmp_path, monkeypatch, capsys):
    small = {"members": (1, 2), "epochs": (1,), "window": (2, 3), "hidden": (2,), "cores": (1,)}
    monkeypatch.setattr(jo, "GROWTH", small)
    asks = jo.Config(members=2, repetitions=1, peers=("PyTorch",), out=str(tmp_path / "run"))
    found = throughput.main(asks)
    assert "PyTorch: not measured (no)" in capsys.readouterr().out
    grown = {(r.axis, r.value) for r in found if r.part == "growth"}
    assert grown == {(axis, value) for axis, values in small.items() for value in values}


def test_the_memory_of_ours_grows_with_its_members_and_is_at_least_that_of_its_arrays(tmp_path):
    path = workload.save(tmp_path / "data.npz", workload.arrays(SHAPE, 8))

    def taken(members):
        return ours_peer.train(asked(path, [[m, 1e-3] for m in range(members)]) | {"arm": "memory"})["bytes"]

    one, two, eight = map(taken, (1, 2, 8))
    weights = 4 * sum(a[0].size for name, a in np.load(path).items() if name.startswith("weights"))
    assert one > 3 * weights  # with both moments
    assert eight - two > 6 * 3 * weights
    assert eight > two > one


def test_our_process_answers_from_a_python_of_its_own(tmp_path):
    path = workload.save(tmp_path / "data.npz", workload.arrays(SHAPE))
    with pr.opened(None, pr.OURS, tmp_path / "log", cores=[0]) as process:
        assert "1 × cpu" in process.version
        answer = pr.ask(process, pr.OURS, tmp_path / "log", asked(path.resolve(), [[0, 1e-3]]))
    assert answer["loss"] == pytest.approx(ours_peer.train(asked(path, [[0, 1e-3]]))["loss"], rel=1e-6)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (jo.Config(shapes=("tiny",)), "shapes"),
        (jo.Config(peers=("Torch",)), "peers"),
        (jo.Config(members=1), "members: 1; allowed: 2 or more"),
        (jo.Config(repetitions=0), "repetitions: 0"),
        (jo.Config(python="nowhere"), "python: nowhere is no file"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(config, message):
    with pytest.raises(ValueError, match=message):
        jo.prepare(config)


@pytest.mark.peers
@pytest.mark.parametrize("name", jo.ASKED)
def test_the_real_package_reaches_our_loss(name, tmp_path):
    peer = pr.PEERS[name]
    needed = {"nnx": "flax"}.get(peer.script, peer.script), peer.backend or "numpy"
    missing = [package for package in needed if importlib.util.find_spec(package) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)}: not installed (extra `peers`)")
    path = workload.save(tmp_path / "data.npz", workload.arrays(SHAPE, 2)).resolve()
    with pr.opened(sys.executable, name, tmp_path / "log") as process:
        theirs = pr.ask(process, name, tmp_path / "log", asked(path, [[0, 1e-3], [1, 5e-3]]))
    ours = ours_peer.train(asked(path, [[0, 1e-3], [1, 5e-3]]))
    np.testing.assert_allclose(theirs["loss"], ours["loss"], rtol=1e-3)
