"""The report of an experiment: sections of text, tables, figures and commands, and where they appear.

The terminal, table.md and report.html show the same description of each table or sentence. A plain string is
a paragraph. A section names the places that show it: a terminal may show the answer last, the page first.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Column
from rich.table import Table as RichTable
from rich.text import Text

NARROWEST = 120  # columns of a table that is not shown on a terminal
LONG = 24  # characters beyond which a cell's text is broken into lines
WIDE = 4  # columns beyond which a table is wide
EVERYWHERE = frozenset({"terminal", "markdown", "page"})
PAGE = frozenset({"page"})


@dataclass(frozen=True, kw_only=True)
class Lead:
    """The main paragraph, set off from the others."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under named columns; the first column heads its row."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[object]]
    numeric: frozenset[str] = frozenset()  # columns that a terminal aligns to the right


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A picture: `draw` returns a matplotlib figure, or the text of an SVG where `name` is empty.

    With a name it is saved as NAME.svg and NAME.png in the run's folder; without one it stands in the page alone.
    """

    draw: Callable[[], Any]
    shows: str  # the text for readers who cannot see the picture
    caption: str = ""
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Code:
    """Lines to be typed into a shell."""

    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Words and what they mean."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Files:
    """Links to files that stand next to the page, and what each holds."""

    names: tuple[tuple[str, str], ...]


Block = str | Lead | Table | Figure | Code | Terms | Files


@dataclass(frozen=True, kw_only=True)
class Section:
    """Blocks under a heading, shown in the named places."""

    title: str
    blocks: Sequence[Block]
    places: frozenset[str] = PAGE


@dataclass(frozen=True, kw_only=True)
class Document:
    """The report of a finished run, and its raw tables.

    The first section's title is the question. `tables` are CSV files by name, each a sequence of rows.
    `files` describes files of the folder that the harness does not know. A non-empty `void` says why the run
    is invalid: the report is still written, and the command then fails with this sentence.
    """

    sections: Sequence[Section]
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""  # below the run's own, for a second document of one run
    void: str = ""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where the numbers of a document come from, for the last sections of its page.

    stored       what config.json says
    environment  what env.json says
    resume       the folder that --resume takes, which is another one where a run has several parts
    """

    stored: Mapping[str, Any]
    environment: Mapping[str, Any]
    resume: Path


def console() -> Console:
    """The console: a terminal, or plain lines of a fixed width for any other output."""
    here = Console(highlight=False)
    return here if here.is_terminal else Console(highlight=False, width=NARROWEST)


def duration(seconds: float) -> str:
    """A duration in seconds, or in minutes if it is long."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def blocks(document: Document, place: str) -> Iterable[Block]:
    """The blocks that a place shows, in order."""
    return (block for section in document.sections if place in section.places for block in section.blocks)


def figures(document: Document) -> dict[str, Figure]:
    """The figures that are saved as files, by name."""
    every_block = (block for section in document.sections for block in section.blocks)
    return {block.name: block for block in every_block if isinstance(block, Figure) and block.name}


def show(out: Console, document: Document) -> None:
    """Print what the terminal shows. No text is read as markup."""
    for block in blocks(document, "terminal"):
        match block:
            case str():
                out.print(Text(block))
            case Lead():
                out.print()
                out.print(Text(block.text, style="bold"))
            case Table() if stacks(block) and out.width < NARROWEST:
                out.print(Text(block.title))
                for row in block.rows:
                    head, *cells = (f"{name}: {cell}" for name, cell in zip(block.columns, row, strict=True))
                    out.print(Text("\n    ".join([head, *cells])))
            case Table():
                show_table(out, block)
            case Code():
                out.print(Text("\n".join(f"    {line}" for line in block.lines)), soft_wrap=True)
            case Terms():
                for term, meaning in block.pairs:
                    out.print(Text(f"{term}: {meaning}"))
            case Figure() | Files():
                pass  # the page has them


def stacks(table: Table) -> bool:
    """Whether a table is so wide, by columns and text, that a narrow place shows it as a list of rows."""
    return len(table.columns) > WIDE and any(len(str(cell)) > LONG for row in table.rows for cell in row)


def show_table(out: Console, table: Table) -> None:
    """Print a table under its title, which may be wider than the table."""
    out.print(Text(f"\n{table.title}", style="italic"))
    out.print(rich_table(table))


def rich_table(table: Table) -> RichTable:
    """A table for a terminal, without its title; text too long for its column is wrapped, never cut."""
    heads = [
        Column(
            Text(name),
            overflow="fold",
            justify="right" if name in table.numeric else "left",
            no_wrap=i == 0 and all(len(str(row[0])) <= LONG for row in table.rows),
        )
        for i, name in enumerate(table.columns)
    ]
    made = RichTable(*heads, box=box.SIMPLE)
    for row in table.rows:
        made.add_row(*(Text(str(cell)) for cell in row))
    return made


def markdown(document: Document) -> str:
    """The text of table.md; empty if no section appears there."""
    return "\n\n".join(
        _in_markdown(block) for block in blocks(document, "markdown") if not isinstance(block, Figure)
    )


def _in_markdown(block: Block) -> str:
    match block:
        case str():
            return block
        case Lead():
            return block.text
        case Code():
            return "\n".join(f"    {line}" for line in block.lines)
        case Terms():
            return "\n".join(f"- **{term}**: {meaning}" for term, meaning in block.pairs)
        case Table():
            return f"{block.title}:\n\n" * bool(block.title) + markdown_table(block.columns, block.rows)
        case Figure():
            return f"![{block.shows}]({block.name}.svg)"
        case Files():
            return "\n".join(f"- [{name}]({name}): {meaning}" for name, meaning in block.names)


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    return "\n".join(lines + [f"| {' | '.join(map(str, row))} |" for row in rows]) + "\n"
