"""What `conformance` says: a row for each way of training and package."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from experiments.harness import run_folder
from experiments.harness.peers import comparison
from experiments.harness.peers.comparison import Comparison

COLUMNS = ("row", "package", "expected", "seen", "losses", "weights", "verdict")
TITLE = "The largest difference of a loss, with its epoch, and of a weight"


class Finding(NamedTuple):
    """A row of the table on one backend."""

    row: str
    package: str
    expected: str
    seen: str
    version: str
    loss_E: tuple[float, ...]  # largest difference of each epoch's two losses, NaN where none was trained
    weight: float  # largest difference
    verdict: str  # agrees, disagrees, not checked


def largest(f: Finding) -> tuple[float, int]:
    """The largest difference of a loss, and its epoch, counted from 1; NaN and 0 where none is known."""
    return max(((x, e) for e, x in enumerate(f.loss_E, 1) if not math.isnan(x)), default=(math.nan, 0))


def in_words(f: Finding) -> tuple[str, ...]:
    """Cells of COLUMNS."""
    loss, epoch = largest(f)
    losses = f"{loss:.1e} (epoch {epoch})" if f.loss_E else "–"
    return f.row, f.package, f.expected, f.seen, losses, f"{f.weight:.1e}" if f.loss_E else "–", f.verdict


def summary(findings: Sequence[Finding]) -> str:
    """The verdicts counted, and the largest difference."""
    words = {"agrees": "agree", "disagrees": "disagree", "not checked": "are not checked"}
    counts = [
        f"{n} {word}" for verdict, word in words.items() if (n := sum(f.verdict == verdict for f in findings))
    ]
    told = [largest(f)[0] for f in findings if f.loss_E]
    versions = "; ".join(dict.fromkeys(f.version for f in findings if f.version))
    most = f" No loss differs by more than {max(told):.1e}." if told else ""
    return f"Of {len(findings)} rows: {', '.join(counts)}.{most}" + f" {versions}." * bool(versions)


def compared(findings: Sequence[Finding]) -> Comparison:
    """The rows, and what they came to."""
    question = "Do the real packages do what the presets say of them?"
    return Comparison(
        question, summary(findings), [], "Row by row", TITLE, COLUMNS, list(map(in_words, findings))
    )


def write(folder: Path, findings: Sequence[Finding], told: Comparison) -> None:
    """results.csv, agreement.csv with every epoch, table.md and the page."""
    rows = []
    for f in findings:
        fields = f._asdict()
        del fields["loss_E"]
        rows.append(fields | dict(zip(("loss", "epoch"), largest(f), strict=True)))
    run_folder.write_csv(folder / "results.csv", rows)
    run_folder.write_csv(
        folder / "agreement.csv",
        [
            {"row": f.row, "package": f.package, "epoch": e + 1, "difference": difference}
            for f in findings
            for e, difference in enumerate(f.loss_E)
        ],
    )
    files = {"results.csv": "a row a line of the table", "agreement.csv": "every epoch"}
    comparison.write(folder, told, files | {"data.npz": "what all train on"})
