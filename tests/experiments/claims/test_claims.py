"""The command as a user runs it; and each verdict of trainings comes from its evidence: other bits, another verdict."""

import contextlib
import csv
import dataclasses
import io
import re
import sys
from functools import partial

import numpy as np
import pytest
from helpers import small

from experiments.claims import by_trainings, report, run, trainings
from experiments.claims.claims import CLAIMS, MEANING
from experiments.claims.config import Config, decide
from experiments.harness import cli, run_folder
from experiments.harness.exits import Interrupted
from experiments.harness.experiment import carry_out
from experiments.harness.setting import Setting

SETTINGS = {
    "question": Setting(epochs=40, hidden=4, window=4, split=(0.2, 0.3), lr=1e-2),
    "small": Setting(epochs=20, hidden=3, window=3, split=(0.1, 0.2), dropout=0.2),
}
EXPERIMENT = dataclasses.replace(run.EXPERIMENT, decide=partial(decide, settings=SETTINGS))
COMPUTED = dict.fromkeys(by_trainings.RULES, "does not hold") | dict.fromkeys(("C2", "C5"), "not as written")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The command on small networks, stopped between them and resumed: (folder, evidence, text, networks trained)."""
    folder, printed, trained = tmp_path_factory.mktemp("claims"), io.StringIO(), []
    original = trainings.train

    def train(setting, compared, out):
        if trained and trained[-1] == 40:
            trained.append(0)
            raise KeyboardInterrupt
        trained.append(setting.epochs)
        return original(setting, compared, out)

    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(printed),
        small.populations_soon(),
    ):
        patch.setattr(trainings, "train", train)
        with pytest.raises(Interrupted):
            carry_out(EXPERIMENT, Config(out=str(folder / "run"), runs=str(folder)))
        [evidence] = carry_out(EXPERIMENT, Config(resume=str(folder / "run")))
    return folder / "run", evidence, printed.getvalue(), trained


@pytest.fixture
def rows(done):
    with (done[0] / "claims.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# ---- the command


def test_a_stopped_run_keeps_what_it_trained_and_writes_all_files(done):
    folder, _, printed, trained = done
    assert trained == [40, 0, 20]
    names = {"config.json", "env.json", "status.json", "measured.jsonl", "question.npz", "small.npz"}
    assert {p.name for p in folder.iterdir()} == names | {"claims.csv", "trainings.csv", "report.html"}
    assert run_folder.read_status(folder)["state"] == "finished"
    places = [
        printed.rindex(text)
        for text in ("epoch 40/40", "1 of 3", "2 of 3", "epoch 20/20", "3 of 3", "Of 21 claims:")
    ]
    assert places == sorted(places)
    assert "keras" not in sys.modules


def test_each_claim_has_a_verdict_that_is_explained_and_evidence(done, rows):
    assert [row["id"] for row in rows] == list(CLAIMS) == [f"C{i}" for i in range(1, 22)]
    verdicts = {row["id"]: row["verdict"] for row in rows}
    assert set(verdicts.values()) <= set(MEANING)
    assert {name: verdicts[name] for name in COMPUTED} == COMPUTED
    page = (done[0] / "report.html").read_text(encoding="utf-8")
    for row in rows:
        assert row["evidence"]
        assert row["command"].startswith("python -m experiments.") or row["verdict"] == "not measured yet"
        assert f">{row['id']}</th>" in page
        assert row["id"] in done[2]
    assert not re.search(r'(src|href)="http|<script', page)
    assert "10 at 0.001, then 0.0001, 1e-05, …, 1e-13" in rows[12]["evidence"]  # 20 epochs here


def test_the_raw_numbers_are_those_of_the_verdicts(done, rows):
    with (done[0] / "trainings.csv").open(newline="") as file:
        raw = [row for row in csv.DictReader(file) if row["network"] == "question"]

    def trained(name, seed):
        same = (r for r in raw if (r["training"], r["seed"]) == (name, seed))
        return sum(r["trained"] == "True" for r in same)

    assert [trained("example 2", seed) for seed in "89"] == [40, 40]
    low, high = sorted(trained("one_fit, stopping", seed) for seed in "89")
    assert rows[7]["evidence"] == (
        f"it trains 40 of 40 epochs; with the same rule one fit stops after {low} to {high} of 40 epochs"
    )


# ---- other evidence, another verdict


def nudged(run):
    return dataclasses.replace(run, weights_NW=np.nextafter(run.weights_NW, np.inf))


def slower(run):
    return dataclasses.replace(run, loss_NE=run.loss_NE + np.float32(1))


def on_one_seed(change):
    def changed(run):
        pairs = zip(dataclasses.asdict(run).items(), dataclasses.asdict(change(run)).values(), strict=True)
        return trainings.Run(**{name: np.concatenate([old[:1], new[1:]]) for (name, old), new in pairs})

    return changed


def never_stopped(run):
    return dataclasses.replace(run, trained_NE=np.ones_like(run.trained_NE))


def stopped(run):
    epochs_E = np.arange(run.trained_NE.shape[1])
    return dataclasses.replace(run, trained_NE=epochs_E[None] < np.array([[7], [9]]))


def constant(run):
    return dataclasses.replace(run, rate_NE=np.full_like(run.rate_NE, run.rate_NE[0, 0]))


def half_at_a_tenth(run):
    rate_E = np.repeat(np.array([1e-3, 1e-4], np.float32), 10)
    return dataclasses.replace(run, rate_NE=np.stack([rate_E] * 2))


def unseen(run):
    return dataclasses.replace(run, val_NE=np.where(np.arange(run.val_NE.shape[1]) % 2, run.val_NE, np.nan))


FALSIFIED = [
    ("C1", "keras_loop", nudged, "holds"),
    ("C1", "keras_loop", lambda run: dataclasses.replace(run, step_N=run.step_N + 1), "holds"),
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
    ("C9", "example 2", lambda run: dataclasses.replace(run, weights_NW=run.best_NW), "holds"),
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
def test_other_trainings_give_another_verdict(name, way, change, verdict, done):
    networks = done[1].networks
    network = by_trainings.RULES[name][0]
    runs = networks[network]
    changed = runs | {way: runs[change] if isinstance(change, str) else change(runs[way])}
    assert by_trainings.decide(networks | {network: changed})[name].verdict == verdict


def test_repairs_that_are_all_right_would_hold(done):
    networks = done[1].networks
    right = {name: half_at_a_tenth(networks["small"][name]) for name in by_trainings.REPAIRS}
    networks = networks | {"small": networks["small"] | right}
    assert by_trainings.decide(networks)["C13"].verdict == "holds"


def test_every_claim_that_trainings_decide_is_falsified_above():
    here = {name for name, claim in CLAIMS.items() if claim.experiment == "claims"}
    assert {name for name, *_ in FALSIFIED} == set(COMPUTED) == here - {"C12", "C21"}


def test_a_void_claim_is_written_and_ends_the_command(done):
    networks = done[1].networks
    blind = networks["question"] | {"keras_recompile": networks["question"]["one_fit"]}
    evidence = dataclasses.replace(done[1], networks=networks | {"question": blind})
    [plan] = decide(Config(), {}, SETTINGS)
    concluded = report.conclude(plan, evidence)
    assert "C1, C2, C3, C4, C5;" in concluded.void
    assert "keras_recompile and one_fit must differ" in concluded.tables["claims.csv"][1]["evidence"]
    assert "void: C1, C2, C3, C4, C5 (5)" in report.answer(report.findings(plan, evidence))


@pytest.mark.parametrize(
    ("rates", "text"),
    [
        ([0.5] * 4, "4 at 0.5"),
        ([1, 1, 0.1], "2 at 1, 1 at 0.1"),
        ([1, 1, 0.1, 0.01, 0.001], "2 at 1, then 0.1, 0.01, …, 0.001"),
        ([1, 0.1, 0.01, 0, 0], "1 at 1, then 0.1, 0.01, …, 0 from epoch 3 on"),
    ],
)
def test_a_rate_in_words(rates, text):
    assert by_trainings.trace(np.array(rates)) == text


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
        cli.run(run.EXPERIMENT, "")
    assert exit_.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not out.exists()
