"""What a sweep says: the answer first, then tables, a picture and a page, whatever came of its cells."""

import dataclasses
import re

import pytest
from helpers import tasks
from rich.console import Console

from experiments.harness import run_folder
from experiments.sweep import ranking, report, results
from experiments.sweep.ranking import Mean

BASELINES = {
    "AR": {"train": 0.01, "val": 0.01, "test": 0.01},
    "mean": {"train": 1.0, "val": 99.0, "test": 99.0},
}


def put_together(folder, own):
    """A sweep's folder as it is before its report."""
    config = dataclasses.asdict(tasks.SMALL) | {"grid": {"lr": ["1e-3"]}}
    stored = {
        "experiment": "sweep",
        "command": "python -m experiments.sweep --grid.lr 1e-3",
        "config": config,
    }
    run_folder.write_json(folder / "config.json", stored | {"data": {"understood": {"rows": 400}}})
    run_folder.write_json(folder / "env.json", run_folder.environment())
    results.write(folder, own)
    return report.write(folder)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep of two widths, in which one task failed and two trainings diverged."""
    folder = tmp_path_factory.mktemp("sweep")
    lrs = (1e-4, 1e-3, 1e-2, 1e-1)
    own = [
        tasks.finish(folder / "tasks" / "0", tasks.cells(lrs, seeds=(8, 9, 10)), hidden=2),
        tasks.finish(folder / "tasks" / "1", tasks.cells(lrs, seeds=(8, 9, 10), first=24), hidden=4),
        tasks.finish(folder / "tasks" / "2", tasks.cells(lrs[:1], first=48), why="no <b>room</b>", hidden=8),
    ]
    run_folder.write_json(own[0] / "done.json", {"state": "finished", "why": "", "baselines": BASELINES})
    return folder, put_together(folder, own)


def test_the_answer_comes_first_and_says_what_it_is_worth(swept):
    folder, said = swept
    first = (folder / "table.md").read_text().splitlines()[0]
    assert first.startswith(
        "Of 18 configurations (50 trainings: 47 finished, 1 diverged, 2 failed) the lowest"
    )
    best = said.answered.ranked[0]
    assert "that of drop_moments, lr 0.0001, hidden 2: 1.407 [" in first
    assert best.val.mean == pytest.approx(((0.1 + 3 / 3) * (0.1 + 4 / 3) * (0.1 + 5 / 3)) ** (1 / 3))
    assert "over 3 seeds" in first
    assert "The best rate of drop_moments is the last one tried on its side: extend the range." in first
    assert first.endswith("It loses to AR(4) (0.01).")


def test_the_table_has_the_ranking_the_best_rates_and_the_failures(swept):
    text = (swept[0] / "table.md").read_text()
    header = (
        "| rank | policy | lr | hidden | n | validation | test there | test at the end | epochs | state |"
    )
    assert header in text
    assert re.search(r"\| 1 \| drop_moments \| 0.0001 \| 2 \| 3 \| 1.407 \[.*\] \|", text)
    assert "| one_fit | 0.001 | 4, 0.0001 to 0.1 | 2 | 3 |" in text
    assert "it is the lowest: a better one may lie beyond" in text
    assert "| diverged | 1 of 50 | 1 | a loss is not finite" in text
    assert "| failed | 2 of 50 | 48–49 | no <b>room</b> |" in text


def test_the_page_says_the_same_and_lets_nothing_in(swept):
    html = (swept[0] / "report.html").read_text()
    assert "Which of 18 configurations predicts best?" in html
    assert "no &lt;b&gt;room&lt;/b&gt;" in html
    assert "<script" not in html
    for heading in (
        "The answer",
        "Ranking",
        "The best rate of each policy",
        "Response to each hyper-parameter",
    ):
        assert f">{heading}</h2>" in html
    for name in ("results.csv", "results.parquet", "curves.npz", "timing.csv", "figure.png", "table.md"):
        assert f'href="./{name}"' in html


def test_the_picture_names_fields_policies_and_the_command(swept):
    svg = (swept[0] / "figure.svg").read_text()
    for words in ("drop_moments", "one_fit", "hidden", "learning rate", "python -m experiments.sweep"):
        assert f"<!-- {words}" in svg or words in svg
    assert (swept[0] / "figure.png").stat().st_size > 10_000


def test_a_report_made_again_is_the_same(swept):
    names = ("table.md", "figure.svg", "report.html")
    before = [(swept[0] / name).read_bytes() for name in names]
    report.write(swept[0])
    assert [(swept[0] / name).read_bytes() for name in names] == before


def test_on_a_terminal_the_first_of_the_ranking_are_shown(swept):
    out = Console(width=140, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    report.say(out, *swept)
    said = out.export_text()
    out.file.close()
    assert "Of 18 configurations" in said
    assert "the first 8 of 18" in said
    assert "Each policy at its own best learning rate" in said
    assert said.rstrip().endswith(str(swept[0]))


def test_a_sweep_in_which_nothing_ran_says_so(tmp_path):
    folders = [tasks.finish(tmp_path / "tasks" / "0", tasks.cells(), why="no room")]
    answered = put_together(tmp_path, folders).answered
    first = (tmp_path / "table.md").read_text().splitlines()[0]
    assert first == (
        "Of 6 configurations (6 trainings: 6 failed) none was trained without harm: there is nothing to rank."
    )
    assert answered.cells == {"failed": 6}
    assert (tmp_path / "figure.svg").exists()
    assert "no room" in (tmp_path / "report.html").read_text()


def test_a_sweep_of_one_configuration_and_one_seed_is_drawn_too(tmp_path):
    put_together(tmp_path, [tasks.finish(tmp_path / "tasks" / "0", tasks.cells((1e-3,), ("one_fit",)))])
    assert "is that of the one configuration: 0.1000 over 1 seeds" in (tmp_path / "table.md").read_text()
    assert (tmp_path / "figure.png").exists()


def test_many_drawn_values_and_policies_are_drawn_too(tmp_path):
    policies = (
        "one_fit",
        "keras_loop",
        "keras_recompile",
        "drop_count",
        "drop_m",
        "drop_v",
        "scratch",
        "drop_moments",
    )
    own = tasks.cells([1e-5 * 1.3**i for i in range(30)], policies, first=2)  # without number 1 none is lost
    for i, cell in enumerate(own):
        cell["schedule"] = ("constant", "cosine")[i % 2]
    answered = put_together(tmp_path, [tasks.finish(tmp_path / "tasks" / "0", own)]).answered
    assert answered.varied == ["policy", "lr", "schedule"]
    assert len(ranking.response(answered, "lr")) == 5
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_numbers_are_given_as_ranges():
    assert report.numbers([3, 4, 5, 8, 10, 11]) == "3–5, 8, 10–11"
    assert report.numbers(range(0, 40, 2)) == "0, 2, 4, 6, 8, 10 and 14 more"


def test_a_loss_without_an_interval_has_none():
    nan = float("nan")
    assert report.interval(Mean(nan, nan, nan)) == "–"
    assert report.interval(Mean(0.22, nan, nan)) == "0.2200"
    assert report.interval(Mean(0.22, 0.2, 0.25)) == "0.2200 [0.2000, 0.2500]"


def test_a_table_of_several_platforms_says_so(tmp_path):
    row = {"state": "finished", "processor": "A", "platform": "Linux", "jax": "1", "jaxlib": "1"}
    run_folder.write_csv(tmp_path / "timing.csv", [row | {"devices": "cpu"}] * 2)
    assert results.mixed(tmp_path) == ""
    gpu = row | {"devices": "H; H", "state": "finished"}
    failed = row | {"devices": "another", "state": "failed"}
    run_folder.write_csv(tmp_path / "timing.csv", [row | {"devices": "cpu"}, gpu, gpu, failed])
    assert results.mixed(tmp_path) == (
        " These rows come from 2 platforms, which round otherwise: H (A) with jax 1, jaxlib 1: 2 tasks; "
        "cpu (A) with jax 1, jaxlib 1: 1 task (timing.csv)."
    )
