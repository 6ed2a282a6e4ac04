"""Each arm's own best rate: how it is chosen, from a grid or a sweep, and the comparison at it, stopped and resumed."""

import csv
import dataclasses
import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.pages import Parsed
from helpers.sweeps import run as run_sweep

from experiments.claims.results import newest
from experiments.harness import document, experiment, run_folder, training
from experiments.harness.exits import Interrupted
from experiments.harness.experiment import Workplace
from experiments.harness.setting import Setting
from experiments.refit import run as refit
from experiments.refit import tuning
from experiments.refit.config import Config, decide
from experiments.sweep.config import Config as Sweep
from experiments.sweep.config import Grid

TINY = Config(
    data=("sines",),
    window=4,
    hidden=2,
    batch=512,
    epochs=2,
    seeds=6,
    lr=0.1,
    arms=("one_fit", "keras_loop", "drop_moments", "aa", "rate_x2"),
)
TUNED = dataclasses.replace(TINY, tuned=(), quick=True)
FOLDERS = (".", "best_rate")


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def losses(**arms):
    """Made-up logs: arm={factor: logs}."""
    return {(arm, factor): np.array(log_N) for arm, logs in arms.items() for factor, log_N in logs.items()}


def decided(config=TUNED):
    (plan,) = decide(config, {})
    return plan


def tune(plan, folder):
    return tuning.tune(plan, plan.tuning, Workplace(folder=folder, console=document.console()))


@pytest.mark.parametrize(
    ("tried", "best"),
    [
        (
            losses(
                one_fit={0.5: [1.0, 3.0], 1.0: [2.5, 2.5], 2.0: [0.0, np.inf]},
                drop_m={0.5: [3.0], 1.0: [2.0], 2.0: [1.0]},
            ),
            {"one_fit": 0.5, "drop_m": 2.0},
        ),
        (losses(a={4.0: [1.0], 0.5: [1.0], 2.0: [1.0], 0.25: [1.0]}), {"a": 0.5}),
        (losses(a={factor: [np.inf] for factor in tuning.FACTORS}), {"a": 1.0}),
    ],
    ids=["a diverged run loses its rate", "of equal ones the nearest, then the lower", "all diverged"],
)
def test_the_lowest_mean_wins(tried, best):
    assert tuning.choose(tried) == best


def test_the_grid_goes_on_by_one_factor_of_two_beyond_each_edge_that_is_best_of_any_arm():
    inner, low, high = {1.0: [0.0]}, {0.25: [0.0]}, {4.0: [0.0]}
    grid = {factor: [1.0] for factor in tuning.FACTORS}
    for best, expected in (((inner, inner), []), ((inner, high), [8.0]), ((low, high), [0.125, 8.0])):
        tried = losses(a=grid | best[0], b=grid | best[1])
        assert tuning.beyond(tried, tuning.choose(tried)) == expected


def test_every_arm_is_tried_at_every_rate_and_the_grid_ends_where_it_was_to_end(tmp_path, monkeypatch):
    plan, rounds = decided(), []

    def falling(plan, grid, name, factors, workplace):
        rounds.append(factors)
        return {
            (arm.name, f): np.array([-f if arm.name == "one_fit" else abs(np.log(f))])
            for arm in tuning.able(plan.arms)
            for f in factors
        }

    monkeypatch.setattr(tuning, "_round", falling)
    tuned = tune(plan, tmp_path)
    assert rounds == [[0.25, 0.5, 1.0, 2.0, 4.0], [8.0], [16.0], [32.0], [64.0]]
    assert tuned.rates == {"one_fit": 6.4, "drop_moments": 0.1}
    (note,) = tuned.notes
    assert note.startswith("one_fit is best at 6.4, an edge")


def test_grid_seeds_and_rule_are_facts_and_alone_make_the_hash_another():
    plain, tuned = decided(dataclasses.replace(TUNED, tuned=None)), decided()
    assert "tuning" not in plain.facts
    assert json.loads(json.dumps(tuned.facts["tuning"])) == {
        "arms": ["one_fit", "drop_moments"],
        "factors": [0.25, 0.5, 1.0, 2.0, 4.0],
        "extensions": 4,
        "seeds": [1000, 1001],
        "rule": tuning.RULE,
    }
    assert plain.digest != tuned.digest
    long = decided(dataclasses.replace(TUNED, quick=False))
    assert long.facts["tuning"]["seeds"] == tuple(range(1000, 1008))


def test_at_best_rates_controls_and_identical_arms_follow_one_fit():
    best = tuning.at_best(decided(), {"one_fit": 0.2, "drop_moments": 0.05})
    rates = {arm.name: arm.rate_factor * best.config.lr for arm in best.arms}
    assert rates == {"one_fit": 0.2, "keras_loop": 0.2, "drop_moments": 0.05, "aa": 0.2, "rate_x2": 0.4}


BAD = {
    "several folders": ({"tuned": ("a", "b")}, "tuned: a, b; allowed: nothing, or one"),
    "no sweep": ({"tuned": ("nowhere",)}, "the folder of a sweep that has results"),
    "its seeds": ({"seeds": 993}, "seeds: 993; allowed with tuned: up to 992"),
}


@pytest.mark.parametrize("fields, message", BAD.values(), ids=BAD)
def test_what_cannot_be_tuned_is_refused_before_a_folder_is_made(fields, message, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=message):
        refit.main(dataclasses.replace(TUNED, **fields, out=str(out)))
    assert not out.exists()


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep that tunes one_fit and drop_moments on two seeds."""
    folder = tmp_path_factory.mktemp("swept") / "sweep"
    grid = Grid(lr=(0.025, 0.1, 0.4), policy=("one_fit", "drop_moments"), seed=("1000:1002",))
    same = {field: getattr(TINY, field) for field in ("data", "window", "hidden", "batch", "epochs")}
    with pytest.MonkeyPatch.context() as patch:
        run_sweep(Sweep(**same, grid=grid, estimate=False, workers=1), folder, patch)
    return folder


def test_a_sweep_gives_each_policy_its_best_rate_and_is_not_asked_again(swept, tmp_path):
    plan = decided(dataclasses.replace(TUNED, tuned=(str(swept),)))
    rows, rates = rows_of(swept / "results.csv"), plan.facts["tuning"]["rates"]
    for arm in ("one_fit", "drop_moments"):
        mean = {
            lr: np.mean(
                [np.log(float(r["val_selected"])) for r in rows if (r["policy"], r["lr"]) == (arm, lr)]
            )
            for lr in ("0.025", "0.1", "0.4")
        }
        assert rates[arm] == float(min(mean, key=lambda lr: mean[lr]))
    assert plan.facts["tuning"]["seeds"] == [1000, 1001]
    edge = [arm for arm, rate in rates.items() if rate != 0.1]
    assert [note.split()[0] for note in plan.facts["tuning"]["notes"]] == edge
    assert tune(plan, tmp_path).rates == rates
    stored = json.loads(json.dumps({"tuning": plan.facts["tuning"]}))
    (resumed,) = decide(dataclasses.replace(plan.config, tuned=("no longer there",)), stored)
    assert (resumed.tuning, resumed.digest) == (plan.tuning, plan.digest)


OTHER = {
    "another series": ({"data": ("ar",)}, "is a sweep of sines; allowed: of the values of ar"),
    "another setting": ({"hidden": 3}, "has hidden 2; allowed: that of this run, 3"),
    "a policy is missing": (
        {"arms": ("one_fit", "drop_m")},
        "no rate at which all trainings of drop_m in fits of 1",
    ),
    "other fits": ({"arms": ("one_fit", "drop_moments"), "every": 2, "epochs": 4}, "has epochs 2"),
    "its seeds are reported": ({"seeds": 993}, "seeds 1000 to 1001, of which some of 8 to 1000"),
}


@pytest.mark.parametrize("fields, message", OTHER.values(), ids=OTHER)
def test_a_sweep_that_does_not_say_is_refused(fields, message, swept):
    with pytest.raises(ValueError, match=message):
        decide(dataclasses.replace(TUNED, tuned=(str(swept),), **fields), {})


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A whole run, uninterrupted: its folder and its results."""
    folder = tmp_path_factory.mktemp("tuned") / "run"
    (results,) = refit.main(dataclasses.replace(TUNED, out=str(folder)))
    return folder, results


def test_both_comparisons_are_reported_together_the_same_rate_first(done):
    folder, _ = done
    rates = {
        row["arm"]: row["rate"] for row in rows_of(folder / "tuning" / "rates.csv") if row["chosen"] == "True"
    }
    assert set(rates) == {"one_fit", "drop_moments"}
    whole = (folder / "table.md").read_text()
    inner = (folder / "best_rate" / "table.md").read_text()
    assert whole.startswith("Same rate, 0.1, in every arm.")
    heading = f"Each arm at its own best rate: one_fit {float(rates['one_fit']):g}, "
    assert inner.startswith(heading) and heading in whole
    page = Parsed((folder / "report.html").read_text(encoding="utf-8"))
    titles = page.all("h2")
    assert titles.index("Effects") + 1 == titles.index("Effects at each arm’s own best rate")
    assert {"./tuning", "./best_rate"} <= set(page.attributes("href"))
    for part in FOLDERS:
        assert {"effects.csv", "figure.svg", "report.html"} <= {p.name for p in (folder / part).iterdir()}
        seeds = {int(row["seed"]) for row in rows_of(folder / part / "results.csv")}
        assert seeds == set(range(8, 14))
        assert run_folder.read_status(folder / part)["state"] == "finished"
    assert run_folder.read_status(folder)["stage"] == "all"


def test_the_rates_of_the_raw_curves_are_those_that_were_decided(done):
    folder, _ = done
    curves = [json.loads(line) for line in (folder / "best_rate" / "metrics.jsonl").read_text().splitlines()]
    rates = {row["arm"]: row["rate"] for row in curves}
    best = run_folder.read_json(folder / "best_rate" / "config.json")["rates"]
    expected = {
        "one_fit": 1,
        "keras_loop": 1,
        "aa": 1,
        "rate_x2": 2,
        "drop_moments": best["drop_moments"] / best["one_fit"],
    }
    for arm, factor in expected.items():
        assert rates[arm] == pytest.approx(factor * best["one_fit"], rel=1e-6), arm


def test_the_same_rate_results_are_those_of_a_run_without_tuning(done, tmp_path):
    folder, _ = done
    refit.main(dataclasses.replace(TUNED, tuned=None, out=str(tmp_path / "plain")))
    assert (tmp_path / "plain" / "metrics.jsonl").read_bytes() == (folder / "metrics.jsonl").read_bytes()


def test_a_run_stopped_in_each_of_its_parts_goes_on_to_the_same_bits(done, tmp_path, monkeypatch):
    stopped: set[Path] = set()
    whole: Any = training.train

    def half(folder, *rest):
        """Stops each training once, after its first epoch."""
        if folder in stopped:
            return whole(folder, *rest)
        stopped.add(folder)
        *before, _, chunk, console, save_every, begin_M = rest
        whole(folder, *before, 1, chunk, console, save_every, begin_M)
        raise Interrupted(signal.SIGTERM, folder)

    monkeypatch.setattr(training, "train", half)
    folder, config, stages = tmp_path / "cut", dataclasses.replace(TUNED, out=str(tmp_path / "cut")), []
    for _ in range(20):
        try:
            refit.main(config)
            break
        except Interrupted as e:
            assert e.folder == folder
            status = run_folder.read_status(folder)
            assert status["state"] == "interrupted"
            stages.append(status["stage"])
            config = Config(resume=str(folder))
    assert stages[-2:] == ["same rate", "best rate"]
    assert set(stages[:-2]) == {"tuning"}
    for name in ("tuning/rates.csv", *(f"{f}/{n}.csv" for f in FOLDERS for n in ("results", "effects"))):
        assert (folder / name).read_bytes() == (done[0] / name).read_bytes(), name
    assert (folder / "table.md").read_bytes() == (done[0] / "table.md").read_bytes()


def test_who_reads_the_newest_results_is_given_those_at_the_same_rate(tmp_path):
    config = {"config": dataclasses.asdict(Setting()), "command": ""}
    for name, more in (("run", {}), ("run/best_rate", {"rates": {"one_fit": 1e-3}})):
        folder = tmp_path / "refit" / name
        folder.mkdir(parents=True)
        run_folder.write_json(folder / "config.json", config | more)
        run_folder.write_csv(folder / "effects.csv", [{"arm": name}])
    (table,) = newest("refit", "effects.csv", ("arm",), tmp_path)
    assert table.rows == [{"arm": "run"}]


def test_a_part_is_not_resumed_alone(done):
    with pytest.raises(ValueError, match="best_rate is part of a run"):
        experiment.prepare(refit.EXPERIMENT, Config(resume=str(done[0] / "best_rate")))
