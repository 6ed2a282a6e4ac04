"""Where numbers come from: any name, value and path is shown, and none changes the page."""

import json
from pathlib import Path

from helpers.pages import SETTING, TEXTS, Parsed, named, shown
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.harness import html_page
from experiments.harness.data_section import data_section
from experiments.harness.document import Document, Origin


def in_html(blocks):
    return "".join(html_page.in_html(block, Path()) for block in blocks)


@settings(max_examples=20, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=3, unique=True))
def test_any_column_names_leave_the_tags_as_they_are(columns):
    parsed, plain = (
        Parsed(in_html(data_section(SETTING, named(tuple(names))).blocks))
        for names in (columns, ["x" * len(name) + str(i) for i, name in enumerate(columns)])
    )
    assert [tag for tag, _ in parsed.tags] == [tag for tag, _ in plain.tags]
    assert shown(json.dumps(columns, ensure_ascii=False)) in parsed.all("td")
    assert shown(columns[0]) in " ".join(parsed.all("p"))


@given(
    st.dictionaries(TEXTS, st.one_of(TEXTS, st.none(), st.dictionaries(TEXTS, TEXTS, max_size=2)), max_size=3)
)
def test_any_configuration_is_shown(values):
    stored = {"config": values, "hash": "1"}
    origin = Origin(stored=stored, environment=values, resume=Path())
    parsed = Parsed(in_html(html_page.configuration(origin)))
    expected = [shown(cell) for row in html_page.flat(values) for cell in row]
    found = [text for tag, text in parsed.text if tag in ("th", "td")]
    assert found == ["name", "value", *expected, "name", "value", "hash", "1", "name", "value", *expected]


def test_values_inside_a_mapping_have_its_name_before_theirs():
    assert html_page.flat({"a": 1, "b": {"c": [2], "d": "e"}, "f": {}, "g": None}) == [
        ("a", "1"),
        ("b.c", "[2]"),
        ("b.d", "e"),
        ("f", "{}"),
        ("g", "null"),
    ]


def test_files_are_listed_with_what_they_hold_and_unknown_ones_by_name(tmp_path):
    for name in ("results.csv", "<b>.csv", "report.html", "report.part"):
        (tmp_path / name).touch()
    text = in_html([html_page.raw_files(tmp_path, Document(sections=[], files={"<b>.csv": "bold"}))])
    assert Parsed(text).all("a") == ["<b>.csv", "results.csv"]
    assert ": bold" in text and f": {html_page.FILES['results.csv']}" in text


def test_the_source_is_named_as_far_as_it_is_known(tmp_path):
    stored = {"experiment": "refit", "command": "python"}
    for git, words in (
        ({"commit": "abc", "changed": False}, "(commit abc)"),
        ({"commit": None, "changed": True}, "(no commit is known)"),
    ):
        assert words in in_html(
            html_page.again(Origin(stored=stored, environment={"git": git}, resume=tmp_path))
        )
