"""The document of refit: its sections in order, the numbers of the tables, and sentences that follow the results."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from helpers.pages import Parsed, named

from experiments.harness import arms as ar
from experiments.harness import evidence, experiment, html_page, outcome, wording
from experiments.harness.document import Figure, Origin
from experiments.harness.setting import Setting
from experiments.refit import report, sensitivity
from experiments.refit.config import Config, decide
from lstm_sched import stats

SETTING = Setting(data=("ar",), window=4, hidden=3, batch=32, epochs=4, seeds=6)
NAMES = ("one_fit", "keras_loop", "keras_recompile", "drop_m@2", "aa", "ulp", "rate_x2")
ENVIRONMENT = {"python": "3.11", "packages": {"jax": "1"}, "git": {"commit": "abc", "changed": True}}
TITLES = [
    "How does an LSTM trained with 4 iterations of fit(epochs=1) compare with a single fit(epochs=4)?",
    "What is compared",
    "The picture",
    "Effects",
    "Controls, and what may be concluded",
    "Sensitivity checks",
    "Forecasts that need no network",
    "Every training",
    "The data and its split",
    "What survives a boundary",
    "Configuration and versions",
    "How to get this again",
    "Raw files",
]


def made_up(arms, shift):
    """Results of no training: every arm is one_fit times exp(shift), identities bit for bit."""
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
    return outcome.with_effects(results, arms)


def planned(names=NAMES, setting=SETTING, source=None):
    """A plan with these arms, on data that may be given."""
    (plan,) = decide(Config(**vars(setting), arms=names), {})
    return plan if source is None else dataclasses.replace(plan, source=source)


SHIFT = {"keras_recompile": 0.3, "drop_m@2": -0.3, "rate_x2": 0.5}


def made(names=NAMES, shift=None, setting=SETTING, source=None):
    """The document of a run that never was, and what it was made of."""
    plan = planned(names, setting, source)
    results = made_up(plan.arms, SHIFT if shift is None else shift)
    return report.document(plan, results), plan, results


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A document written to a folder: the folder, its page, the document, and what it was made of."""
    folder = tmp_path_factory.mktemp("a b")
    (folder / "extra.csv").write_text("")
    made_of = made()
    written(folder, made_of[0])
    return folder, Parsed((folder / "report.html").read_text(encoding="utf-8")), *made_of


def written(folder, document_, command="python -m experiments.refit --target '<b>'"):
    stored = {"experiment": "refit", "command": command, "config": {}, "hash": "12ab"}
    experiment.write(folder, document_, Origin(stored=stored, environment=ENVIRONMENT, resume=folder))


def section(document_, title):
    """The section of that title, as HTML, parsed; pictures left out."""
    (chosen,) = (part for part in document_.sections if part.title == title)
    blocks = [block for block in chosen.blocks if not isinstance(block, Figure)]
    return Parsed("".join(html_page.in_html(block, Path()) for block in blocks))


def cells(parsed):
    return [text for tag, text in parsed.text if tag in ("th", "td")]


def test_all_sections_are_there_in_order_and_the_answer_comes_first(done):
    _, parsed, _, *_ = done
    assert parsed.all("h1") + parsed.all("h2") == TITLES
    (lead,) = [attrs for tag, attrs in parsed.tags if attrs.get("class") == "lead"]
    assert lead and parsed.tags.index(("p", lead)) < [tag for tag, _ in parsed.tags].index("nav")


def test_the_page_is_one_file_of_moderate_size_that_fetches_nothing(done):
    folder, parsed, *_ = done
    assert len(parsed.attributes("src")) == len(parsed.attributes("alt")) == 3
    assert all(source.startswith("data:image/svg+xml;base64,") for source in parsed.attributes("src"))
    assert not [link for link in parsed.attributes("href") if "http" in link]
    assert "script" not in {tag for tag, _ in parsed.tags}
    assert (folder / "report.html").stat().st_size < 500_000


def test_the_same_results_give_the_same_bytes(done):
    folder = done[0]
    first = {name: (folder / name).read_bytes() for name in ("report.html", "figure.svg", "effects.csv")}
    written(folder, made()[0])
    assert {name: (folder / name).read_bytes() for name in first} == first


def test_every_arm_is_in_a_table_with_its_changes_and_its_verdict(done):
    _, _, document_, plan, results = done
    for title, control in (("Effects", False), ("Controls, and what may be concluded", True)):
        arms = [arm for arm in plan.arms if arm.control is control and arm.name != ar.REFERENCE]
        expected = [*evidence.COLUMNS]
        for arm in arms:
            changes = [wording.change(results.effects[arm.name][metric]) for metric in outcome.METRICS]
            row = (arm.name, wording.drops(arm), arm.seeds, *changes, wording.verdict(arm, results))
            expected += map(str, row)
        assert cells(section(document_, title)) == expected
    names = {text for text in cells(section(document_, "Sensitivity checks")) if text in NAMES}
    assert names == {"keras_recompile", "drop_m@2"}


def test_the_baselines_and_how_hard_each_part_is(done):
    _, _, document_, _, results = done
    parsed = section(document_, "Forecasts that need no network")
    rows = results.rows("one_fit")
    end, best = (f"{x:.4f}" for x in results.curves["val"][rows].mean(0)[[3, 2]])
    test = f"{results.loss[stats.Metric.END][rows].mean():.4f}"
    assert cells(parsed)[4:] == [
        *("mean", "2.0000", "2.0000", "2.0000"),
        *("AR(4)", "0.5000", "0.5000", "0.5000"),
        *("persistence", "0.5000", "0.6000", "0.4000"),
        *("one_fit after the last epoch", end, end, test),
        *("one_fit at its best epoch", best, best, test),
    ]
    text = " ".join(parsed.all("p"))
    assert "loses to AR(4)" in text
    assert "1.20 on val and 0.80 on test" in text


def test_what_each_arm_drops_is_listed(done):
    rows = dict(zip(*[iter(cells(section(done[2], "What survives a boundary"))[2:])] * 2, strict=True))
    assert (rows["one_fit"], rows["drop_m@2"]) == ("nothing", "m")
    assert {"m", "v", "count", "step"} <= set(rows["keras_recompile"].split(", "))


def test_the_files_next_to_the_page_and_the_commands_are_named(done):
    folder, parsed, *_ = done
    links = [link for link in parsed.attributes("href") if link.startswith("./")]
    names = ("effects.csv", "extra.csv", "figure.png", "figure.svg", "results.csv", "table.md")
    assert links == [f"./{name}" for name in names]
    assert parsed.all("code") == [
        "python -m experiments.refit --target '<b>'",
        f"python -m experiments.refit --resume '{folder}'",
    ]
    assert any("commit abc, with changes that were not committed" in text for text in parsed.all("p"))


@pytest.mark.parametrize(
    ("shift", "different", "expected"),
    [
        ({"rate_x2": 0.5}, {}, "this run can see a change of that kind"),
        ({"rate_x2": -0.5}, {}, "INSENSITIVE"),
        ({}, {"aa": 3}, "this run is void"),
        ({}, {}, "It gave the same bits"),
    ],
)
def test_each_control_is_judged(shift, different, expected, done):
    arms = done[3].arms
    results = made_up(arms, shift)
    differing = {**results.differing, **different}
    effects = {**results.effects, **dict.fromkeys(different, results.effects["ulp"])}
    results = dataclasses.replace(results, differing=differing, effects=effects)
    assert expected in " ".join(map(str, evidence.controls(arms, results).blocks))


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
        (0, (0, 0, 0, 0), (0, 0), f"moves no test loss; {NEVER} in 4 epochs", np.nan),
        (1e-8, (0, 9e-4, -9e-4, 0), (0, 0), f"{TINY}; {NEVER} in 4 epochs", 1),
        (1e-8, (0, 9e-4, -2e-3, 0), (0, 0), f"{TINY}; {PARTS} at epoch 3", 1),
        (0, (0, 0, 0, 0), (2, 1), f"diverged: 2 of 4 runs, and 1 of one_fit; {NEVER} in 4 epochs", np.nan),
    ],
)
def test_one_weight_moved_shows_how_far_and_when_its_runs_part(
    shift, apart_E, diverged, expected, floor, done
):
    arms = [arm for arm in done[3].arms if arm.name in ("one_fit", "ulp")]
    results = made_up(arms, {"ulp": shift})
    results.curves["val"][results.rows("ulp")] *= np.exp([apart_E])
    end = results.effects["ulp"][stats.Metric.END]._replace(diverged=diverged[0], diverged_ref=diverged[1])
    effects = {**results.effects, "ulp": {**results.effects["ulp"], stats.Metric.END: end}}
    results = dataclasses.replace(results, effects=effects)
    assert wording.verdict(arms[1], results) == f"no verdict; {expected}"
    made_floor = sensitivity.check(arms, results, 1)["ulp", stats.Metric.END].floor
    np.testing.assert_equal(round(made_floor, 6) if np.isfinite(made_floor) else made_floor, floor)


def test_one_weight_moved_has_no_interval_where_only_the_reference_diverged(done):
    arms = [arm for arm in done[3].arms if arm.name in ("one_fit", "ulp")]
    results = made_up(arms, {"ulp": 1e-8})
    assert np.isfinite(results.effects["ulp"][stats.Metric.END].mean)
    results.diverged_M[results.rows("one_fit")[0]] = True
    effect = outcome.with_effects(results, arms).effects["ulp"][stats.Metric.END]
    assert (effect.diverged, effect.diverged_ref) == (0, 1)
    assert np.isnan([effect.mean, effect.lo, effect.hi]).all()


@pytest.mark.parametrize(
    ("names", "title", "expected"),
    [
        (("one_fit", "keras_loop"), "Controls, and what may be concluded", "no controls"),
        (("one_fit", "keras_loop"), "Sensitivity checks", "No arm can differ"),
        (("one_fit", "drop_count", "adam_rel"), "Effects", "adam_rel drops what drop_count drops"),
    ],
)
def test_what_a_reader_must_know_of_the_arms_is_said(names, title, expected):
    assert expected in " ".join(section(made(names)[0], title).all("p"))


def test_samples_have_no_time_to_draw():
    document_, *_ = made(setting=dataclasses.replace(SETTING, data=("adding",)))
    (data,) = (part for part in document_.sections if part.title == "The data and its split")
    assert not [block for block in data.blocks if isinstance(block, Figure)]
    assert "no time to draw" in str(data.blocks[0])


def test_divergence_stops_no_document(tmp_path, done):
    plan = dataclasses.replace(done[3], arms=done[3].arms[:3])
    results = made_up(plan.arms, {})
    results.curves["val"][results.rows("keras_recompile")] = np.nan
    results.diverged_M[:] = True
    written(tmp_path, report.document(plan, outcome.with_effects(results, plan.arms)))
    assert "diverged" in (tmp_path / "table.md").read_text()


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '"quote" & $x_1$', "日本 $\\frac$"])
def test_names_from_the_data_are_text_on_the_whole_page(tmp_path, name):
    written(tmp_path, made(source=named((name, "b"), name))[0])
    parsed = Parsed((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "script" not in {tag for tag, _ in parsed.tags}
    assert any(text.startswith(f"{name}, {name}. A window is 4 rows") for text in parsed.all("p"))
    assert f"The target, {name}, in its own unit." in " ".join(parsed.all("figcaption"))
