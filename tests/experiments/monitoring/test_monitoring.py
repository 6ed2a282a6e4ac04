"""The rules × loops experiment, as a user runs it, on a series small enough to wait for."""

import csv
import dataclasses
import sys

import numpy as np
import pytest

from experiments.harness import cli, outcome
from experiments.monitoring import run as monitoring
from experiments.monitoring.config import Config, prepare

SMALL = Config(data=("ar",), window=4, hidden=4, batch=256, epochs=12, seeds=6, lr=0.05, patience=(1, 3))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("monitoring") / "run"
    (results,) = monitoring.main(dataclasses.replace(SMALL, out=str(folder)))
    with (folder / "rules.csv").open(newline="") as file:
        return folder, results, list(csv.DictReader(file))


def test_a_rule_acts_in_one_fit_and_in_a_loop_that_keeps_its_counters(done):
    _, results, rows = done
    single = [row for row in rows if row["memory"] == "one fit" and row["rule"] == "stopping"]
    assert {row["patience"] for row in single} == {"1", "3"}
    assert all(float(row["epochs_min"]) < SMALL.epochs for row in single if row["patience"] == "1")
    for row in rows:
        if row["memory"] == "kept":
            assert row["differing"] == "0"
            assert row["must_be"] == f"{row['rule']}_{row['patience']}"
    plateau = results.curves["rate"][results.rows("plateau_1")]
    assert plateau.min() < 0.9 * plateau.max()


def test_a_rule_that_is_handed_to_every_fit_is_no_rule(done):
    _, results, rows = done
    for row in rows:
        if row["memory"] in ("reset", "initial_epoch"):
            assert (row["must_be"], row["differing"]) == ("one_fit", "0")
            assert float(row["epochs_min"]) == SMALL.epochs
    rates = results.curves["rate"][results.rows("plateau_1_reset")]
    np.testing.assert_array_equal(rates, rates[0, 0])


def test_stopping_returns_the_best_weights_of_the_epochs_that_it_ran(done):
    _, results, _ = done
    rows = results.rows("stopping_3")
    np.testing.assert_allclose(
        results.loss["after the last epoch"][rows], results.loss["at its best epoch"][rows], rtol=1e-6
    )


def test_the_folder_holds_the_picture_the_table_and_the_page(done):
    folder, _, _ = done
    names = {path.name for path in folder.iterdir()}
    assert {"rules.csv", "results.csv", "figure.svg", "figure.png", "report.html", "status.json"} <= names
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "0 of" in page
    assert "http" not in page.split("<body>")[1].split("How to get this again")[0]


def test_fits_of_several_epochs_are_measured_since_a_rule_can_act_inside_one(tmp_path):
    (plan,) = prepare(dataclasses.replace(SMALL, every=3, out=str(tmp_path / "run")))
    assert {arm.must_equal for arm in plan.arms if arm.name.endswith("reset")} == {None}
    assert outcome.family(plan.arms) == 2 * 2 * (2 + 2 * 2)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--patience", "0"], "patience: (0,); allowed"),
        (["--patience", "2", "2"], "patience: (2, 2); allowed"),
        (["--factor", "1"], "factor: 1.0; allowed: 0 to below 1"),
        (["--resume", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(flags, said, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["monitoring", *flags])
    with pytest.raises(SystemExit) as stopped:
        cli.run_plan("monitoring", Config, prepare, monitoring.execute, "")
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_a_finished_run_is_concluded_again_from_its_folder(done):
    folder, results, _ = done
    (again,) = monitoring.main(Config(resume=str(folder)))
    np.testing.assert_array_equal(again.loss["after the last epoch"], results.loss["after the last epoch"])
