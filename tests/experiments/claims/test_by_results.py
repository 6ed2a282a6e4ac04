"""What other experiments and the real Keras decide: other results, another verdict."""

import csv
import dataclasses
import json
import os

import numpy as np
import pytest

from experiments.claims import ask_keras, by_results, claims, config, results
from experiments.harness.setting import Setting
from lstm_sched import stats

# ---- the real Keras


@pytest.mark.parametrize(
    ("fields", "c12", "c21"),
    [
        (
            {"name": "Keras 3", "example_1": "runs", "example_3": "raises ValueError: no"},
            "does not hold",
            "holds",
        ),
        (
            {"name": "Keras 4", "example_1": "raises TypeError: no", "example_3": "runs"},
            "holds",
            "does not hold",
        ),
        ({"why_not": "keras is not installed"}, "not checked", "not checked"),
    ],
)
def test_examples_1_and_3_are_as_keras_runs_them(fields, c12, c21):
    findings = ask_keras.decide(ask_keras.Answer(**fields))
    assert (findings["C12"].verdict, findings["C21"].verdict) == (c12, c21)
    assert next(iter(fields.values())) in findings["C12"].evidence


KERAS_THAT = {
    "is not there": "import importlib.util; importlib.util.find_spec = lambda name: None",
    "is slow": "import time; time.sleep(60)",
    "is broken": "raise ImportError('no such library')",
}


@pytest.mark.parametrize(
    ("that", "why"),
    [
        ("is not there", "keras is not installed (pip install keras)"),
        ("is slow", "keras did not answer within 3 s"),
        ("is broken", "keras ended with 1: ImportError: no such library"),
    ],
)
def test_it_says_why_keras_was_not_asked(that, why, monkeypatch):
    monkeypatch.setattr(ask_keras, "SCRIPT", f"{KERAS_THAT[that]}\n{ask_keras.SCRIPT}")
    assert ask_keras.ask(limit=3.0).why_not == why


# ---- the results of other experiments


def recorded(folder, effects=(), experiment="refit", seconds=0, **config):
    """A run's folder as an experiment leaves it, with rows of its table."""
    folder.mkdir(parents=True)
    asked = {**dataclasses.asdict(Setting()), "data": ["sunspots"], **config}
    (folder / "config.json").write_text(json.dumps({"command": "python -m experiments.x", "config": asked}))
    file = folder / {"refit": "effects.csv", "monitoring": "rules.csv", "overhead": "costs.csv"}[experiment]
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(effects[0]))
        writer.writeheader()
        writer.writerows(effects)
    os.utime(file, (seconds, seconds))
    return folder


def effect(arm, end, selected):
    """Both rows of an arm; the mean goes with the verdict."""
    mean = {"better": -0.1, "worse": 0.1, "identical": np.nan}
    return [
        {
            "arm": arm,
            "metric": metric,
            "control": False,
            **stats.Effect(
                *(8, m := mean.get(verdict, 0.0), m - 0.02, m + 0.02, 0.02, 0.95, 0, 0, 0, 0, 0, verdict, "")
            )._asdict(),
        }
        for metric, verdict in ((stats.Metric.END, end), (stats.Metric.SELECTED, selected))
    ]


@pytest.mark.parametrize(
    ("loop", "other", "verdict"),
    [
        (("identical", "identical"), ("better", "worse"), "not as written"),
        (("identical", "identical"), ("worse", "equivalent"), "does not hold"),
        (("better", "better"), ("worse", "worse"), "holds"),
        (("worse", "worse"), ("better", "better"), "does not hold"),
        (("equivalent", "equivalent"), ("better", "better"), "does not hold"),
        (("better", "undecided"), ("better", "better"), "undecided"),
    ],
)
def test_c18_is_as_refit_found(loop, other, verdict, tmp_path):
    rows = effect("keras_loop", *loop) + effect("keras_recompile", *other)
    recorded(tmp_path / "refit" / "a", rows)
    found = by_results.superior(results.refits(tmp_path))
    assert found.verdict == verdict
    assert "n = 8" in found.evidence
    assert str(tmp_path / "refit" / "a") in found.evidence


def test_c18_depends_where_series_differ_and_waits_where_nothing_is_known(tmp_path):
    for series, end in (("sunspots", "better"), ("weather", "worse")):
        recorded(tmp_path / "refit" / "a" / series, effect("keras_loop", end, end), data=[series])
    refits = results.refits(tmp_path)
    assert by_results.superior(refits).verdict == "depends"
    assert by_results.superior([]).verdict == "not measured yet"


def test_the_newest_run_in_the_questions_setting_is_read(tmp_path):
    rows = effect("keras_loop", "identical", "identical")
    recorded(tmp_path / "refit" / "old", rows, seconds=1)
    newer = recorded(tmp_path / "refit" / "newer", rows, seconds=2, seeds=64, devices=2)
    recorded(tmp_path / "refit" / "quick", rows, seconds=3, epochs=10)
    recorded(tmp_path / "refit" / "wide", rows, seconds=4, hidden=128)
    assert [refit.table.file.parent for refit in results.refits(tmp_path)] == [newer]


def test_what_is_recorded_is_read_where_there_is_no_run(tmp_path):
    refits = results.refits(tmp_path)
    assert [refit.table.series for refit in refits] == ["sunspots", "weather"]
    assert all(refit.table.place.startswith("docs/refit/") for refit in refits)
    found = by_results.superior(refits)
    assert found.verdict == "not as written"
    assert "keras_recompile@10 +1.7 % [+0.7, +2.6] / +0.1 % [−0.2, +0.3]" in found.evidence


def test_the_second_half_of_c2_and_c4_is_that_of_refit(tmp_path):
    rows = effect("keras_loop", "identical", "identical") + effect("drop_count", "better", "better")
    folder = recorded(tmp_path / "refit" / "a", rows + effect("drop_v", "worse", "better"))
    start = {name: claims.Finding("holds", "x") for name in ("C2", "C4")}
    without = by_results.extended(start, results.refits(tmp_path))
    assert without["C2"].evidence.endswith("on both metrics better in 1, worse in 0 of 2 (see C18)")
    assert "are not here" in without["C4"].evidence
    with (folder / "metrics.jsonl").open("w") as file:
        for seed in range(8, 16):
            for arm, val in (("keras_recompile", 0.18 + seed * 1e-4), ("one_fit", 0.2)):
                for epoch in (9, 10):
                    row = {"arm": arm, "seed": seed, "epoch": epoch, "val": val if epoch == 10 else None}
                    file.write(json.dumps(row) + "\n")
    found = by_results.extended(start, results.refits(tmp_path))["C4"].evidence
    d = np.log((0.18 + np.arange(8, 16) * 1e-4) / 0.2)
    assert f"at epoch 10 changes by {stats.percent(d.mean()):+.1f} % [".replace("-", "−") in found
    assert "sunspots (n = 8" in found


def rule(name, memory, verdict, epochs_median=30, patience=10, metric=stats.Metric.END):
    mean = {"better": -0.1, "worse": 0.1}.get(verdict, 0.0)
    values = (name, patience, memory, 8, epochs_median, metric, mean, mean - 0.01, mean + 0.01, verdict)
    return dict(zip(results.RULES, values, strict=True))


LOOP = rule("stopping", "reset", "identical", 100)


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([rule("stopping", "one fit", "better"), LOOP], "not as written"),
        ([rule("stopping", "one fit", "better"), rule("stopping", "reset", "better")], "holds"),
        ([rule("stopping", "one fit", "better", 100), LOOP], "does not hold"),
        ([rule("stopping", "one fit", "worse"), LOOP], "does not hold"),
        ([rule("stopping", "one fit", "undecided"), LOOP], "undecided"),
        ([rule("stopping", "one fit", "better", metric=stats.Metric.SELECTED)], "not measured yet"),
        ([rule("stopping", "kept", "better")], "not measured yet"),
        ([rule("plateau", "one fit", "better")], "not measured yet"),
    ],
)
def test_c10_is_as_monitoring_found(rows, verdict, tmp_path):
    recorded(tmp_path / "monitoring" / "a", rows, "monitoring")
    found = by_results.stopping_helps(results.rules(tmp_path))
    assert found.verdict == verdict
    if verdict == "not as written":
        assert "patience 10 −9.5 % [−10.4, −8.6], 30 epochs (n = 8, " in found.evidence
        assert found.evidence.endswith("handed to each fit of a loop: identical, 100 epochs")


@pytest.mark.parametrize(
    ("once", "verdict"),
    [
        (["better"], "holds"),
        (["better", "worse"], "depends"),
        (["equivalent"], "does not hold"),
        (["undecided", "equivalent"], "undecided"),
        ([], "not measured yet"),
    ],
)
def test_c11_is_as_monitoring_found(once, verdict, tmp_path):
    rows = [rule("plateau", "one fit", v, 100) for v in once] + [rule("plateau", "reset", "identical", 100)]
    recorded(tmp_path / "monitoring" / "a", rows, "monitoring")
    assert by_results.lowering_helps(results.rules(tmp_path)).verdict == verdict


def call(package, arm, steps, ms, share, spread=0.1):
    shares = (share * (1 - spread), share, share * (1 + spread))
    return dict(zip(results.CALLS, (package, arm, steps, ms / 1e3, *shares), strict=True))


DEAR, CHEAP = call("Keras on JAX", "calls", 1, 5.0, 4.0), call("Keras on JAX", "calls", 1000, 5.25, 0.005)


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([DEAR, CHEAP], "depends"),
        ([CHEAP, call("Keras on JAX", "recompile", 1000, 1e3, 1.0)], "depends"),
        ([DEAR, call("Keras on Torch", "calls", 1000, 5.0, 0.02)], "does not hold"),
        ([CHEAP, call("PyTorch", "calls", 1, 1.0, 0.5), call("ours", "calls", 1, 1.0, 0.5)], "holds"),
        ([CHEAP, call("Keras on JAX", "scratch", 1, 1e3, 9.0)], "holds"),
        ([DEAR, call("Keras on JAX", "calls", 64, 5.0, 0.01)], "undecided"),
        ([call("PyTorch", "calls", 1, 1.0, 0.5)], "not measured yet"),
    ],
)
def test_c17_is_as_overhead_found_of_keras(rows, verdict, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "RECORDED", tmp_path / "published")
    recorded(tmp_path / "overhead" / "a", rows, "overhead")
    found = by_results.negligible(results.calls(tmp_path))
    assert found.verdict == verdict
    if rows == [DEAR, CHEAP]:
        said = "Keras on JAX: 5 ms a call, of an epoch 400 % at 1, 0.5 % at 1,000 steps"
        assert found.evidence == f"{said} ({tmp_path / 'overhead' / 'a'})"


def test_where_nothing_was_run_the_published_overhead_is_read(tmp_path):
    found = results.calls(tmp_path)
    assert found[0].table.place.endswith("docs/overhead")
    assert {c.steps for c in found if c.package == "Keras on TensorFlow" and c.arm == "recompile"} == {
        1,
        10,
        64,
        1000,
    }


def test_the_newest_overhead_that_asked_keras_is_read(tmp_path):
    recorded(tmp_path / "overhead" / "old", [CHEAP], "overhead", seconds=1)
    newer = recorded(tmp_path / "overhead" / "newer", [DEAR], "overhead", seconds=2)
    recorded(tmp_path / "overhead" / "quick", [call("ours", "calls", 1, 1.0, 0.5)], "overhead", seconds=3)
    assert {found.table.file.parent for found in results.calls(tmp_path)} == {newer}


def test_a_table_without_a_column_is_refused(tmp_path):
    rows = [{k: v for k, v in rule("stopping", "kept", "better").items() if k != "memory"}]
    folder = recorded(tmp_path / "monitoring" / "a", rows, "monitoring")
    with pytest.raises(ValueError, match=f"{folder / 'rules.csv'}: no column 'memory'"):
        results.rules(tmp_path)


def test_a_command_is_given_only_where_there_is_something_to_run(monkeypatch, tmp_path):
    [plan] = config.decide(config.Config(), {})
    plan = dataclasses.replace(plan, rules=[], calls=[])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert config.command("C17", plan) == "–"
    assert config.command("C18", plan).startswith("python -m experiments.refit --data sunspots weather")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert config.command("C17", plan) == "python -m experiments.overhead"
    assert config.command("C10", plan) == "python -m experiments.monitoring"
