"""The README says what the code does: its examples run, its tables are generated, its map is whole."""

import csv
import pkgutil
import re
from pathlib import Path

import pytest

import lstm_sched
from lstm_sched.presets import ALIASES, POLICIES, fate_table

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DIALECTS = (ROOT / "docs" / "dialects.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def between(marker, page=README):
    found = re.search(rf"<!-- {marker} -->\n(.*?)<!-- /{marker} -->", page, re.DOTALL)
    assert found, marker
    return found[1].strip()


def without_distance(text):
    """Rounding differs between versions of XLA; what is lost does not."""
    return re.sub(r"[\d,]+ ulp", "ulp", text).replace("<br>", "")


def test_the_fate_tables_are_those_of_the_constants():
    assert between("fates") == fate_table(POLICIES) == between("fates", DIALECTS)


def test_the_page_of_dialects_has_a_line_on_every_preset_and_alias():
    table = DIALECTS.split("| preset | what it is |")[1].split("\n\n")[0]
    listed = [line.split("|")[1] for line in table.splitlines()[2:]]
    assert set(re.findall(r"`(\w+)`", " ".join(listed))) == {*POLICIES, *ALIASES}


def test_the_answer_is_that_of_the_run_whose_raw_numbers_are_beside_it():
    runs = [path.parent for kind in ("refit", "tuned") for path in (ROOT / "docs" / kind).rglob("table.md")]
    assert len(runs) == 4
    for run in runs:
        assert (run / "table.md").read_text(encoding="utf-8").strip() in between("answer")
        assert f"{run.relative_to(ROOT).as_posix()}/figure.svg" in between("answer")
        assert (run / "results.csv").exists()
        assert (run / "effects.csv").exists()


def test_the_faults_are_those_of_the_rows_beside_it():
    told = (ROOT / "docs" / "faults" / "table.md").read_text(encoding="utf-8")
    assert told.strip() == between("faults")
    with (ROOT / "docs" / "faults" / "results.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            assert f"| {row['fault']} | {row['expected']} | " in told
            assert row["seen"] in told


def test_the_examples_run(capsys):
    import jax

    names: dict = {}
    with jax.numpy_dtype_promotion("standard"):
        for example in EXAMPLES:
            exec(example, names)
    out = capsys.readouterr().out
    printed = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert printed["one_fit"] == printed["keras_loop"] != printed["keras_recompile"]
    said = out[out.index("assert_resumable: ") :].strip()
    assert without_distance(said) == without_distance(
        between("resumable").removeprefix("> ").replace("\n> ", "\n")
    )
    assert names["shrink"].params == 0.6


def test_the_map_names_every_package():
    packages = {path.parent.name for path in (ROOT / "lstm_sched").glob("*/__init__.py")}
    rows = re.findall(r"(?m)^\| `([\w.]+)` \|", README.split("## Map of the code")[1])
    assert {f"lstm_sched.{name}" for name in packages} == {
        row for row in rows if row.startswith("lstm_sched.")
    }
    assert {row.partition(".")[0] for row in rows} == {"lstm_sched", "experiments", "tests", "docs"}


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")],
    ids=lambda path: path.name,
)
def test_pages_name_what_exists(page):
    text = page.read_text(encoding="utf-8")
    for name in set(re.findall(r"\bls\.(\w+)", text)):
        assert hasattr(lstm_sched, name), name
    for name in set(re.findall(r"\b((?:lstm_sched|experiments)(?:\.[a-z]\w*)+)", text)):
        assert pkgutil.resolve_name(name) is not None
    for file in set(re.findall(r"(?<![/\w.])(?:lstm_sched|experiments|tests|docs)/(?!NAME)[\w./-]*\w", text)):
        assert (ROOT / file).exists(), file


def test_the_links_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
