"""The page as a file: what goes in as text comes out as text, nothing runs, nothing is fetched."""

import base64
import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from helpers.pages import TEXTS, Parsed, shown
from hypothesis import given

from experiments.harness import html_page
from experiments.harness.document import (
    LONG,
    WIDE,
    Code,
    Document,
    Figure,
    Files,
    Lead,
    Origin,
    Section,
    Table,
    Terms,
)

ENVIRONMENT = {"git": {"commit": "abc", "changed": False}}
ORIGIN = Origin(
    stored={"experiment": "x", "command": "python", "config": {}}, environment=ENVIRONMENT, resume=Path("x")
)


def whole(title, text):
    table = Table(title=text, columns=("a", "b"), rows=[(text, text)])
    figure = Figure(draw=lambda: "<svg/>", shows=text, caption=text)
    blocks = [text, Code(lines=(text,)), Terms(pairs=((text, text),)), table]
    blocks += [Files(names=((text, text),)), figure]
    sections = [Section(title=title, blocks=blocks), Section(title=text, blocks=[Lead(text=text)])]
    return html_page.page(sections, Path())


def in_html(block):
    return Parsed(html_page.in_html(block, Path()))


def write(folder, title, text=""):
    html_page.write(folder, Document(sections=[Section(title=title, blocks=[text])]), ORIGIN)
    return (folder / "report.html").read_bytes()


@given(TEXTS, TEXTS)
def test_any_text_is_shown_as_it_is_and_changes_no_tag(title, text):
    plain, parsed = Parsed(whole("x", "x" * len(text))), Parsed(whole(title, text))
    assert [tag for tag, _ in parsed.tags] == [tag for tag, _ in plain.tags]
    assert [set(attrs) for _, attrs in parsed.tags] == [set(attrs) for _, attrs in plain.tags]
    assert parsed.all("title") == parsed.all("h1") == [shown(title)]
    for tag in ("p", "code", "dt", "dd", "caption", "td", "figcaption", "h2"):
        assert set(parsed.all(tag)) <= {shown(text)}, tag
    assert parsed.attributes("alt") == [shown(text)]


@given(TEXTS)
def test_nothing_on_a_page_can_run_or_be_fetched(text):
    parsed = Parsed(whole(text, text))
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in parsed.tags}
    assert not [name for _, attrs in parsed.tags for name in attrs if name.startswith("on")]
    assert all(source.startswith("data:image/svg+xml;base64,") for source in parsed.attributes("src"))
    assert all(link.startswith(("#s", "./")) for link in parsed.attributes("href"))
    assert html_page.POLICY in parsed.attributes("content")
    (style,) = parsed.all("style")
    assert not re.search(r"@import|url\(|http", style)


def test_a_link_leads_to_the_file_that_it_names():
    names = ["config.json", 'a b"#?%.csv', "javascript:alert(1)", "http://x"]
    links = in_html(Files(names=tuple((name, "") for name in names))).attributes("href")
    assert [unquote(link.removeprefix("./")) for link in links] == names


def test_characters_that_no_html_can_hold_do_not_stop_the_page(tmp_path):
    page = Parsed(write(tmp_path, "a\0b\ud800c\x1b", "\ufffe").decode())
    assert page.all("h1") == ["a\ufffdb\ufffdc\ufffd"]


def test_the_file_replaces_the_last_one_and_has_the_same_bytes_each_time(tmp_path):
    (tmp_path / "report.html").write_text("old")
    first = write(tmp_path, "One")
    assert write(tmp_path, "One") == first
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert first.startswith(b'<!DOCTYPE html>\n<html lang="en">')
    assert b"\r" not in first and len(first) < 9_000


def test_a_page_without_a_section_is_refused():
    with pytest.raises(ValueError, match="sections: none"):
        html_page.page([], Path())


def test_headings_are_in_order_and_the_contents_lead_to_them():
    titles = ["One", "Two", "Three"]
    sections = [Section(title=title, blocks=[]) for title in titles]
    parsed = Parsed(html_page.page(sections, Path()))
    assert [text for tag, text in parsed.text if tag in ("h1", "h2")] == titles
    ids = parsed.attributes("id")
    assert len(set(ids)) == len(ids)
    assert [f"#{name}" for name in ids[1:]] == parsed.attributes("href")
    assert parsed.attributes("aria-labelledby") == ids


def test_the_cells_of_a_table_name_their_row_and_column():
    parsed = in_html(Table(title="Losses", columns=("arm", "n", "loss"), rows=[("a", 1, 0.5), ("b", 2, "")]))
    assert parsed.all("caption") == parsed.attributes("aria-label") == ["Losses"]
    assert parsed.attributes("scope") == ["col"] * 3 + ["row"] * 2
    assert parsed.all("th") == ["arm", "n", "loss", "a", "b"]
    assert parsed.all("td") == ["1", "0.5", "2", ""]
    assert parsed.attributes("data-name") == ["n", "loss"] * 2


@pytest.mark.parametrize(
    ("columns", "length", "stacked"), [(WIDE + 1, LONG + 1, True), (WIDE, LONG + 1, False), (5, LONG, False)]
)
def test_only_wide_tables_of_long_texts_become_lists_on_a_narrow_screen(columns, length, stacked):
    table = Table(title="", columns=("name",) * columns, rows=[["x" * length] * columns])
    assert ("stack" in in_html(table).attributes("class")) is stacked


def test_a_figure_holds_the_picture_itself():
    svg = '<svg xmlns="http://www.w3.org/2000/svg"><text>日本</text></svg>'
    (source,) = in_html(Figure(draw=lambda: svg, shows="a")).attributes("src")
    assert base64.b64decode(source.partition(",")[2]).decode() == svg


def test_the_style_serves_dark_screens_narrow_screens_and_paper():
    style = html_page.STYLE.read_text(encoding="utf-8")
    for rule in (
        "color-scheme: light dark",
        "@media (prefers-color-scheme: dark)",
        "@media screen and (max-width: 45rem)",
        "@media print",
        "overflow-x: auto",
    ):
        assert rule in style
    assert style.count("{") == style.count("}")
    image = re.search(r"figure img {([^}]*)}", style)
    assert image and "width: 100%" in image[1] and "background: #fff" in image[1]
