"""The rules × loops experiment, as a user runs it, on a series small enough to wait for."""

import csv
import dataclasses
import signal

import numpy as np
import pytest
from helpers import refused

from experiments.harness import arms as ar
from experiments.harness import run_folder, training
from experiments.harness.exits import Interrupted
from experiments.monitoring import run as monitoring
from experiments.monitoring.config import Config, decide
from lstm_sched import stats

SMALL = Config(data=("ar",), window=4, hidden=4, batch=256, epochs=12, seeds=6, lr=0.05, patience=(1, 3))
END, SELECTED = stats.Metric


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A run that was stopped after some epochs and resumed: its folder, results, and rules.csv."""
    folder = tmp_path_factory.mktemp("monitoring") / "run"
    whole = training.train

    def stopped(folder, learner, layout, member_M, labels, data, epochs, *rest):
        whole(folder, learner, layout, member_M, labels, data, 5, *rest)
        raise Interrupted(signal.SIGTERM, folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "train", stopped)
        with pytest.raises(Interrupted):
            monitoring.main(dataclasses.replace(SMALL, out=str(folder)))
    assert (run_folder.read_status(folder)["state"], run_folder.read_status(folder)["epochs"]) == (
        "interrupted",
        5,
    )
    (results,) = monitoring.main(Config(resume=str(folder)))
    with (folder / "rules.csv").open(newline="") as file:
        return folder, results, list(csv.DictReader(file))


def test_a_rule_acts_in_one_fit_and_in_a_loop_that_keeps_its_counters(done):
    _, results, rows = done
    single = [row for row in rows if row["memory"] == "one fit" and row["rule"] == "stopping"]
    assert {row["patience"] for row in single} == {"1", "3"}
    assert all(float(row["epochs_min"]) < SMALL.epochs for row in single if row["patience"] == "1")
    for row in rows:
        if row["memory"] == "kept":
            assert (row["must_be"], row["differing"]) == (f"{row['rule']}_{row['patience']}", "0")
    plateau = results.curves["rate"][results.rows("plateau_1")]
    assert plateau.min() < 0.9 * plateau.max()


def test_a_rule_that_is_passed_to_every_fit_is_no_rule(done):
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
    np.testing.assert_allclose(results.loss[END][rows], results.loss[SELECTED][rows], rtol=1e-6)


def test_the_folder_holds_picture_tables_and_page_and_each_epoch_once(done):
    folder, results, _ = done
    names = {path.name for path in folder.iterdir()}
    assert {"rules.csv", "results.csv", "figure.svg", "figure.png", "report.html", "table.md"} <= names
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == len(results.labels) * SMALL.epochs
    reset = sum(arm.endswith(("reset", "initial_epoch")) for arm, _ in results.labels)
    text = (folder / "table.md").read_text()
    assert f"0 of {results.weights * reset:,} weights differ by a bit" in text


def test_fits_of_several_epochs_are_measured_since_a_rule_can_act_inside_one():
    (plan,) = decide(dataclasses.replace(SMALL, every=3), {})
    assert {arm.must_equal for arm in plan.arms if arm.name.endswith("reset")} == {None}
    assert ar.family(plan.arms) == 2 * 2 * (2 + 2 * 2)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--patience", "0"], "patience: (0,); allowed"),
        (["--patience", "2", "2"], "patience: (2, 2); allowed"),
        (["--factor", "1"], "factor: 1.0; allowed: 0 to below 1"),
    ],
)
def test_bad_flags_are_refused(flags, message, tmp_path, request):
    refused.before_any_compilation(monitoring, "monitoring", flags, message, tmp_path / "out", request)


def test_a_finished_run_is_concluded_again_from_its_folder(done, capsys):
    folder, results, _ = done
    (again,) = monitoring.main(Config(resume=str(folder)))
    np.testing.assert_array_equal(again.loss[END], results.loss[END])
    assert "nothing is trained" in capsys.readouterr().out
