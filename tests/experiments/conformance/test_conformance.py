"""Every verdict comes from what a package said; and, where the packages are, what they say."""

import functools
import importlib.util
import sys

import jax
import numpy as np
import pytest
from helpers.small import SOON

from experiments.conformance import dense_rows, ours, report
from experiments.conformance import run as conformance
from experiments.conformance.dense_rows import ROWS
from experiments.conformance.rows import ARRAYS, BOTH, EPOCHS, KERAS, TORCH
from experiments.harness.exits import Interrupted
from lstm_sched.loop import run
from lstm_sched.nn.interop import from_keras, to_torch

NEEDS = {
    "jax": ("keras", "jax"),
    "tensorflow": ("keras", "tensorflow"),
    "torch": ("torch",),
    "sklearn": ("sklearn",),
    "skorch": ("skorch", "torch"),
}
SAME = {"fit loop", ".keras reload", "EMA"}  # their losses are those of one fit
SIZES = [(2, 32), (8, 32), (32,), (8, 1), (1,)]  # of the weights

RUN_SOON = jax.jit(run, static_argnames=("learner", "epochs"), compiler_options=SOON)


@functools.cache
def own(name):
    with pytest.MonkeyPatch.context() as patch:
        if name not in (*SAME, "fit"):  # which are other programs and must have the same bits
            patch.setattr(ours, "_run_jit", RUN_SOON)
        return ours.ours(ROWS[name])


def answered(name, change=0.0):
    """The answer of a package that trains a row as we do, except for a change of the third epoch's loss."""
    log_E2, flat = own(name)
    log = [[float(x) for x in pair] if np.isfinite(pair).all() else None for pair in log_E2]
    third = log[2]
    assert third and not ROWS[name].raises
    third[0] += change
    arrays = np.split(flat, np.cumsum([int(np.prod(size)) for size in SIZES])[:-1])
    arrays = [w.reshape(size) for w, size in zip(arrays, SIZES, strict=True)]
    named = to_torch(from_keras(arrays)) if name in TORCH else {str(n): w for n, w in enumerate(arrays)}
    weights = {key: w.tolist() for key, w in named.items()}
    return {"version": "package 1", "rows": {name: {"log": log, "weights": weights}}}


def verdict(name, answer):
    backend = ROWS[name].backends[0]
    [finding] = conformance.compare(backend, answer, {name: own(name) if ROWS[name].learner else None})
    return finding


@pytest.mark.parametrize("name", ["fit", "early stopping", "SGD kept"])
def test_a_package_that_trains_as_we_do_agrees_and_one_that_is_off_by_more_does_not(name):
    assert verdict(name, answered(name)).verdict == "agrees"
    assert verdict(name, answered(name, change=5e-7)).verdict == "agrees"
    other = verdict(name, answered(name, change=5e-6))
    assert other.verdict == "disagrees"
    assert other.loss_E[2] == pytest.approx(5e-6, rel=0.1)
    assert "(epoch 3)" in report.in_words(other)[4]


def test_a_package_that_trains_another_number_of_epochs_disagrees():
    answer = answered("early stopping")
    answer["rows"]["early stopping"]["log"][3] = [0.1, 0.1]
    finding = verdict("early stopping", answer)
    assert (finding.verdict, finding.seen) == ("disagrees", "4 epochs, here 3")


def test_an_error_agrees_where_it_is_the_expected_one():
    def of(name, text):
        return verdict(name, {"version": "", "rows": {name: {"raised": text}}}).verdict

    assert of("example 3 as written", "ValueError: no") == "agrees"
    assert of("example 3 as written", "TypeError: no") == "disagrees"
    assert of("fit", "ValueError: no") == "disagrees"
    runs = {"version": "", "rows": {"example 3 as written": {"log": [[1, 1]], "weights": {}}}}
    assert verdict("example 3 as written", runs).verdict == "disagrees"


def test_a_package_that_is_not_there_is_named_row_by_row():
    findings = conformance.compare("torch", {"why_not": "torch is not installed"}, {})
    assert [f.row for f in findings] == list(TORCH)
    assert {(f.seen, f.verdict) for f in findings} == {("torch is not installed", "not checked")}


@pytest.mark.parametrize("name", [name for name, row in KERAS.items() if row.learner and name != "fit"])
def test_a_row_can_tell_what_it_is_about(name):
    """Its losses are those of one fit if that is what it says, and no others."""
    (log_E2, flat), (fit_E2, fit_flat) = own(name), own("fit")
    same = np.array_equal(log_E2, fit_E2)
    assert same == (name in SAME)
    if not same:
        stopped = np.isnan(log_E2).any()
        assert stopped or np.abs(log_E2 - fit_E2).max() > 1e-3
    assert np.array_equal(flat, fit_flat) == (same and name != "EMA"), (
        "the average is put in place at the end"
    )


@pytest.mark.parametrize("optimizer", ["Adam", "SGD"])
def test_rebuilding_an_optimizer_of_pytorch_is_told_from_keeping_it(optimizer):
    kept, rebuilt = (own(name)[0] for name in TORCH if name.startswith(optimizer))
    np.testing.assert_array_equal(kept[:3], rebuilt[:3])
    assert np.abs(kept - rebuilt).max() > 1e-3


def test_every_row_of_keras_is_asked_of_both_backends_unless_it_is_about_one():
    assert {name for name, row in KERAS.items() if row.backends != BOTH} == {
        "EMA in a loop",
        "EMA in a loop on JAX",
    }
    assert all(row.backends == ("torch",) for row in TORCH.values())


def test_a_package_whose_process_fails_disagrees(tmp_path):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no such luck >&2\nexit 3\n")
    broken.chmod(0o755)
    answer = conformance.ask(str(broken), tmp_path, "torch", [])
    assert answer == {"failed": "it ended with 3: no such luck"}
    findings = conformance.compare("torch", answer, {})
    assert {(f.seen, f.verdict) for f in findings} == {(answer["failed"], "disagrees")}


def test_a_stopped_run_keeps_the_answers_and_trainings_that_it_has(tmp_path, monkeypatch, capsys):
    """One package answers one row, another is not there before the stop, and the rest are not there after it."""
    calls = []

    def ask(python, folder, backend, running):
        calls.append(backend)
        return answered("fit") if backend == "jax" else {"why_not": "it is not installed"}

    def stopped(futures):
        futures = list(futures)
        yield from futures[:2]
        raise KeyboardInterrupt

    monkeypatch.setattr(conformance, "ask", ask)
    monkeypatch.setattr(ours, "ours", lambda row: own("fit"))
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(conformance, "as_completed", stopped)
        conformance.main(conformance.Config(out=str(tmp_path / "run")))
    calls.clear()
    monkeypatch.setattr(ours, "ours", None)  # it is not trained again
    findings = conformance.main(conformance.Config(resume=str(tmp_path / "run")))
    assert calls == ["torch", "sklearn", "skorch"]
    assert [f.verdict for f in findings if f.package == "Keras on JAX"] == ["agrees"]
    assert {f.verdict for f in findings if f.package != "Keras on JAX"} == {"not checked"}
    assert conformance.expected(findings)
    assert not conformance.expected([verdict("fit", answered("fit", change=1.0))])
    assert "are not checked" in capsys.readouterr().out
    names = {
        "results.csv",
        "agreement.csv",
        "table.md",
        "report.html",
        "config.json",
        "env.json",
        "status.json",
    }
    assert names <= {p.name for p in (tmp_path / "run").iterdir()}


def test_a_python_without_the_packages_says_so(tmp_path):
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    assert "not installed" in conformance.ask(str(bare), tmp_path, "torch", [])["why_not"]
    with pytest.raises(ValueError, match="python: nowhere is no file"):
        conformance.decide(conformance.Config(python="nowhere"), {})


@pytest.mark.peers
@pytest.mark.parametrize("backend", conformance.PEERS)
def test_the_real_package_agrees(backend, tmp_path):
    missing = [name for name in NEEDS[backend] if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)}: not installed (extra `peers`)")
    np.savez(tmp_path / conformance.DATA, allow_pickle=False, **ARRAYS, **dense_rows.arrays())
    answer = conformance.ask(None, tmp_path, backend, [])
    assert "rows" in answer, answer
    mine = {name: ours.ours(ROWS[name]) for name in answer["rows"] if ROWS[name].learner is not None}
    findings = conformance.compare(backend, answer, mine)
    assert len(findings) == sum(backend in row.backends for row in ROWS.values())
    assert not [f for f in findings if f.verdict != "agrees"]
    assert all(len(f.loss_E) in (0, EPOCHS) for f in findings)
