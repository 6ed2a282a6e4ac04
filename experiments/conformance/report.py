"""The report of `conformance`: one row per way of training and package."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from experiments.harness.document import EVERYWHERE, Document, Lead, Section, Table
from experiments.harness.experiment import Decisions

COLUMNS = ("row", "package", "expected", "seen", "losses", "weights", "verdict")
TITLE = "The largest difference of a loss, with its epoch, and of a weight"
QUESTION = "Do the real packages do what the presets say?"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A row of the table for one package."""

    row: str
    package: str
    expected: str
    seen: str
    version: str = ""
    loss_E: tuple[
        float, ...
    ] = ()  # largest difference of each epoch's two losses, NaN where none was trained
    weight: float = math.nan  # largest difference
    verdict: str  # agrees, disagrees, not checked


def largest(f: Finding) -> tuple[float, int]:
    """The largest difference of a loss, and its epoch, counted from 1; NaN and 0 if none is known."""
    return max(((x, e) for e, x in enumerate(f.loss_E, 1) if not math.isnan(x)), default=(math.nan, 0))


def in_words(f: Finding) -> tuple[str, ...]:
    """The cells of one table row, in the order of COLUMNS."""
    loss, epoch = largest(f)
    losses = f"{loss:.1e} (epoch {epoch})" if f.loss_E else "–"
    return f.row, f.package, f.expected, f.seen, losses, f"{f.weight:.1e}" if f.loss_E else "–", f.verdict


def answer(findings: Sequence[Finding]) -> str:
    """A sentence with the number of each verdict, and the largest difference."""
    verbs = {"agrees": "agree", "disagrees": "disagree", "not checked": "are not checked"}
    counts = [
        f"{n} {verb}" for verdict, verb in verbs.items() if (n := sum(f.verdict == verdict for f in findings))
    ]
    losses = [largest(f)[0] for f in findings if f.loss_E]
    versions = "; ".join(dict.fromkeys(f.version for f in findings if f.version))
    most = f" No loss differs by more than {max(losses):.1e}." if losses else ""
    return f"Of {len(findings)} rows: {', '.join(counts)}.{most}" + f" {versions}." * bool(versions)


def conclude(decisions: Decisions, findings: Sequence[Finding]) -> Document:
    """The answer, the table, and every epoch as raw numbers."""
    lead, table = (
        Lead(text=answer(findings)),
        Table(title=TITLE, columns=COLUMNS, rows=list(map(in_words, findings))),
    )
    results, epochs = [], []
    for f in findings:
        fields = dataclasses.asdict(f)
        del fields["loss_E"]
        results.append(fields | dict(zip(("loss", "epoch"), largest(f), strict=True)))
        for epoch, difference in enumerate(f.loss_E, 1):
            epochs.append({"row": f.row, "package": f.package, "epoch": epoch, "difference": difference})
    written = EVERYWHERE - {"terminal"}
    return Document(
        sections=[
            Section(title=QUESTION, blocks=[lead], places=written),
            Section(title="Row by row", blocks=[table], places=EVERYWHERE),
            Section(title="The answer", blocks=[lead], places=frozenset({"terminal"})),
        ],
        tables={"results.csv": results, "agreement.csv": epochs},
        files={
            "results.csv": "one row per line of the table",
            "agreement.csv": "how far losses differ in every epoch",
            "data.npz": "what all train on",
        },
    )
