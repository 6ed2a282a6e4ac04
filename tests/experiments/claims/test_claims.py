"""Every verdict comes from its evidence: other evidence, another verdict. And the command, as a user runs it."""

import contextlib
import csv
import re
import sys

import jax
import numpy as np
import pytest

from experiments.claims import ask_keras, rule_verdicts, trainings
from experiments.claims import run as claims
from experiments.claims.claims import CLAIMS, MEANING
from experiments.claims.config import Config
from experiments.harness import cli, report, run_folder
from experiments.harness.setting import Setting

SMALL = {
    "question": Setting(epochs=40, hidden=4, window=4, split=(0.2, 0.3), lr=1e-2),
    "small": Setting(epochs=20, hidden=3, window=3, split=(0.1, 0.2), dropout=0.2),
}
KERAS = ask_keras.Said("Keras 3", "runs", "raises ValueError: no")
COMPUTED = {
    "C1": "does not hold",
    "C2": "not as written",
    "C3": "does not hold",
    "C4": "does not hold",
    "C5": "not as written",
    "C7": "does not hold",
    "C8": "does not hold",
    "C9": "does not hold",
    "C13": "does not hold",
    "C14": "does not hold",
    "C15": "does not hold",
    "C16": "does not hold",
}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The command on small networks: (plan, rows, what it printed)."""
    folder = tmp_path_factory.mktemp("claims")
    plan = claims.prepare(Config(out=str(folder / "run"), runs=str(folder)), **SMALL)
    printed = folder / "printed.txt"
    with printed.open("w") as out, contextlib.redirect_stdout(out):
        rows = claims.execute(plan)
    return plan, rows, printed.read_text()


@pytest.fixture(scope="module")
def trained(done):
    """Question and small network, trained again: the same bits, as Runs."""
    plan = done[0]
    ways = trainings.of_question(40, 2), trainings.of_small(20, 2)
    groups = zip((plan.question, plan.small), ways, strict=True)
    return tuple(trainings.train(setting, built, way, report.console()) for (setting, built), way in groups)


def verdicts(question, small):
    return {name: f.verdict for name, f in claims.decide(question, small, KERAS, [], [], []).items()}


# ---- the command


def test_the_folder_holds_the_table_the_raw_numbers_and_the_page(done):
    plan, rows, _ = done
    names = {"config.json", "env.json", "status.json", "claims.csv", "trainings.csv", "keras.json"}
    assert {p.name for p in plan.folder.iterdir()} == names | {"report.html"}
    with (plan.folder / "claims.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.DictReader(file)) == rows
    assert run_folder.read_json(plan.folder / "status.json")["state"] == "finished"
    stored = run_folder.read_json(plan.folder / "config.json")
    assert stored["experiment"] == "claims"
    assert stored["read"] == [
        "docs/monitoring",
        "docs/overhead",
        "docs/refit/sunspots",
        "docs/refit/weather",
    ]


def test_each_claim_has_a_row_with_a_verdict_that_is_explained(done):
    rows = done[1]
    assert [row["id"] for row in rows] == list(CLAIMS) == [f"C{i}" for i in range(1, 22)]
    assert {row["verdict"] for row in rows} <= set(MEANING)
    assert all(row["evidence"] for row in rows)
    for row in rows:
        assert row["command"].startswith("python -m experiments.") or row["verdict"] == "not measured yet", (
            row
        )


def test_what_trainings_decide_is_decided(done):
    found = {row["id"]: row["verdict"] for row in done[1]}
    assert {name: found[name] for name in COMPUTED} == COMPUTED


def test_it_prints_what_it_does_with_the_time_left_then_the_table_and_the_answer(done):
    _, rows, printed = done
    places = [
        printed.index(words)
        for words in (
            "1 of 3",
            "epoch 40/40",
            "2 of 3",
            "epoch 20/20",
            "3 of 3",
            "the claims of the usual answer",
            "Of 21 claims:",
        )
    ]
    assert places == sorted(places)
    assert "s left" in printed
    assert all(row["id"] in printed for row in rows)


def test_the_page_shows_every_row_and_needs_no_network(done):
    plan, rows, _ = done
    text = (plan.folder / "report.html").read_text(encoding="utf-8")
    for row in rows:
        assert f">{row['id']}</th>" in text
    assert not re.search(r'(src|href)="http|<script', text)
    assert "10 at 0.001, then 0.0001, 1e-05, …, 1e-13" in text  # 20 epochs here


def test_the_raw_numbers_are_those_of_the_verdicts(done):
    with (done[0].folder / "trainings.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["network"] == "question"]
    epochs = {
        name: [
            sum(r["trained"] == "True" for r in rows if (r["training"], r["seed"]) == (name, s)) for s in "89"
        ]
        for name in ("example 2", "one_fit, stopping")
    }
    assert epochs["example 2"] == [40, 40]
    said = next(row["evidence"] for row in done[1] if row["id"] == "C8")
    assert said == (
        f"it trains 40 of 40 epochs; with the same rule one fit stops after "
        f"{min(epochs['one_fit, stopping'])} to {max(epochs['one_fit, stopping'])} of 40 epochs"
    )


def test_keras_is_not_imported_here(done):
    assert "keras" not in sys.modules


# ---- other evidence, another verdict


def nudged(run):
    return run._replace(params=jax.tree.map(lambda leaf: np.nextafter(leaf, np.inf), run.params))


def slower(run):
    return run._replace(loss_NE=run.loss_NE + np.float32(1))


def on_one_seed(change):
    def one(run):
        return jax.tree.map(lambda old, new: np.concatenate([old[:1], new[1:]]), run, change(run))

    return one


def never_stopped(run):
    return run._replace(trained_NE=np.ones_like(run.trained_NE))


def stopped(run):
    return run._replace(trained_NE=np.arange(run.trained_NE.shape[1])[None] < np.array([[7], [9]]))


def constant(run):
    return run._replace(rate_NE=np.full_like(run.rate_NE, run.rate_NE[0, 0]))


def half_at_a_tenth(run):
    rate_E = np.repeat(np.array([1e-3, 1e-4], np.float32), 10)
    return run._replace(rate_NE=np.stack([rate_E] * 2))


def unseen(run):
    return run._replace(val_NE=np.where(np.arange(run.val_NE.shape[1]) % 2, run.val_NE, np.nan))


FALSIFIED = [
    ("C1", "keras_loop", nudged, "holds"),
    ("C1", "keras_loop", lambda run: run._replace(step_N=run.step_N + 1), "holds"),
    ("C2", "keras_loop", nudged, "holds"),
    ("C2", "keras_recompile", "one_fit", "void"),
    ("C3", "one_fit", unseen, "holds"),
    ("C4", "keras_loop", slower, "holds"),
    ("C4", "keras_loop", on_one_seed(slower), "depends"),
    ("C4", "one_fit", slower, "does not hold"),
    ("C5", "keras_loop", nudged, "undecided"),
    ("C7", "kept loop, stopping", nudged, "holds"),
    ("C7", "kept loop, stopping", slower, "holds"),
    ("C7", "one_fit, stopping", never_stopped, "undecided"),
    ("C7", "one_fit, all rules", "one_fit, stopping", "void"),
    ("C8", "example 2", stopped, "holds"),
    ("C8", "example 2", on_one_seed(stopped), "depends"),
    ("C8", "one_fit, stopping", never_stopped, "undecided"),
    ("C9", "example 2", lambda run: run._replace(params=run.selected.params), "holds"),
    ("C9", "example 2", nudged, "undecided"),
    ("C13", "callback in one fit", half_at_a_tenth, "depends"),
    ("C14", "kept loop, all rules", nudged, "holds"),
    ("C14", "one_fit, all rules", never_stopped, "undecided"),
    ("C14", "one_fit, all rules", constant, "undecided"),
    ("C15", "keras_loop", nudged, "holds"),
    ("C15", "keras_reseed", "one_fit", "void"),
    ("C16", "one_fit, all rules", lambda run: never_stopped(constant(run)), "holds"),
]


@pytest.mark.parametrize(("name", "way", "change", "verdict"), FALSIFIED)
def test_other_trainings_give_another_verdict(name, way, change, verdict, trained):
    question, small = trained
    assert verdicts(question, small)[name] == COMPUTED[name]
    runs = small if name in ("C13", "C15") else question
    other = runs | {way: runs[change] if isinstance(change, str) else change(runs[way])}
    assert verdicts(*((question, other) if runs is small else (other, small)))[name] == verdict


def test_repairs_that_are_all_right_would_hold(trained):
    question, small = trained
    right = {name: half_at_a_tenth(small[name]) for name in rule_verdicts.REPAIRS}
    assert verdicts(question, small | right)["C13"] == "holds"


def test_every_claim_that_trainings_decide_is_falsified_above():
    decided = {name for part in claims.PARTS for rules in (part.OF_QUESTION, part.OF_SMALL) for name in rules}
    assert decided == {name for name, *_ in FALSIFIED} == set(COMPUTED)
    assert decided == {name for name, claim in CLAIMS.items() if claim.experiment == "claims"} - {
        "C12",
        "C21",
    }


def test_a_void_claim_ends_the_command_after_everything_is_written(
    done, trained, tmp_path, monkeypatch, capsys
):
    question, small = trained
    groups = iter([question | {"keras_recompile": question["one_fit"]}, small])
    monkeypatch.setattr(claims.trainings, "train", lambda *_: next(groups))
    run_folder.write_json(tmp_path / "config.json", run_folder.read_json(done[0].folder / "config.json"))
    run_folder.write_json(tmp_path / "env.json", run_folder.read_json(done[0].folder / "env.json"))
    with pytest.raises(RuntimeError, match="void: C1, C2, C3, C4, C5; trainings that must differ did not"):
        claims.execute(done[0]._replace(folder=tmp_path))
    assert "keras_recompile and one_fit must differ" in (tmp_path / "claims.csv").read_text()
    assert "void: C1, C2, C3, C4, C5 (5)" in capsys.readouterr().out.replace("\n", " ")
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("rates", "words"),
    [
        ([0.5] * 4, "4 at 0.5"),
        ([1, 1, 0.1], "2 at 1, 1 at 0.1"),
        ([1, 1, 0.1, 0.01, 0.001], "2 at 1, then 0.1, 0.01, …, 0.001"),
        ([1, 0.1, 0.01, 0, 0], "1 at 1, then 0.1, 0.01, …, 0 from epoch 3 on"),
    ],
)
def test_a_rate_in_words(rates, words):
    assert rule_verdicts.trace(np.array(rates)) == words


# ---- what is refused

BAD = {
    "seeds: 0; allowed: 1 or more": ["--seeds", "0"],
    "runs: /nowhere is no folder": ["--runs", "/nowhere"],
    "keras: /nowhere is no file": ["--keras", "/nowhere"],
    "devices: 1000; allowed: 1 to": ["--devices", "1000"],
    "--seed": ["--seeds", "many"],
}


@pytest.mark.parametrize("message", BAD)
def test_bad_flags_are_refused_before_anything_is_made(message, monkeypatch, capsys, tmp_path):
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["claims", *BAD[message], "--out", str(out)])
    with pytest.raises(SystemExit) as exit_:
        cli.run_plan("claims", Config, claims.prepare, claims.execute, "")
    assert exit_.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


def test_a_folder_in_use_is_not_written_to(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="is in use; allowed: a new or empty folder"):
        claims.prepare(Config(out=str(tmp_path)), **SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
