"""Each arm's own best rate: how it is chosen, from a grid or a sweep, and the comparison at it, stopped and resumed."""

import csv
import dataclasses
import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.sweeps import run as run_sweep
from rich.console import Console

from experiments.claims.results import newest
from experiments.harness import plan as pl
from experiments.harness import plan as pla
from experiments.harness import run_folder, training
from experiments.harness.exits import Interrupted
from experiments.harness.setting import Setting
from experiments.refit import run as refit
from experiments.refit import tuning
from experiments.refit.config import REFIT, Config
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
    """Of made-up logs: arm={factor: logs}."""
    return {(arm, factor): np.array(log_N) for arm, own in arms.items() for factor, log_N in own.items()}


def decided(plan) -> dict[str, Any]:
    """What is fixed of the tuning before the first step."""
    assert plan.tuning is not None
    return plan.tuning


def planned(out, config=TUNED):
    (plan,) = refit.prepare(dataclasses.replace(config, out=str(out)))
    return plan


def test_the_lowest_mean_wins_and_a_run_that_diverged_loses_its_rate():
    tried = losses(
        one_fit={0.5: [1.0, 3.0], 1.0: [2.5, 2.5], 2.0: [0.0, np.inf]},
        drop_m={0.5: [3.0], 1.0: [2.0], 2.0: [1.0]},
    )
    assert tuning.choose(tried) == {"one_fit": 0.5, "drop_m": 2.0}


def test_of_equal_rates_the_nearest_to_the_settings_wins_and_then_the_lower():
    assert tuning.choose(losses(a={4.0: [1.0], 0.5: [1.0], 2.0: [1.0], 0.25: [1.0]})) == {"a": 0.5}
    assert tuning.choose(losses(a={f: [np.inf] for f in tuning.FACTORS})) == {"a": 1.0}


def test_the_grid_goes_on_by_one_factor_of_two_beyond_each_edge_that_is_best_of_any_arm():
    inner, low, high = {1.0: [0.0]}, {0.25: [0.0]}, {4.0: [0.0]}
    grid = {factor: [1.0] for factor in tuning.FACTORS}
    for own, expected in (((inner, inner), []), ((inner, high), [8.0]), ((low, high), [0.125, 8.0])):
        tried = losses(a=grid | own[0], b=grid | own[1])
        assert tuning.beyond(tried, tuning.choose(tried)) == expected


def test_every_arm_is_tried_at_every_rate_and_the_grid_ends_where_it_was_to_end(tmp_path, monkeypatch):
    plan, rounds = planned(tmp_path / "run"), []

    def falling(plan, name, factors, out):
        rounds.append(factors)
        return {
            (arm.name, f): np.array([-f if arm.name == "one_fit" else abs(np.log(f))])
            for arm in tuning.able(plan.arms)
            for f in factors
        }

    monkeypatch.setattr(tuning, "_round", falling)
    (plan.folder / "tuning").mkdir()
    found = tuning.tune(plan, Console())
    assert rounds == [[0.25, 0.5, 1.0, 2.0, 4.0], [8.0], [16.0], [32.0], [64.0]]
    assert found.rates == {"one_fit": 6.4, "drop_moments": 0.1}
    assert len(found.notes) == 1
    assert "one_fit is best at 6.4, an edge" in found.notes[0]


def test_grid_seeds_and_rule_are_decided_before_the_first_step_and_alone_make_the_hash_another(tmp_path):
    stored = [
        json.loads((planned(tmp_path / name, config).folder / "config.json").read_text())
        for name, config in (("plain", dataclasses.replace(TUNED, tuned=None)), ("tuned", TUNED))
    ]
    assert "tuning" not in stored[0]
    assert stored[1]["tuning"] == {
        "arms": ["one_fit", "drop_moments"],
        "factors": [0.25, 0.5, 1.0, 2.0, 4.0],
        "extensions": 4,
        "seeds": [1000, 1001],
        "rule": tuning.RULE,
    }
    assert stored[0]["hash"] != stored[1]["hash"]
    assert decided(planned(tmp_path / "long", dataclasses.replace(TUNED, quick=False)))["seeds"] == [
        *range(1000, 1008)
    ]


def test_at_best_rates_controls_and_identical_arms_follow_one_fit(tmp_path):
    best = tuning.at_best(planned(tmp_path / "run"), {"one_fit": 0.2, "drop_moments": 0.05})
    rates = {arm.name: arm.rate_factor * best.config.lr for arm in best.arms}
    assert rates == {"one_fit": 0.2, "keras_loop": 0.2, "drop_moments": 0.05, "aa": 0.2, "rate_x2": 0.4}


BAD = {
    "several folders": ({"tuned": ("a", "b")}, "tuned: a, b; allowed: nothing, or one"),
    "no sweep": ({"tuned": ("nowhere",)}, "the folder of a sweep that has results"),
    "its seeds": ({"seeds": 993}, "seeds: 993; allowed with tuned: up to 992"),
}


@pytest.mark.parametrize("fields, message", BAD.values(), ids=BAD)
def test_what_cannot_be_tuned_is_refused_before_a_folder_is_made(fields, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        planned(tmp_path / "out", dataclasses.replace(TUNED, **fields))
    assert not (tmp_path / "out").exists()


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
    plan = planned(tmp_path / "run", dataclasses.replace(TUNED, tuned=(str(swept),)))
    rows = rows_of(swept / "results.csv")
    for arm in ("one_fit", "drop_moments"):
        mean = {
            lr: np.mean(
                [np.log(float(r["val_selected"])) for r in rows if (r["policy"], r["lr"]) == (arm, lr)]
            )
            for lr in ("0.025", "0.1", "0.4")
        }
        assert decided(plan)["rates"][arm] == float(min(mean, key=lambda lr: mean[lr]))
    assert decided(plan)["seeds"] == [1000, 1001]
    edge = [arm for arm, rate in decided(plan)["rates"].items() if rate != 0.1]
    assert [note.split()[0] for note in decided(plan)["notes"]] == edge
    assert tuning.tune(plan, Console()).rates == decided(plan)["rates"]
    (resumed,) = refit.prepare(Config(resume=str(plan.folder)))
    assert resumed.tuning == plan.tuning


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
def test_a_sweep_that_does_not_say_is_refused(fields, message, swept, tmp_path):
    config = dataclasses.replace(TUNED, tuned=(str(swept),), **fields)
    with pytest.raises(ValueError, match=message):
        planned(tmp_path / "out", config)
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A whole run, uninterrupted."""
    folder = tmp_path_factory.mktemp("tuned") / "run"
    refit.main(dataclasses.replace(TUNED, out=str(folder)))
    return folder


def test_both_comparisons_are_made_by_the_same_code_and_told_together_the_same_rate_first(done):
    rates = {
        row["arm"]: row["rate"] for row in rows_of(done / "tuning" / "rates.csv") if row["chosen"] == "True"
    }
    assert set(rates) == {"one_fit", "drop_moments"}
    told = (done / "table.md").read_text()
    own = (done / "best_rate" / "table.md").read_text()
    assert told.startswith("**Same rate, 0.1, in every arm.**")
    assert told.endswith(own)
    assert own.startswith(f"**Each arm at its own best rate: one_fit {float(rates['one_fit']):g}, ")
    assert told.index("From the same rate to best rates") < told.index(own)
    page = (done / "report.html").read_text()
    places = [
        page.index(f">{title}<")
        for title in ("Effects", "Effects at each arm’s own best rate", "How the rates were chosen")
    ]
    assert places == sorted(places)
    for folder in FOLDERS:
        assert {"effects.csv", "figure.svg", "report.html"} <= {p.name for p in (done / folder).iterdir()}
        seeds = {int(row["seed"]) for row in rows_of(done / folder / "results.csv")}
        assert seeds == set(range(8, 14))
    assert json.loads((done / "status.json").read_text())["state"] == "finished"


def test_the_rates_of_the_raw_curves_are_those_that_were_decided(done):
    curves = [json.loads(line) for line in (done / "best_rate" / "metrics.jsonl").read_text().splitlines()]
    found = {row["arm"]: row["rate"] for row in curves}
    best = json.loads((done / "best_rate" / "config.json").read_text())["rates"]
    expected = {
        "one_fit": 1,
        "keras_loop": 1,
        "aa": 1,
        "rate_x2": 2,
        "drop_moments": best["drop_moments"] / best["one_fit"],
    }
    for arm, factor in expected.items():
        assert found[arm] == pytest.approx(factor * best["one_fit"], rel=1e-6), arm


def test_the_same_rate_results_are_those_of_a_run_without_tuning(done, tmp_path):
    plan = planned(tmp_path / "plain", dataclasses.replace(TUNED, tuned=None))
    pl.train(plan, Console())
    assert (plan.folder / "metrics.jsonl").read_bytes() == (done / "metrics.jsonl").read_bytes()


def test_a_run_stopped_in_each_of_its_parts_goes_on_to_the_same_bits(done, tmp_path, monkeypatch):
    stopped: set[Path] = set()
    whole: Any = training.train

    def half(folder, *rest):
        """Stops each training once, after its first epoch."""
        if folder in stopped:
            return whole(folder, *rest)
        stopped.add(folder)
        *before, _, chunk, console, save_every = rest
        whole(folder, *before, 1, chunk, console, save_every)
        raise Interrupted(signal.SIGTERM, folder)

    monkeypatch.setattr(training, "train", half)
    folder, config, stages = tmp_path / "cut", dataclasses.replace(TUNED, out=str(tmp_path / "cut")), []
    for _ in range(20):
        try:
            refit.main(config)
            break
        except Interrupted as e:
            assert e.folder == folder
            status = json.loads((folder / "status.json").read_text())
            assert status["state"] == "interrupted"
            stages.append(status["stage"])
            config = Config(resume=str(folder))
    assert stages[-2:] == ["same rate", "best rate"]
    assert set(stages[:-2]) == {"tuning"}
    for name in ("tuning/rates.csv", *(f"{f}/{n}.csv" for f in FOLDERS for n in ("results", "effects"))):
        assert (folder / name).read_bytes() == (done / name).read_bytes(), name
    assert (folder / "table.md").read_bytes() == (done / "table.md").read_bytes()


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
    with pytest.raises(ValueError, match="best_rate is a part of"):
        pla.prepare(REFIT, Config(resume=str(done / "best_rate")))
