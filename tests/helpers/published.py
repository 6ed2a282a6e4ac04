"""Results that are published under docs/, as the reports of today read them."""

import csv
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def rows(folder, name="results.csv"):
    """Rows of a raw table."""
    with (DOCS / folder / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def table(folder):
    """Cells of the table in table.md, without its head."""
    text = (DOCS / folder / "table.md").read_text(encoding="utf-8")
    lines = [line.strip("|\n ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return [tuple(line) for line in lines[2:]]
