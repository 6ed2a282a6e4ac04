"""What a sweep prints and reports: the answer first, then tables, a picture and a page, whatever came of its trials."""

import dataclasses
import io
import math
import re

import pytest
from helpers import tasks
from rich.console import Console

from experiments.harness import document, experiment, run_folder
from experiments.harness.experiment import Decisions
from experiments.sweep import plan, progress, ranking, report, results
from experiments.sweep.config import Config, Grid
from experiments.sweep.engines.base import Event
from experiments.sweep.estimate import Estimate, Expected
from experiments.sweep.ranking import Mean
from experiments.sweep.report import Swept

BASELINES = {
    "AR": {"train": 0.01, "val": 0.01, "test": 0.01},
    "mean": {"train": 1.0, "val": 99.0, "test": 99.0},
}


def terminal():
    """A console and what it has printed."""
    file = io.StringIO()
    return Console(file=file, width=120, highlight=False), file.getvalue


def swept(places):
    rows, timing = results.rows(places), results.timing(places)
    return Swept(rows=rows, timing=timing, baselines=results.baselines(places))


def concluded(of):
    return report.conclude(Decisions(config=None, facts={"data": {"understood": {"rows": 400}}}), of)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The written report of a sweep of two widths, in which one task failed and one training diverged."""
    folder = tmp_path_factory.mktemp("sweep")
    lrs = (1e-4, 1e-3, 1e-2, 1e-1)
    places = [
        tasks.finish(folder / "0", tasks.trials(lrs, seeds=(8, 9, 10)), hidden=2, baselines=BASELINES),
        tasks.finish(folder / "1", tasks.trials(lrs, seeds=(8, 9, 10), first=24), hidden=4),
        tasks.finish(folder / "2", tasks.trials(lrs[:1], first=48), why="no <b>room</b>", hidden=8),
    ]
    command = "python -m experiments.sweep --grid.lr 1e-3"
    stored = {"experiment": "sweep", "command": command, "config": dataclasses.asdict(tasks.SMALL)}
    origin = document.Origin(stored=stored, environment=run_folder.environment(), resume=folder)
    experiment.write(folder, concluded(swept(places)), origin)
    return folder


def test_the_answer_comes_first_and_then_the_ranking_the_best_rates_and_the_failures(folder):
    text = (folder / "table.md").read_text()
    first = text.splitlines()[0]
    mean = ((0.1 + 3 / 3) * (0.1 + 4 / 3) * (0.1 + 5 / 3)) ** (1 / 3)
    assert "18 configurations (50 trainings: 47 finished, 1 diverged, 2 failed)" in first
    assert f"drop_moments, lr 0.0001, hidden 2: {mean:.4g} [" in first
    assert "3 seeds" in first
    assert "drop_moments is the last one tried on its side" in first
    assert first.endswith("AR(4) (0.01).")
    columns = ("rank", "policy", "lr", "hidden", "n", "validation", "test there", "test at the end")
    assert f"| {' | '.join(columns)} | epochs | state |" in text
    assert re.search(r"\| 1 \| drop_moments \| 0.0001 \| 2 \| 3 \| 1.407 \[.*\] \|", text)
    assert "| one_fit | 0.001 | 4, 0.0001 to 0.1 | 2 | 3 |" in text
    assert "it is the lowest" in text
    assert "| diverged | 1 of 50 | 1 |" in text
    assert "| failed | 2 of 50 | 48–49 | no <b>room</b> |" in text


def test_the_page_and_its_picture_have_all_parts_and_let_nothing_in(folder):
    html, svg = (folder / "report.html").read_text(), (folder / "figure.svg").read_text()
    assert "Which of 18 configurations predicts best?" in html
    assert "no &lt;b&gt;room&lt;/b&gt;" in html
    assert "<script" not in html
    titles = ["The answer", "Ranking", "The best rate of each policy", "Response to each hyper-parameter"]
    for title in [*titles, "What went wrong", "Forecasts that need no network", "Time", "The data"]:
        assert f">{title}</h2>" in html
    for name in ("results.csv", "timing.csv", "figure.png", "table.md"):
        assert f'href="./{name}"' in html
    for words in ("drop_moments", "one_fit", "hidden", "learning rate", "python -m experiments.sweep"):
        assert words in svg


def test_a_terminal_shows_the_first_of_the_ranking(folder):
    out, printed = terminal()
    document.show(out, concluded(swept([folder / str(i) for i in range(3)])))
    for words in ("18 configurations", f"the first {report.TOP} of 18", "Each policy at its own best"):
        assert words in printed()


@pytest.mark.parametrize(
    ("why", "facts"),
    [
        ("no room", ["6 configurations", "6 failed", "nothing to rank"]),
        ("", ["the one configuration: 0.1000"]),
    ],
)
def test_a_sweep_without_success_or_without_choice_is_reported_too(why, facts, tmp_path):
    trials = tasks.trials() if why else tasks.trials((1e-3,), ("one_fit",))
    made = concluded(swept([tasks.finish(tmp_path / "0", trials, why=why)]))
    text = document.markdown(made)
    assert all(fact in text for fact in facts)
    assert why in text
    document.figures(made)["figure"].draw()


def test_many_drawn_values_and_policies_are_drawn_too(tmp_path):
    policies = ("one_fit", "keras_loop", "keras_recompile", "drop_count", "drop_m", "drop_v", "scratch")
    trials = tasks.trials([1e-5 * 1.3**i for i in range(30)], policies, first=2)  # number 1 diverges
    for i, trial in enumerate(trials):
        trial["schedule"] = ("constant", "cosine")[i % 2]
    many = swept([tasks.finish(tmp_path / "0", trials)])
    ranked = ranking.rank(many.rows)
    assert ranked.varied == ["policy", "lr", "schedule"]
    assert len(ranking.response(ranked, "lr")) == 5
    document.figures(concluded(many))["figure"].draw()


def test_numbers_are_given_as_ranges_and_losses_with_their_interval():
    assert report.numbers([3, 4, 5, 8, 10, 11]) == "3–5, 8, 10–11"
    assert report.numbers(range(0, 40, 2)) == "0, 2, 4, 6, 8, 10 and 14 more"
    assert [report.interval(mean) for mean in (Mean(), Mean(mean=0.22))] == ["–", "0.2200"]
    assert report.interval(Mean(mean=0.22, lo=0.2, hi=0.25)) == "0.2200 [0.2000, 0.2500]"


def test_groups_differ_in_the_fields_that_vary_and_in_what_they_take(monkeypatch):
    config = Config(data=("sines",), window=8, batch=256, epochs=6, workers=2)
    config = dataclasses.replace(config, grid=Grid(hidden=(2, 3), lr=(0.1, 0.2), seed=("8:11",)))
    groups = plan.groups(config, plan.configurations(config, [{}]))
    expected = [Expected(seconds=90.0, bytes=2**30, how="measured"), Expected(how="too large")]
    out, printed = terminal()
    made = plan.tasks(config, groups)
    progress.show_plan(out, groups, made, 2, Estimate(groups=expected, seconds=90.0))
    lines = [" ".join(line.split()) for line in printed().splitlines() if line.strip()]
    assert lines[0] == "12 trainings in 2 tasks, 2 at a time"
    assert "hidden 2 2 6 1 90 s 1.0 GiB measured" in lines
    assert "hidden 3 2 6 1 ? ? too large" in lines
    assert lines[-1] == "expected: 90 s in all, measured on 1 of 2 groups"
    monkeypatch.setattr(progress, "MOST", 1)
    table = progress.plan_table(groups, made, 2, None)
    assert (len(table.rows), "the first 1 of 2 groups" in table.title) == (1, True)


def test_durations_have_the_unit_that_suits_them():
    durations = [progress.duration(seconds) for seconds in (90.0, 600.0, 90_000.0, math.nan)]
    assert durations == ["90 s", "10.0 min", "25.0 h", "?"]


def test_the_log_has_events_and_how_far_all_tasks_are(tmp_path):
    places, (out, printed) = [tmp_path / "0000", tmp_path / "0001"], terminal()
    with progress.watching(out, tmp_path, total=100, done=20) as notify:
        notify(Event(folder=places[0], kind="started"), 50)
        notify(Event(folder=places[0], kind="progress", epochs=20), 50)
        notify(Event(folder=places[0], kind="died", why="SIGKILL"), 50)
        notify(Event(folder=places[0], kind="finished"), 50)
        notify(Event(folder=places[1], kind="failed", why="no memory"), 30)
    log = (tmp_path / progress.LOG).read_text().splitlines()
    failures = ["task 0000 died: SIGKILL", "task 0001 failed: no memory"]
    events = [line.split(" ", 2)[2] for line in log if line.startswith("20")]
    assert events == ["task 0000 started", failures[0], "task 0000 finished", failures[1]]
    far = [line.partition(",")[0] for line in log if line.startswith("epoch")]
    assert far == ["epoch 40/100", "epoch 70/100", "epoch 100/100"]
    lines = printed().splitlines()
    assert [line for line in lines if line.startswith("task")] == failures
    assert sum(line.startswith("epoch") for line in lines) == 3
