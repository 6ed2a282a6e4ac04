"""report.html: what a run says to somebody who has never seen the project, in one file that needs no other.

The helpers make HTML of plain text and escape all of it; a Section holds what they made. Nothing on a page can
run or be fetched: it has no script, its policy forbids both, and figures are images inside the file.
"""

import base64
import dataclasses
import html
import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from experiments.harness import curves
from experiments.harness.setting import Setting
from experiments.harness.source import Source

STYLE = Path(__file__).with_suffix(".css")
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
LONG = 24  # characters beyond which a cell's text is broken into lines
WIDE = 4  # columns beyond which a table is wide
NOT_HTML = re.compile(r"[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Section(NamedTuple):
    """A heading in plain text, and HTML made by the helpers below."""

    title: str
    html: str


def write(folder: Path, sections: Sequence[Section]) -> None:
    """report.html in the folder, whole or not at all; the first section's title is the page's."""
    part = folder / "report.part"
    part.write_text(document(sections), encoding="utf-8", newline="\n")
    part.replace(folder / "report.html")


def document(sections: Sequence[Section]) -> str:
    """The page. ValueError without a section, as it would have no title."""
    if not sections:
        raise ValueError("sections: none; a page needs one or more")
    title, blocks, links = escape(sections[0].title), [], []
    for i, section in enumerate(sections):
        level, name = ("h1", "h2")[i > 0], escape(section.title)
        heading = f'<{level} id="s{i}">{name}</{level}>'
        blocks.append(f'<section aria-labelledby="s{i}">\n{heading}\n{section.html}\n</section>')
        links.append(f'<li><a href="#s{i}">{name}</a></li>' if i else "")
    contents = f'<nav aria-label="Contents"><ul>{"".join(links)}</ul></nav>\n' if len(sections) > 1 else ""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n<main>\n"
        f"{blocks[0]}\n{contents}{chr(10).join(blocks[1:])}\n</main>\n</body>\n</html>\n"
    )


def escape(text: object) -> str:
    """Any text as HTML that shows it; characters that no HTML can hold become �."""
    return html.escape(NOT_HTML.sub("\ufffd", str(text)))


def paragraph(text: str, lead: bool = False) -> str:
    """A paragraph; `lead` sets it off as what to read first."""
    return f"<p{' class=lead' if lead else ''}>{escape(text)}</p>"


def commands(lines: Iterable[str]) -> str:
    """Lines to be typed into a shell."""
    return f"<pre><code>{escape(chr(10).join(lines))}</code></pre>"


def terms(pairs: Iterable[tuple[str, str]]) -> str:
    """Words and what they mean."""
    return "<dl>\n" + "\n".join(f"<dt>{escape(t)}</dt><dd>{escape(d)}</dd>" for t, d in pairs) + "\n</dl>"


def files(names: Iterable[tuple[str, str]]) -> str:
    """Links to files beside the page, given by name, and what each holds."""
    rows = (
        f'<li><a href="./{quote(name, errors="replace")}">{escape(name)}</a>{escape(": " * bool(what) + what)}</li>'
        for name, what in names
    )
    return "<ul>\n" + "\n".join(rows) + "\n</ul>"


def table(header: Sequence[str], rows: Iterable[Sequence[object]], caption: str) -> str:
    """A table whose rows begin with their heading. Where it is wider than the page it scrolls in its own box; one
    with many columns and long texts becomes a list of rows on a narrow screen.
    """
    rows = [[str(cell) for cell in row] for row in rows]
    stack = len(header) > WIDE and any(len(cell) > LONG for row in rows for cell in row)
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = "\n".join(f"<tr>{''.join(map(_cell, header, row, range(len(row))))}</tr>" for row in rows)
    caption = escape(caption)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{caption}">\n'
        f"<table{' class=stack' if stack else ''}>\n<caption>{caption}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def _cell(name: str, text: str, column: int) -> str:
    tag, attribute = ("td", f'data-name="{escape(name)}"') if column else ("th", 'scope="row"')
    return f"<{tag} {attribute}{' class=long' if len(text) > LONG else ''}>{escape(text)}</{tag}>"


def figure_of(folder: Path, alt: str, caption: str = "") -> str:
    """The run's own figure.svg, as below."""
    return figure((folder / "figure.svg").read_text(encoding="utf-8"), alt, caption)


def figure(svg_text: str, alt: str, caption: str = "") -> str:
    """An SVG as an image in the page: apart from the page's ids and styles, and unable to run a script."""
    data = base64.b64encode(svg_text.encode()).decode()
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure><img alt="{escape(alt)}" src="data:image/svg+xml;base64,{data}">{below}</figure>'


# Where a page's numbers come from, the same for every experiment: data, configuration, versions, commands,
# files.


FILES = {
    "config.json": "the configuration, what was decided before the first step, and the command",
    "env.json": "versions, devices, flags and the state of the source",
    "status.json": "how far the run came, and its seconds",
    "metrics.jsonl": "every epoch of every training: the raw curves",
    "results.csv": "a row a training: what is compared",
    "effects.csv": "a row an arm and metric: what is concluded",
    "table.md": "the answer and the effects as Markdown",
    "figure.svg": "the first picture of this page",
    "figure.png": "the same in pixels",
    "results.parquet": "the same with types",
    "curves.npz": "every epoch of every training, [cell, epoch]",
    "timing.csv": "a row a task: seconds, attempts, host and versions",
    "sweep.log": "what was said meanwhile",
    "tasks": "a folder a process: what it was to do, what it said and found",
    "tuning": "every rate that was tried for each arm",
    "best_rate": "the same comparison with each arm at its own best rate, and a page of its own",
    "checkpoint": "what --resume continues from",
    "resumed.jsonl": "a row for each time that it did: from which epoch, under which versions",
    "peers.log": "what other packages printed",
}


def data(setting: Setting, source: Source) -> str:
    """What was learned from, and where it was cut."""
    extents = source.split.extents
    parts = table(
        ("part", "rows", "windows", "first", "last"),
        [dataclasses.astuple(extent) for extent in extents],
        "Parts, in order of time; none holds a row of another.",
    )
    facts = table(("name", "value"), flat(source.understood), "What was understood of the data")
    if source.series is None:
        text = "Ready-made samples, cut in their order: there is no time to draw."
        return paragraph(f"{source.name}. {text}") + parts + facts
    scale, target = source.split.scale, source.series.columns[0]
    text = (
        f"{source.name}, {source.series.target}. A window is {setting.window} rows, its target {setting.horizon} ahead "
        f"of the last. The target is standardised by the training part alone: mean {scale.mean_F[0]:.4g}, standard "
        f"deviation {scale.std_F[0]:.4g}."
    )
    drawn = figure(
        curves.timeline(source.series, extents),
        "The target over time, with the training, validation and test parts shaded and gaps marked.",
        f"The target, {target}, in its own unit. The line is broken where rows are missing; a tick below marks a gap.",
    )
    return paragraph(text) + drawn + parts + facts


def configuration(stored: Mapping[str, Any], environment: Mapping[str, Any]) -> str:
    """All that was set, and what it ran on."""
    facts = {key: value for key, value in stored.items() if key not in ("config", "command")}
    return "\n".join(
        table(("name", "value"), flat(values), title)
        for title, values in (
            ("Settings", stored["config"]),
            ("Decided before the first step", facts),
            ("Versions and machine", environment),
        )
    )


def flat(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values as rows; those of a mapping inside have its name before theirs."""
    rows = []
    for key, value in values.items():
        inside = value.items() if isinstance(value, Mapping) and value else [(None, value)]
        rows += [(key if k is None else f"{key}.{k}", _plain(v)) for k, v in inside]
    return rows


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def again(folder: Path, stored: Mapping[str, Any], environment: Mapping[str, Any]) -> str:
    """Commands, exactly."""
    git = environment["git"]
    changed = ", with changes that were not committed" * bool(git["changed"])
    state = f"commit {git['commit']}{changed}" if git["commit"] else "no commit is known"
    resume = f"python -m experiments.{stored['experiment']} --resume {shlex.quote(str(folder))}"
    return "".join(
        (
            paragraph(
                f"From a checkout of the source ({state}), train everything again; the folder must be new:"
            ),
            commands([stored["command"]]),
            paragraph(
                "Make the tables, pictures and this page again from what was stored, training only what is missing:"
            ),
            commands([resume]),
            paragraph("The same versions on the same kind of machine give the same bits."),
        )
    )


def raw_files(folder: Path, more: dict[str, str] | None = None) -> str:
    """What lies beside the page; `more` says what those are that only this experiment writes, or writes otherwise."""
    known = FILES | (more or {})
    names = sorted(p.name for p in folder.iterdir() if p.suffix != ".part" and p.name != "report.html")
    return files((name, known.get(name, "")) for name in names)
