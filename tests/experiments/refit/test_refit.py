"""Refit as a user runs it, on series small enough to wait for."""

import contextlib
import csv
import dataclasses
import io
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers import refused
from helpers.pages import Parsed

from experiments.harness import arms as ar
from experiments.harness import experiment, outcome, run_folder
from experiments.harness.experiment import carry_out
from experiments.harness.setting import build
from experiments.harness.source import open_source
from experiments.refit import run as refit
from experiments.refit.config import Config, decide
from lstm_sched import stats
from lstm_sched.presets import ALIASES, POLICIES

ROOT = Path(__file__).parents[3]
SMALL = Config(data=("ar",), window=4, hidden=4, batch=256, epochs=4, seeds=6, lr=0.01)
END, SELECTED = stats.Metric
ALL_FILES = {
    *("config.json", "env.json", "status.json", "metrics.jsonl", "results.csv", "effects.csv", "table.md"),
    *("figure.png", "figure.svg", "report.html", "checkpoint"),
}


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def metrics_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def main(config, out):
    """The results of a run on one series."""
    (results,) = refit.main(dataclasses.replace(config, out=str(out)))
    return results


class _Collect(logging.Handler):
    def __init__(self, messages):
        super().__init__()
        self.messages = messages

    def emit(self, record):
        self.messages.append(record.getMessage())


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """One whole small run: (folder, results, what it printed, how often the training was compiled)."""
    folder = tmp_path_factory.mktemp("refit") / "run"
    messages, printed = [], folder.parent / "printed.txt"
    handler, logger = _Collect(messages), logging.getLogger("jax")
    logger.addHandler(handler)
    with jax.log_compiles(), printed.open("w") as out, contextlib.redirect_stdout(out):
        results = main(SMALL, folder)
    logger.removeHandler(handler)
    compiled = sum(m.startswith("Finished XLA compilation of jit(run_all)") for m in messages)
    return folder, results, printed.read_text(), compiled


def test_one_compilation_serves_all_arms(done):
    assert done[3] == 1


def test_the_folder_holds_what_it_should(done):
    folder, results, _, _ = done
    assert {p.name for p in folder.iterdir()} == ALL_FILES
    config = run_folder.read_json(folder / "config.json")
    assert (config["config"]["hidden"], config["family"], config["margin"]) == (4, 4, stats.DELTA)
    assert config["arms"]["one_fit"] == {"seeds": 6, "every": 0, "control": False}
    status = run_folder.read_status(folder)
    assert (status["state"], status["epochs"], status["of"]) == ("finished", 4, 4)
    assert {"seconds_training", "seconds_saving"} <= set(status)
    assert run_folder.read_json(folder / "env.json")["packages"]["jax"] == jax.__version__
    table = rows_of(folder / "results.csv")
    assert [(row["arm"], int(row["seed"])) for row in table] == results.labels
    assert {row["config"] for row in table} == {config["hash"]}
    assert min(int(row["seed"]) for row in table) == 8
    assert len(metrics_of(folder)) == len(results.labels) * SMALL.epochs
    assert (folder / "figure.png").stat().st_size > 10_000


def test_the_raw_curves_give_the_results(done):
    folder = done[0]
    metrics = metrics_of(folder)
    for row in rows_of(folder / "results.csv"):
        val = {
            m["epoch"]: m["val"] for m in metrics if (m["arm"], str(m["seed"])) == (row["arm"], row["seed"])
        }
        assert float(row["val_selected"]) == min(val.values()) == val[int(row["best_epoch"])]
        assert float(row["val_end"]) == val[SMALL.epochs]
    boundaries = {(m["arm"], m["epoch"]) for m in metrics if m["boundary"]}
    assert boundaries == {
        (a, e) for a in ("keras_loop", "keras_recompile", "drop_moments") for e in (2, 3, 4)
    }


def test_what_drops_nothing_is_identical_and_what_drops_something_is_not(done):
    _, results, _, _ = done
    same = {arm for arm, count in results.differing.items() if count == 0}
    assert same == {"one_fit", "keras_loop", "aa"}
    for arm in ("keras_loop", "aa"):
        assert results.effects[arm][END].verdict == "identical"
    assert results.differing_weights["ulp"] > 0
    assert results.differing_weights["keras_recompile"] > results.weights


def test_effects_are_paired_by_seed_and_come_from_results_csv(done):
    folder, _, _, _ = done
    loss = {(r["arm"], r["seed"]): float(r["test_end"]) for r in rows_of(folder / "results.csv")}
    effects = {(r["arm"], r["metric"]): r for r in rows_of(folder / "effects.csv")}
    row = effects["keras_recompile", END]
    d = [np.log(loss["keras_recompile", str(s)]) - np.log(loss["one_fit", str(s)]) for s in range(8, 14)]
    assert float(row["mean"]) == pytest.approx(np.mean(d))
    assert float(row["level"]) == pytest.approx(1 - 0.05 / 4)


def test_the_epoch_at_which_an_arm_parts_is_that_of_the_raw_curves(done):
    folder = done[0]
    val = {(m["arm"], m["seed"], m["epoch"]): m["val"] for m in metrics_of(folder)}
    parts_at = {r["arm"]: r["parts_at"] for r in rows_of(folder / "effects.csv")}
    for arm, epoch in parts_at.items():
        parted = [""]
        for e in range(SMALL.epochs, 0, -1):
            d = [np.log(val[arm, s, e] / val["one_fit", s, e]) for a, s, at in val if (a, at) == (arm, e)]
            if np.sqrt(np.mean(np.square(d))) > 1e-3:
                parted.append(str(e))
        assert epoch == parted[-1], arm
    assert (parts_at["aa"], parts_at["keras_recompile"], parts_at["rate_x2"]) == ("", "2", "1")


def test_the_terminal_shows_data_progress_answer_and_tables_in_this_order(done):
    folder, results, printed, _ = done
    words = (
        *("windows", "compiling", "expected:", "epoch 4/4"),
        f"0 of {2 * results.weights:,} weights differ by a bit between one_fit and keras_loop",
        *("Change of test loss relative to one_fit", "mse of the target", "drops at a boundary"),
        str(folder / "report.html"),
    )
    places = [printed.index(text) for text in words]
    assert places == sorted(places)


def test_a_finished_run_is_reported_again_and_nothing_is_trained(done, capsys):
    folder, results, _, _ = done
    before = {name: (folder / name).read_bytes() for name in ("results.csv", "effects.csv", "report.html")}
    (folder / "report.html").unlink()
    (again,) = refit.main(Config(resume=str(folder)))
    assert {"resumed.jsonl", *ALL_FILES} == {path.name for path in folder.iterdir()}
    for name in ("results.csv", "effects.csv"):
        assert (folder / name).read_bytes() == before[name]
    assert again.differing == results.differing
    printed = capsys.readouterr().out
    assert "nothing is trained" in printed and "expected:" not in printed
    assert f"0 of {2 * results.weights:,} weights" in printed


LONG = dataclasses.replace(SMALL, epochs=200, seeds=2, arms=("one_fit", "keras_recompile"), devices=1)
LONG_FLAGS = "--data ar --window 4 --hidden 4 --batch 256 --epochs 200 --seeds 2 --lr 0.01 --devices 1"


def test_a_signal_ends_at_the_next_chunk_and_the_resumed_run_is_the_uninterrupted_one(tmp_path, capsys):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    main(LONG, whole)
    flags = [*LONG_FLAGS.split(), "--arms", *LONG.arms, "--out", str(cut)]
    epochs = [0]
    for signum, code in ((signal.SIGTERM, 75), (signal.SIGINT, 130)):
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "experiments.refit", *flags],
            cwd=ROOT,
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch"):
                process.send_signal(signum)
                break
        _, errors = process.communicate(timeout=120)
        assert process.returncode == code
        flags = ["--resume", str(cut)]
        assert " ".join(flags) in errors
        status = run_folder.read_status(cut)
        assert status["state"] == "interrupted"
        epochs.append(status["epochs"])
    assert sorted(set(epochs)) == epochs and epochs[-1] < LONG.epochs
    refit.main(Config(resume=str(cut)))
    capsys.readouterr()
    for name in ("results.csv", "effects.csv"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes()
    assert sorted(map(str, metrics_of(cut))) == sorted(map(str, metrics_of(whole)))


def test_divergence_is_recorded_and_changes_no_other_member(done, tmp_path, capsys):
    good = done[1]
    (plan,) = decide(SMALL, {})
    wild = tuple(
        dataclasses.replace(arm, rate_factor=1e6 / SMALL.lr) if arm.name == "rate_x2" else arm
        for arm in plan.arms
    )
    wild_plan = dataclasses.replace(plan, arms=wild)
    question = dataclasses.replace(refit.EXPERIMENT, decide=lambda config, stored: [wild_plan])
    (measured,) = carry_out(question, dataclasses.replace(SMALL, out=str(tmp_path / "bad")))
    capsys.readouterr()
    bad, lost = measured.same, measured.same.rows("rate_x2")
    others = np.setdiff1d(np.arange(len(bad.labels)), lost)
    assert bad.diverged_M[lost].all() and not bad.diverged_M[others].any()
    for metric in outcome.METRICS:
        np.testing.assert_array_equal(bad.loss[metric][others], good.loss[metric][others])
    for curve in ("loss", "val"):
        np.testing.assert_array_equal(bad.curves[curve][others], good.curves[curve][others])
    effect = bad.effects["rate_x2"][END]
    assert (effect.diverged, effect.diverged_ref, effect.n) == (6, 0, 6)


def test_a_run_whose_identity_does_not_hold_is_void_after_it_was_written(tmp_path, capsys):
    def decide_wrongly(config, stored):
        (plan,) = decide(config, stored)
        arms = [dataclasses.replace(arm, must_equal="one_fit") for arm in plan.arms]
        return [dataclasses.replace(plan, arms=tuple(arms))]

    question = dataclasses.replace(refit.EXPERIMENT, decide=decide_wrongly)
    config = dataclasses.replace(SMALL, arms=("one_fit", "rate_x2"), seeds=2, epochs=2)
    with pytest.raises(RuntimeError, match="void: rate_x2"):
        carry_out(question, dataclasses.replace(config, out=str(tmp_path / "run")))
    assert "void" in (tmp_path / "run" / "table.md").read_text()


def test_several_series_have_folders_of_their_own_and_are_pooled(tmp_path, capsys):
    config = dataclasses.replace(
        SMALL, data=("ar", "sines"), arms=("one_fit", "keras_recompile"), epochs=2, out=str(tmp_path / "run")
    )
    results = refit.main(config)
    printed = capsys.readouterr().out
    answers = [printed.index(f"{tmp_path / 'run' / name / 'report.html'}") for name in config.data]
    assert answers == sorted(answers) and answers[-1] < printed.index("over series like these")
    rows = rows_of(tmp_path / "run" / "pooled.csv")
    assert [(row["arm"], row["series"]) for row in rows] == [("keras_recompile", "ar sines")] * 2
    means = [of_series.effects["keras_recompile"][END].mean for of_series in results]
    assert float(rows[0]["mean"]) == pytest.approx(np.mean(means))
    page = Parsed((tmp_path / "run" / "report.html").read_text(encoding="utf-8"))
    assert {"./ar", "./sines", "./pooled.csv"} <= set(page.attributes("href"))
    assert run_folder.read_json(tmp_path / "run" / "config.json")["runs"] == ["ar", "sines"]
    (tmp_path / "run" / "pooled.csv").unlink()
    refit.main(Config(resume=str(tmp_path / "run")))
    assert rows_of(tmp_path / "run" / "pooled.csv") == rows
    assert "expected:" not in capsys.readouterr().out


BAD = {
    "arms: unknown 'keras_lop' (did you mean keras_loop": ["--arms", "one_fit", "keras_lop"],
    "arms: keras_loop; one_fit must be among them": ["--arms", "keras_loop"],
    "is given twice": ["--arms", "one_fit", "ulp", "ulp"],
    "a whole number of epochs after @": ["--arms", "one_fit", "keras_recompile@x"],
    "keras_recompile@7: 7; allowed: a divisor of epochs 100": ["--arms", "one_fit", "keras_recompile@7"],
    "data: unknown 'sunspot' (did you mean sunspots?)": ["--data", "sunspot"],
    "optimizer: unknown 'adm' (did you mean adam": ["--optimizer", "adm"],
    "schedule: unknown 'cosin' (did you mean cosine": ["--schedule", "cosin"],
    "loss: unknown 'rmse' (did you mean mse": ["--loss", "rmse"],
    "init: unknown 'torch'": ["--init", "torch"],
    "layout: unknown 'pmap' (did you mean": ["--layout", "pmap"],
    "hidden: 0; allowed: 1 or more": ["--hidden", "0"],
    "layers: -1; allowed: 1 or more": ["--layers", "-1"],
    "window: 0; allowed: 1 or more": ["--window", "0"],
    "horizon: 0; allowed: 1 or more": ["--horizon", "0"],
    "seeds: 0; allowed: 1 or more": ["--seeds", "0"],
    "epochs: 0; allowed: 1 or more": ["--epochs", "0"],
    "every: 0; allowed: 1 or more": ["--every", "0"],
    "every: 3; allowed: a divisor of epochs 10: 1, 2, 5, 10": ["--epochs", "10", "--every", "3"],
    "lr: 0.0; allowed: above 0 and finite": ["--lr", "0"],
    "lr: -0.1; allowed: above 0 and finite": ["--lr", "-0.1"],
    "lr: nan; allowed: above 0 and finite": ["--lr", "nan"],
    "lr: inf; allowed: above 0 and finite": ["--lr", "inf"],
    "weight_decay: 0.1; keras_adam has none": ["--weight-decay", "0.1"],
    "save_every: -1.0; allowed: 0 (each chunk of epochs) or more": ["--save-every", "-1"],
    "dropout: 1.0; allowed: 0 to below 1": ["--dropout", "1"],
    "batch: 0; allowed: 1 or more": ["--batch", "0"],
    "batch: 5000; allowed: 1 to 2164, the number of training windows": ["--batch", "5000"],
    "devices: 1000; allowed: 1 to": ["--devices", "1000"],
    "members_per_chunk: 0; allowed: 1 or more": ["--members-per-chunk", "0"],
    "split: (0.9, 0.5); allowed": ["--split", "0.9", "0.5"],
    "cycles: 4; allowed: 1 to 2, the number of steps": [
        *("--schedule", "sgdr", "--epochs", "1", "--batch", "2000"),
    ],
    "part 'train' holds no window": ["--window", "2188"],
    "--seeds": ["--seeds", "many"],
    "--hiden": ["--hiden", "3"],
}


def test_a_bad_data_file_is_refused_before_any_compilation(request, tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("day,level\n2020-01-01,1\n2020-01-02,high\n")
    flags = ["--data", str(path), "--target", "level", "--time", "day"]
    refused.before_any_compilation(refit, "refit", flags, "high", tmp_path / "out", request)


@pytest.mark.parametrize("message", BAD)
def test_bad_flags_are_refused_before_any_compilation(message, request, tmp_path):
    refused.before_any_compilation(refit, "refit", BAD[message], message, tmp_path / "out", request)


def test_a_folder_in_use_is_not_written_to(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="is in use; allowed: a new or empty folder"):
        main(SMALL, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_resuming_reads_the_configuration_and_takes_no_other(done, tmp_path):
    with pytest.raises(ValueError, match="leave out hidden, lr"):
        experiment.prepare(refit.EXPERIMENT, Config(resume=str(done[0]), hidden=3, lr=0.1))
    with pytest.raises(FileNotFoundError):
        experiment.prepare(refit.EXPERIMENT, Config(resume=str(tmp_path)))


@pytest.mark.parametrize("field", ["data", "arms", "features"])
def test_text_where_names_belong_is_a_type_error(field):
    with pytest.raises(TypeError, match=f"{field}: 'ar' is text; allowed: a sequence of names"):
        decide(dataclasses.replace(SMALL, **{field: "ar"}), {})


def test_quick_all_and_full_change_only_what_was_not_asked_for():
    (plan,) = decide(dataclasses.replace(SMALL, quick=True, epochs=20, seeds=16), {})
    assert (plan.config.epochs, plan.config.seeds) == (20, 6)
    (plan,) = decide(Config(data=("ar",), arms=("all",)), {})
    assert plan.config.seeds == 32
    (plan,) = decide(dataclasses.replace(SMALL, full=True), {})
    assert {arm.name: arm.rate_factor for arm in plan.arms if arm.rate_factor != 1} == ar.RULER


def built_from(config):
    return build(config, open_source(config, config.data[0]).split)


@pytest.fixture(scope="module")
def built():
    return built_from(SMALL)


@pytest.mark.parametrize(
    ("change", "name", "is_identity"),
    [
        ({}, "keras_loop", True),
        ({}, "keras_recompile", False),
        ({"optimizer": "keras_sgd"}, "keras_recompile", True),  # no state to drop
        ({"optimizer": "keras_sgd", "schedule": "cosine"}, "keras_recompile", False),  # the schedule's clock
        ({}, "keras_recompile@4", True),  # no boundary in the run
        ({}, "one_fit@1", True),
        ({}, "weights_only", False),
    ],
)
def test_an_arm_that_drops_nothing_that_is_read_must_be_one_fit(change, name, is_identity, built):
    config = dataclasses.replace(SMALL, **change)
    arms, _ = ar.parse(("one_fit", name), config, built_from(config) if change else built)
    assert (arms[1].is_identity, arms[1].seeds) == (is_identity, 2 if is_identity else 6)


def test_two_arms_that_drop_the_same_are_one_arm_with_two_names(built):
    arms, aliases = ar.parse(("one_fit", "drop_count", "adam_rel", "drop_m"), SMALL, built)
    assert [arm.name for arm in arms] == ["one_fit", "drop_count", "drop_m"]
    assert aliases == {"adam_rel": "drop_count"}


def test_all_arms_are_every_policy_and_control_but_those_that_cannot_be_told_apart(built):
    arms, aliases = ar.parse(("all",), SMALL, built)
    names = [arm.name for arm in arms]
    assert names[0] == "one_fit"
    assert {"keras_loop", "aa", "ulp", *ar.RULER} <= set(names)
    assert set(names) | set(aliases) == {*POLICIES, *ALIASES, *ar.CONTROLS}
    nothing = ("keras_initial_epoch", "keras_reload", "keras_reset_states", "skorch_partial_fit")
    optimizer = ("keras_reload_weights", "lightning_new_trainer", "optimizer_in_train")
    assert aliases == {
        **dict.fromkeys((*nothing, "composer_fit", "composer_reset_time"), "one_fit"),
        **dict.fromkeys(optimizer, "keras_recompile"),
        **dict.fromkeys(("hugging_face_train", "lightning_ckpt_path", "sklearn_partial_fit"), "keras_reseed"),
        "adam_rel": "drop_count",
        "keras_reload_h5": "drop_moments",
        "sklearn_warm_start": "weights_only",
        "v_from_gradient": "drop_v",
    }
    assert {arm.name: arm.seeds for arm in arms}["keras_loop"] == 2
    plain = dataclasses.replace(SMALL, optimizer="keras_sgd")
    arms, aliases = ar.parse(("all",), plain, built_from(plain))
    same = {*nothing, *optimizer, "keras_recompile", "keras_reload_h5", "adam_rel", "v_from_gradient"}
    same |= {name for name in POLICIES if name.startswith(("drop_", "composer_"))}
    assert {name for name, arm in aliases.items() if arm == "one_fit"} == same
    with pytest.raises(ValueError, match="all stands alone"):
        ar.parse(("one_fit", "all"), SMALL, built)


def test_members_of_a_seed_share_their_first_weights_and_one_ulp_moves_one_of_them(built):
    arms, _ = ar.parse(("one_fit", "keras_recompile", "ulp"), SMALL, built)
    members = dict(zip(ar.labels(arms), ar.members(arms, SMALL, built), strict=True))
    origin, again, moved = (members[name, 9].origin for name in ("one_fit", "keras_recompile", "ulp"))
    assert ar.differing(origin, again) == 0
    assert ar.differing(origin, moved) == 1
    assert ar.differing(origin, members["one_fit", 8].origin) > 10


def test_metrics_after_the_checkpoint_are_forgotten(tmp_path):
    lines = [json.dumps({"arm": "a", "seed": 8, "epoch": e}) for e in (1, 2, 3)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + '\n{"arm": "a", "se')
    run_folder.cut_metrics(tmp_path, 2)
    assert (tmp_path / "metrics.jsonl").read_text() == "\n".join(lines[:2]) + "\n"


def test_missing_rows_are_an_error_and_not_a_number(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(ValueError, match="3 rows are missing"):
        run_folder.read_curves(tmp_path, [("a", 8)], 3)


@pytest.mark.parametrize("data", ["stocks", "adding"])  # several stretches; ready-made samples
def test_what_drops_nothing_is_identical_on_every_kind_of_series(data, tmp_path):
    config = Config(
        data=(data,), window=6, hidden=3, batch=512, epochs=2, seeds=1, arms=("one_fit", "keras_loop")
    )
    with contextlib.redirect_stdout(io.StringIO()):
        results = main(config, tmp_path / "r")
    assert results.differing == {"one_fit": 0, "keras_loop": 0}
    assert results.effects["keras_loop"][SELECTED].verdict == "identical"


@pytest.mark.parametrize(("layout", "mapped"), [("auto", True), ("map", True), ("vmap", False)])
def test_the_layout_decides_whether_members_are_mapped(layout, mapped):
    (plan,) = decide(dataclasses.replace(SMALL, layout=layout), {})
    assert plan.built.layout.mapped is mapped
