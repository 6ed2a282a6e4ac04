"""The main job's page: its parts in order, the numbers of the tables, and sentences that follow the results."""

import dataclasses
import json

import numpy as np
import pytest
from helpers.pages import Parsed, named

from experiments.harness import arms as ar
from experiments.harness import evidence, outcome, page, report, wording
from experiments.harness.setting import Setting, build
from experiments.harness.source import open_source
from experiments.refit import page as pa
from experiments.refit.sensitivity import beside
from lstm_sched import stats

SETTING = Setting(data=("ar",), window=4, hidden=3, batch=32, epochs=4, seeds=6)
NAMES = ("one_fit", "keras_loop", "keras_recompile", "drop_m@2", "aa", "ulp", "rate_x2")
ENVIRONMENT = {"python": "3.11", "packages": {"jax": "1"}, "git": {"commit": "abc", "changed": True}}
TITLES = [
    "How does an LSTM trained with 4 iterations of fit(epochs=1) compare with a single fit(epochs=4)?",
    "The answer",
    "The picture",
    "Effects",
    "Controls, and what may be concluded",
    "Beside the verdicts",
    "Forecasts that need no network",
    "Every training",
    "The data and its split",
    "What survives a boundary",
    "Configuration and versions",
    "How to get this again",
    "Raw files",
]


def made_up(arms, shift):
    """Results of no training: every arm is one_fit times exp(shift), proved ones bit for bit."""
    labels = ar.labels(arms)
    rng = {seed: np.random.default_rng(seed) for _, seed in labels}
    noise = {seed: g.uniform(0.9, 1.1) for seed, g in rng.items()}
    factor_M = np.array([noise[seed] * np.exp(shift.get(arm, 0.0)) for arm, seed in labels])
    val_ME = factor_M[:, None] * np.array([4.0, 2, 1, 2])[None]
    loss: dict[str, np.ndarray] = {metric: factor_M.copy() for metric in outcome.METRICS}
    results = outcome.Results(
        labels=labels,
        loss=loss,
        windows={metric: x[:, None] * np.ones((1, 40)) for metric, x in loss.items()},
        best_epoch_M=np.full(len(labels), 3),
        diverged_M=np.zeros(len(labels), bool),
        curves={"val": val_ME, "loss": val_ME},
        differing={arm.name: 0 if arm.is_identity else 5 for arm in arms},
        differing_weights={arm.name: 0 for arm in arms},
        weights=100,
        effects={},
        baselines={
            "mean": {"train": 2.0, "val": 2.0, "test": 2.0},
            "AR": {"train": 0.5, "val": 0.5, "test": 0.5},
            "persistence": {"train": 0.5, "val": 0.6, "test": 0.4},
        },
    )
    for arm in arms:
        pair = [
            {m: outcome.log_loss(results, m, at(arm.name)) for m in outcome.METRICS}
            for at in (results.rows, results.paired)
        ]
        results.effects[arm.name] = {
            m: stats.compare(pair[0][m], pair[1][m], 4, results.differing[arm.name] == 0)
            for m in outcome.METRICS
        }
    return results


def arms_of(names, source, setting=SETTING):
    return ar.parse(names, setting, build(setting, source.split))


def made(
    folder, source=None, names=NAMES, shift=None, setting=SETTING, command="python -m experiments.refit"
):
    """The page of a run that never was, parsed, and what it was made of."""
    source = open_source(setting, setting.data[0]) if source is None else source
    arms, aliases = arms_of(names, source, setting)
    results = made_up(
        arms, {"keras_recompile": 0.3, "drop_m@2": -0.3, "rate_x2": 0.5} if shift is None else shift
    )
    for name in ("figure.svg", "results.csv", "extra.csv", "report.html"):
        (folder / name).write_text("<svg/>")
    config = dataclasses.asdict(setting)
    stored = {"experiment": "refit", "command": command, "config": config, "hash": "12ab"}
    stored |= {"data": {"digest": "34cd", "understood": source.understood}, "aliases": aliases}
    stored |= {"alpha": 0.05, "margin": stats.DELTA, "family": 4, "arms": {"one_fit": {"seeds": 6}}}
    found = beside(arms, results, source.period)
    stored = json.loads(json.dumps(stored))
    sections = pa.sections(folder, setting, source, arms, aliases, results, found, stored, ENVIRONMENT)
    page.write(folder, sections)
    return Parsed((folder / "report.html").read_text(encoding="utf-8")), sections, arms, results


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    return folder, *made(folder)


def cells(html):
    parsed = Parsed(html)
    return [text for tag, text in parsed.text if tag in ("th", "td")]


def test_all_sections_are_there_in_order(done):
    _, parsed, sections, *_ = done
    assert [section.title for section in sections] == TITLES == parsed.all("h1") + parsed.all("h2")


def test_the_page_is_one_file_of_moderate_size_that_fetches_nothing(done):
    folder, parsed, *_ = done
    assert len(parsed.attributes("src")) == len(parsed.attributes("alt")) == 3
    assert all(source.startswith("data:image/svg+xml;base64,") for source in parsed.attributes("src"))
    assert not [link for link in parsed.attributes("href") if "http" in link]
    assert "script" not in {tag for tag, _ in parsed.tags}
    assert (folder / "report.html").stat().st_size < 500_000


def test_the_same_results_give_the_same_bytes(done, tmp_path_factory):
    folder = done[0]
    first = (folder / "report.html").read_bytes()
    made(folder)
    assert (folder / "report.html").read_bytes() == first


def test_every_arm_is_in_a_table_as_it_is_printed(done):
    _, _, sections, arms, results = done
    html = {section.title: section.html for section in sections}
    treatments = [arm for arm in arms if not arm.control]
    controls = [arm for arm in arms if arm.control]
    for title, some in (("Effects", treatments), ("Controls, and what may be concluded", controls)):
        expected = [*report.COLUMNS, *(c for row in report.effect_rows(some, results) for c in row)]
        assert cells(html[title]) == expected
    assert "no other" in html["Controls, and what may be concluded"]
    names = {text for text in cells(html["Beside the verdicts"]) if text in NAMES}
    assert names == {"keras_recompile", "drop_m@2"}


def test_the_baselines_and_how_hard_each_part_is(done):
    html = {section.title: section.html for section in done[2]}["Forecasts that need no network"]
    assert cells(html)[4:16] == [
        *("mean", "2.0000", "2.0000", "2.0000"),
        *("AR(4)", "0.5000", "0.5000", "0.5000"),
        *("persistence", "0.5000", "0.6000", "0.4000"),
    ]
    assert "loses to AR(4)" in html
    assert "1.20 on val and 0.80 on test" in html


def test_what_survives_is_marked(done):
    html = {section.title: section.html for section in done[2]}["What survives a boundary"]
    found = cells(html)
    at = found.index("m")
    assert found[at : at + 5] == ["m", "✓", "✓", "✗", "✗"]


def test_the_raw_files_are_those_beside_the_page(done):
    html = {section.title: section.html for section in done[2]}["Raw files"]
    assert Parsed(html).attributes("href") == ["./extra.csv", "./figure.svg", "./results.csv"]


def test_the_commands_name_the_run(tmp_path):
    folder = tmp_path / "a b"
    folder.mkdir()
    parsed, *_ = made(folder, command="python -m experiments.refit --target '<b>'")
    assert parsed.all("code") == [
        "python -m experiments.refit --target '<b>'",
        f"python -m experiments.refit --resume '{folder}'",
    ]
    assert any("commit abc, with changes that were not committed" in text for text in parsed.all("p"))


@pytest.mark.parametrize(
    ("shift", "different", "expected"),
    [
        ({"rate_x2": 0.5}, {}, "this run can see a change of that kind"),
        ({"rate_x2": -0.5}, {}, "this run may be insensitive"),
        ({}, {"aa": 3}, "this run is void"),
        ({}, {}, "It gave the same bits"),
    ],
)
def test_each_control_says_what_came_of_it(shift, different, expected):
    source = open_source(SETTING, "ar")
    arms, _ = arms_of(NAMES, source)
    results = made_up(arms, shift)
    results.differing.update(different)
    for name in different:
        results.effects[name] = results.effects["ulp"]
    assert expected in evidence.controlled([arm for arm in arms if arm.control], results)


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((-0.5, 0.3), "−0.1 % [−0.5, +0.3]"),
        ((12.31, 12.37), "+12.3 % [+12.3, +12.4]"),
        ((-20.04, -19.98), "−20.0 % [−20.0, −20.0]"),
        ((0.02, 0.08), "+0.05 % [+0.02, +0.08]"),
        ((-2e-5, 1e-5), "−5e−06 % [−2e−05, +1e−05]"),
    ],
)
def test_a_change_is_printed_with_the_digits_that_its_size_needs(ends, expected):
    lo, hi = np.log1p(np.array(ends) / 100)
    effect = stats.compare([0.0] * 6, [0.0] * 6, 4)._replace(mean=(lo + hi) / 2, lo=lo, hi=hi)
    assert wording.change(effect) == expected


NEVER, PARTS = (f"validation loss {w} from one_fit's by more than 0.1 %" for w in ("never parts", "parts"))
TINY = "chaos floor: rms change 1e−06 % after the last epoch, 1e−06 % at its best epoch"


@pytest.mark.parametrize(
    ("shift", "apart_E", "diverged", "expected", "floor"),
    [
        (0, (0, 0, 0, 0), (0, 0), f"moves no test loss; {NEVER} in 4 epochs", "–"),
        (1e-8, (0, 9e-4, -9e-4, 0), (0, 0), f"{TINY}; {NEVER} in 4 epochs", "1"),
        (1e-8, (0, 9e-4, -2e-3, 0), (0, 0), f"{TINY}; {PARTS} at epoch 3", "1"),
        (0, (0, 0, 0, 0), (2, 1), f"diverged: 2 of 4 runs, and 1 of one_fit; {NEVER} in 4 epochs", "–"),
    ],
)
def test_one_weight_moved_says_how_far_and_when_its_runs_part(shift, apart_E, diverged, expected, floor):
    arms, _ = arms_of(("one_fit", "ulp"), open_source(SETTING, "ar"))
    results = made_up(arms, {"ulp": shift})
    results.curves["val"][results.rows("ulp")] *= np.exp([apart_E])
    effects = results.effects["ulp"]
    effects[stats.Metric.END] = effects[stats.Metric.END]._replace(
        diverged=diverged[0], diverged_ref=diverged[1]
    )
    assert wording.verdict(arms[1], results) == f"no verdict; {expected}"
    found = beside(arms, results, 1)["ulp", stats.Metric.END]
    assert evidence._number(found.floor) == floor


def test_one_weight_moved_has_no_interval_where_only_its_twin_diverged():
    arms, _ = arms_of(("one_fit", "ulp"), open_source(SETTING, "ar"))
    results = made_up(arms, {"ulp": 1e-8})
    assert np.isfinite(outcome._effect(results, arms[1], stats.Metric.END, 1).mean)
    results.diverged_M[results.rows("one_fit")[0]] = True
    effect = outcome._effect(results, arms[1], stats.Metric.END, 1)
    assert (effect.diverged, effect.diverged_ref) == (0, 1)
    assert np.isnan([effect.mean, effect.lo, effect.hi]).all()


def test_a_run_without_controls_or_of_one_arm_says_so(tmp_path):
    parsed, *_ = made(tmp_path, names=("one_fit", "keras_loop"))
    said = " ".join(parsed.all("p"))
    assert "This run has no controls" in said
    assert "No arm can differ" in said


def test_two_names_of_one_arm_are_told(tmp_path):
    parsed, *_ = made(tmp_path, names=("one_fit", "drop_count", "adam_rel"))
    assert any(text.startswith("adam_rel drops what drop_count drops") for text in parsed.all("p"))


def test_samples_have_no_time_to_draw(tmp_path):
    parsed, *_ = made(tmp_path, setting=dataclasses.replace(SETTING, data=("adding",)))
    assert len(parsed.attributes("src")) == 2
    assert any("there is no time to draw" in text for text in parsed.all("p"))


def test_divergence_is_shown_and_stops_no_page(tmp_path):
    source = open_source(SETTING, "ar")
    arms, _ = arms_of(("one_fit", "keras_recompile"), source)
    results = made_up(arms, {})
    results.curves["val"][results.rows("keras_recompile")] = np.nan
    results.diverged_M[:] = True
    assert "a thin line a seed" in evidence.every_training(arms, results)


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '"quote" & $x_1$', "日本 $\\frac$"])
def test_names_from_the_data_are_text_on_the_whole_page(tmp_path, name):
    parsed, *_ = made(tmp_path, source=named((name, "b"), name))
    assert "script" not in {tag for tag, _ in parsed.tags}
    assert any(text.startswith(f"{name}, {name}. A window is 4 rows") for text in parsed.all("p"))
    assert f"The target, {name}, in its own unit." in " ".join(parsed.all("figcaption"))
