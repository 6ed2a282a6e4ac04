"""`python -m experiments.audit`, as a user runs it."""

import csv
import pickle
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import small

from experiments.audit import run
from experiments.harness import cli
from lstm_sched import checkpoint
from lstm_sched.members import start


def written(path, state):
    leaves = jax.tree_util.tree_leaves_with_path(state)
    np.savez(path, **{jax.tree_util.keystr(p): x for p, x in leaves})
    return str(path)


@pytest.fixture
def states(tmp_path):
    """A boundary at which the optimizer is made anew, and the state from which the run began."""
    params, tx = {"w<b>[x]": jnp.ones(3)}, optax.adam(0.1)
    with jax.numpy_dtype_promotion("standard"):
        first = opt = tx.init(params)
        _, opt = tx.update(params, opt, params)
    states = {"before": opt, "after": tx.init(params), "fresh": first}
    return {k: written(tmp_path / f"{k}.npz", {"params": params, "opt": v}) for k, v in states.items()}


def typed(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["audit", *map(str, words)])
    cli.run(run.AUDIT, "")


def test_it_prints_the_fate_of_each_component_and_its_name(monkeypatch, capsys, states, tmp_path):
    monkeypatch.chdir(tmp_path)
    typed(monkeypatch, states["before"], states["after"], "--fresh", states["fresh"])
    out = capsys.readouterr().out
    for component in ("m", "v", "count"):
        assert [line for line in out.splitlines() if line.split()[:2] == [component, "reset"]], component
    assert "a new optimizer object" in out
    assert "keras_recompile" in out
    assert not (tmp_path / "runs").exists()


def test_out_holds_the_table_and_the_page(monkeypatch, capsys, states, tmp_path):
    out = tmp_path / "out"
    typed(monkeypatch, states["before"], states["after"], "--out", out)
    names = ["audit.csv", "config.json", "env.json", "report.html", "status.json"]
    assert sorted(path.name for path in out.iterdir()) == names
    with (out / "audit.csv").open(newline="") as file:
        rows = {row["component"]: row for row in csv.DictReader(file)}
    assert rows["m"]["first"] == "['opt'][0].mu['w<b>[x]']"
    assert (rows["m"]["fate"], rows["m"]["differing"], rows["m"]["numbers"]) == ("reset", "3", "3")
    html = (out / "report.html").read_text()
    assert "a new optimizer object" in html
    assert "w&lt;b&gt;[x]" in html and "w<b>" not in html
    (out / "audit.csv").unlink()
    typed(monkeypatch, "--resume", out)
    assert (out / "audit.csv").exists()
    assert str(out / "report.html") in "".join(capsys.readouterr().out.split("\n"))


def test_checkpoint_folders_are_read(monkeypatch, capsys, tmp_path):
    learner = small.learner()
    progress = start(learner, small.a_member(learner, small.data()).origin)
    trained = progress._replace(state=progress.state._replace(step=progress.state.step + 3))
    checkpoint.save(tmp_path / "a", trained, {"x": 1})
    checkpoint.save(tmp_path / "b", progress, {"x": 1})
    typed(monkeypatch, tmp_path / "a", tmp_path / "b")
    assert [line for line in capsys.readouterr().out.splitlines() if line.split()[:2] == ["step", "reset"]]


def nothing(path):
    pass


def a_text(path):
    path.write_text("hello")


def a_pickle(path):
    path.write_bytes(pickle.dumps({"w": 1}))


def pickled_arrays(path):
    np.savez(path, w=np.array([{}], object))


def a_cut_file(path):
    np.savez(path, w=np.arange(1000.0))
    path.write_bytes(path.read_bytes()[:-4000])


def other_arrays(path):
    np.savez(path, other=np.arange(3.0))


def a_folder(path):
    path.mkdir()


REFUSED = {
    "no such file or folder": nothing,
    "not an .npz file; allowed: an .npz file or a checkpoint folder": a_text,
    "not an .npz file": a_pickle,
    "Object arrays cannot be loaded": pickled_arrays,
    "bad.npz: not an .npz file; ": a_cut_file,
    "no leaf of before is in it": other_arrays,
    "checkpoint: none in": a_folder,
}


@pytest.mark.parametrize("sentence", list(REFUSED))
def test_what_cannot_be_compared_is_refused_in_one_sentence(sentence, monkeypatch, capsys, states, tmp_path):
    REFUSED[sentence](tmp_path / "bad.npz")
    with pytest.raises(SystemExit) as left:
        typed(monkeypatch, states["before"], tmp_path / "bad.npz", "--out", tmp_path / "out")
    said = capsys.readouterr().err.strip()
    assert left.value.code == 2
    assert sentence in said and said.startswith("audit: ") and "\n" not in said
    assert not (tmp_path / "out").exists()


def test_two_states_are_needed(monkeypatch, capsys, states):
    with pytest.raises(SystemExit) as left:
        typed(monkeypatch, states["before"])
    assert left.value.code == 2
    assert "after: none given; allowed: " in capsys.readouterr().err
