"""`python -m experiments.audit`, as a user runs it."""

import csv
import io
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


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


REFUSED = {
    "no such file or folder": None,
    "not an .npz file; allowed: an .npz file or a checkpoint folder": b"hello",
    "not an .npz file": pickle.dumps({"w": 1}),
    "Object arrays cannot be loaded": npz(w=np.array([{}], object)),
    "bad.npz: not an .npz file; ": npz(w=np.arange(1000.0))[:-4000],
    "no leaf of before is in it": npz(other=np.arange(3.0)),
    "checkpoint: none in": "a folder",
}


@pytest.mark.parametrize("sentence", list(REFUSED))
def test_states_that_cannot_be_compared_are_refused_in_one_sentence(
    sentence, monkeypatch, capsys, states, tmp_path
):
    content, bad = REFUSED[sentence], tmp_path / "bad.npz"
    if content == "a folder":
        bad.mkdir()
    elif content is not None:
        bad.write_bytes(content)
    with pytest.raises(SystemExit) as left:
        typed(monkeypatch, states["before"], bad, "--out", tmp_path / "out")
    message = capsys.readouterr().err.strip()
    assert left.value.code == 2
    assert sentence in message and message.startswith("audit: ") and "\n" not in message
    assert not (tmp_path / "out").exists()


def test_two_states_are_needed(monkeypatch, capsys, states):
    with pytest.raises(SystemExit) as left:
        typed(monkeypatch, states["before"])
    assert left.value.code == 2
    assert "after: none given; allowed: " in capsys.readouterr().err
