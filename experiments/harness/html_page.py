"""report.html: a document for somebody who has never seen the project, in one file that needs no other.

All text is escaped. Nothing on a page can run or be fetched: it has no script, its policy forbids both, and figures are
images inside the file. The sections on configuration, on how to get the results again and on raw files are the same for
every experiment and are added here.
"""

import base64
import html
import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from experiments.harness import run_folder
from experiments.harness.document import (
    LONG,
    Block,
    Code,
    Document,
    Figure,
    Files,
    Lead,
    Origin,
    Section,
    Table,
    Terms,
    stacks,
)

STYLE = Path(__file__).with_name("page.css")
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
NOT_HTML = re.compile(r"[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

FILES = {
    "config.json": "the configuration, what was decided before the first step, and the command",
    "env.json": "versions, devices, flags and the state of the source",
    "status.json": "how far the run came, and its seconds",
    "measured.jsonl": "every measurement, written when it was made",
    "metrics.jsonl": "every epoch of every training: the raw curves",
    "results.csv": "one row per training: what is compared",
    "effects.csv": "one row per arm and metric: what is concluded",
    "table.md": "the answer and the main table as Markdown",
    "figure.svg": "the first picture of this page",
    "figure.png": "the same in pixels",
    "checkpoint": "what --resume continues from",
    "resumed.jsonl": "one row for each time that the run was continued: from which epoch, under which versions",
    "peers.log": "what other packages printed",
}


def write(folder: Path, document: Document, origin: Origin) -> None:
    """report.html in the folder, whole or not at all; the first section's title is the page's."""
    shown = [section for section in document.sections if "page" in section.places]
    text = page([*shown, *provenance(folder, document, origin)], folder)
    run_folder.write_text(folder / "report.html", text)


def page(sections: Sequence[Section], folder: Path) -> str:
    """The page. ValueError without a section, as it would have no title."""
    if not sections:
        raise ValueError("sections: none; a page needs one or more")
    title, bodies, links = escape(sections[0].title), [], []
    for i, section in enumerate(sections):
        level, name = ("h1", "h2")[i > 0], escape(section.title)
        heading = f'<{level} id="s{i}">{name}</{level}>'
        inside = "\n".join(in_html(block, folder) for block in section.blocks)
        bodies.append(f'<section aria-labelledby="s{i}">\n{heading}\n{inside}\n</section>')
        links.append(f'<li><a href="#s{i}">{name}</a></li>' if i else "")
    contents = f'<nav aria-label="Contents"><ul>{"".join(links)}</ul></nav>\n' if len(sections) > 1 else ""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n<main>\n"
        f"{bodies[0]}\n{contents}{chr(10).join(bodies[1:])}\n</main>\n</body>\n</html>\n"
    )


def escape(text: object) -> str:
    """Any text as HTML that shows it; characters that no HTML can hold become �."""
    return html.escape(NOT_HTML.sub("\ufffd", str(text)))


def in_html(block: Block, folder: Path) -> str:
    """One block."""
    match block:
        case str():
            return f"<p>{escape(block)}</p>"
        case Lead():
            return f"<p class=lead>{escape(block.text)}</p>"
        case Code():
            return f"<pre><code>{escape(chr(10).join(block.lines))}</code></pre>"
        case Terms():
            pairs = "\n".join(f"<dt>{escape(t)}</dt><dd>{escape(d)}</dd>" for t, d in block.pairs)
            return f"<dl>\n{pairs}\n</dl>"
        case Table():
            return _table(block)
        case Figure():
            return _figure(block, folder)
        case Files():
            return _files(block.names)


def _table(table: Table) -> str:
    """A table whose rows begin with their heading. Where it is wider than the page it scrolls in its own box; one
    with many columns and long texts becomes a list of rows on a narrow screen.
    """
    rows = [[str(cell) for cell in row] for row in table.rows]
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.columns)
    body = "\n".join(f"<tr>{''.join(map(_cell, table.columns, row, range(len(row))))}</tr>" for row in rows)
    caption = escape(table.title)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{caption}">\n'
        f"<table{' class=stack' if stacks(table) else ''}>\n<caption>{caption}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def _cell(name: str, text: str, column: int) -> str:
    tag, attribute = ("td", f'data-name="{escape(name)}"') if column else ("th", 'scope="row"')
    return f"<{tag} {attribute}{' class=long' if len(text) > LONG else ''}>{escape(text)}</{tag}>"


def _figure(figure: Figure, folder: Path) -> str:
    """An SVG as an image in the page: apart from the page's ids and styles, and unable to run a script."""
    svg = (folder / f"{figure.name}.svg").read_text(encoding="utf-8") if figure.name else figure.draw()
    data = base64.b64encode(svg.encode()).decode()
    below = f"<figcaption>{escape(figure.caption)}</figcaption>" if figure.caption else ""
    return (
        f'<figure><img alt="{escape(figure.shows)}" src="data:image/svg+xml;base64,{data}">{below}</figure>'
    )


def provenance(folder: Path, document: Document, origin: Origin) -> list[Section]:
    """The last sections of every page: configuration and versions, commands, raw files."""
    return [
        Section(title="Configuration and versions", blocks=configuration(origin)),
        Section(title="How to get this again", blocks=again(origin)),
        Section(title="Raw files", blocks=[raw_files(folder, document)]),
    ]


def configuration(origin: Origin) -> list[Table]:
    """All that was set, and what it ran on."""
    facts = {key: value for key, value in origin.stored.items() if key not in ("config", "command")}
    tables = {
        "Settings": origin.stored["config"],
        "Decided before the first step": facts,
        "Versions and machine": origin.environment,
    }
    return [
        Table(title=title, columns=("name", "value"), rows=flat(values)) for title, values in tables.items()
    ]


def flat(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values as rows; those of a mapping inside have its name before theirs."""
    rows = []
    for key, value in values.items():
        inside = value.items() if isinstance(value, Mapping) and value else [(None, value)]
        rows += [(key if k is None else f"{key}.{k}", _plain(v)) for k, v in inside]
    return rows


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def again(origin: Origin) -> list[Block]:
    """The exact commands."""
    git = origin.environment["git"]
    changed = ", with changes that were not committed" * bool(git["changed"])
    state = f"commit {git['commit']}{changed}" if git["commit"] else "no commit is known"
    resume = f"python -m experiments.{origin.stored['experiment']} --resume {shlex.quote(str(origin.resume))}"
    return [
        f"From a checkout of the source ({state}), measure everything again; the folder must be new:",
        Code(lines=(origin.stored["command"],)),
        "Make the tables, pictures and this page again from what was stored, measuring only what is missing:",
        Code(lines=(resume,)),
        "The same versions on the same kind of machine give the same bits; measured times vary.",
    ]


def raw_files(folder: Path, document: Document) -> Files:
    """What stands next to the page."""
    known = {**FILES, **document.files}
    names = sorted(p.name for p in folder.iterdir() if p.suffix != ".part" and p.name != "report.html")
    return Files(names=tuple((name, known.get(name, "")) for name in names))


def _files(names: Iterable[tuple[str, str]]) -> str:
    rows = (
        f'<li><a href="./{quote(name, errors="replace")}">{escape(name)}</a>{escape(": " * bool(what) + what)}</li>'
        for name, what in names
    )
    return "<ul>\n" + "\n".join(rows) + "\n</ul>"
