"""What report.html says of the claims: the answer, the table, the rates, what was read, and how to get it again."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from experiments.claims.claims import MEANING
from experiments.claims.results import Refit
from experiments.claims.rule_verdicts import ABSOLUTE, REPAIRS, trace
from experiments.claims.trainings import Runs
from experiments.harness import page, run_folder
from experiments.harness import page as pa
from experiments.harness.page import Section
from experiments.harness.wording import change
from lstm_sched import stats

Row = dict[str, str]
FILES = {
    "claims.csv": "a row a claim: verdict, evidence and command",
    "trainings.csv": "every epoch of every training made here",
    "keras.json": "what the real Keras did",
}


def answer(rows: Sequence[Row]) -> str:
    """The verdicts counted, and which claims got each."""
    counts = Counter(row["verdict"] for row in rows)
    parts = (
        f"{verdict}: {', '.join(row['id'] for row in rows if row['verdict'] == verdict)} ({counts[verdict]})"
        for verdict in MEANING
        if counts[verdict]
    )
    return f"Of {len(rows)} claims: {'; '.join(parts)}."


def sections(folder: Path, rows: Sequence[Row], small: Runs, refits: Sequence[Refit]) -> list[Section]:
    """The page of a finished run."""
    stored, environment = (run_folder.read_json(folder / f"{name}.json") for name in ("config", "env"))
    return [
        Section("Which sentences of the usual answer hold?", _asked()),
        Section("The answer", page.paragraph(answer(rows), lead=True)),
        Section("Claim by claim", _claims(rows)),
        Section("The rates of example 3", _rates(small)),
        Section("What other loops come to", _effects(refits)),
        Section("Configuration and versions", pa.configuration(stored, environment)),
        Section("How to get this again", _again(stored["command"])),
        Section("Raw files", pa.raw_files(folder, FILES)),
    ]


def _asked() -> str:
    return page.paragraph(
        "How does an LSTM trained with 100 iterations of fit(epochs=1) compare with a single fit(epochs=100)? The "
        "usual answer makes claims for the loop. Each is judged here by a function of its evidence: bits that are "
        "compared, what the real Keras does, or an experiment with its number of seeds and interval."
    ) + page.terms(MEANING.items())


def _claims(rows: Sequence[Row]) -> str:
    header = ("claim", "it says", "verdict", "evidence", "command")
    title = "Weights and curves are compared bit for bit; an interval stands in brackets; n: seeds."
    return page.table(header, ([*row.values()] for row in rows), title)


def _rates(small: Runs) -> str:
    rows = [(name, trace(small[name].rate_NE[0])) for name in (*REPAIRS, ABSOLUTE)]
    epochs = small[ABSOLUTE].rate_NE.shape[1]
    return page.table(
        ("repair", "rate"), rows, f"Learning rate of each epoch, read from runs of {epochs} epochs."
    )


def _effects(refits: Sequence[Refit]) -> str:
    if not refits:
        return page.paragraph("No results of refit were found.")
    rows = [
        (
            arm,
            refit.table.series,
            end.n,
            change(end),
            change(selected),
            stats.combine(end, selected)[1],
            refit.table.place,
        )
        for refit in refits
        for arm, (end, selected) in refit.effects.items()
        if arm != "one_fit"
    ]
    header = ("arm", "series", "n", stats.Metric.END, stats.Metric.SELECTED, "verdict", "read from")
    return page.table(header, rows, "% change of test loss against one_fit, with the interval that decides.")


def _again(command: str) -> str:
    return page.paragraph(
        "From a checkout of the source; the folder must be new. The same versions on the same kind of machine give "
        "the same bits."
    ) + page.commands([command])
