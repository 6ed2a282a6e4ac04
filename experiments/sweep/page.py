"""What report.html says of a sweep."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.harness import page
from experiments.harness import page as pa
from experiments.harness.page import Section
from experiments.harness.wording import forecast
from experiments.sweep import ranking as ra
from experiments.sweep.ranking import Answered

MOST = 40  # processes that are shown
Tables = Sequence[tuple[str, Sequence[str], Sequence[Sequence[str]]]]
SPENT = (
    "task",
    "state",
    "cells",
    "attempts",
    "parts",
    "seconds",
    "seconds_compiling",
    "seconds_training",
    "host",
)


def sections(
    folder: Path,
    answered: Answered,
    said: str,
    tables: Tables,
    baselines: Mapping[int, Mapping[str, Mapping[str, float]]],
    stored: Mapping[str, Any],
    environment: Mapping[str, Any],
) -> list[Section]:
    """The page of a sweep; `stored` is its config.json and `environment` its env.json."""
    (ranking, rates, lost) = (
        page.table(header, rows, title) if rows else "" for title, header, rows in tables
    )
    found = [
        Section(f"Which of {len(answered.ranked)} configurations predicts best?", asked(answered)),
        Section("The answer", page.paragraph(said, lead=True)),
        Section("The picture", picture(folder)),
        Section("Ranking", ranking + page.paragraph("All of them, a row a training, are in results.csv.")),
        Section("The best rate of each policy", rates),
        Section("Response to each hyper-parameter", responses(answered)),
        Section("What went wrong", lost or page.paragraph("Nothing failed or diverged.")),
        Section("Forecasts that need no network", forecasts(baselines)),
        Section("Time", spent(folder)),
        Section(
            "The data",
            page.table(("name", "value"), pa.flat(_understood(stored)), "What was understood"),
        ),
        Section("Configuration and versions", pa.configuration(stored, environment)),
        Section("How to get this again", pa.again(folder, stored, environment)),
        Section("Raw files", pa.raw_files(folder)),
    ]
    return [section for section in found if section.html]


def _understood(stored: Mapping[str, Any]) -> Mapping[str, Any]:
    return stored.get("data", {}).get("understood", {})


def asked(answered: Answered) -> str:
    """The words that the rest of the page uses."""
    seeds = sorted({seed for one in answered.ranked for seed in one.seeds})
    return (
        page.terms(
            [
                (
                    "configuration",
                    f"One choice of {', '.join(answered.varied) or 'all fields'}; all else is the same for all.",
                ),
                (
                    "training",
                    f"A configuration with one seed, from the first epoch to the last; the seeds are {seeds[0]} to "
                    f"{seeds[-1]}. Those of one seed start from the same weights, where their shapes agree.",
                ),
                (
                    "validation",
                    "The lowest validation loss of a training, whichever epoch it was at. Configurations are ranked by "
                    "its mean over seeds, taken of logs. Of many, the best looks better than it is.",
                ),
                (
                    "test there",
                    "Test loss of the weights at that epoch. It decided nothing here; the seeds that chose a "
                    "configuration are those shown, so that a claim about it needs other seeds.",
                ),
                (
                    "interval",
                    "In brackets: where the mean over seeds may lie, by t at 95 %, each for itself.",
                ),
                (
                    "pruned",
                    "Stopped by successive halving, since others were better after as many epochs; ranked behind all "
                    "that were trained to the end.",
                ),
                (
                    "policy",
                    "What survives between two fits of a loop, and what is dropped; one_fit has no boundary.",
                ),
            ]
        )
        if answered.ranked
        else page.paragraph("Nothing was asked.")
    )


def picture(folder: Path) -> str:
    """figure.svg of the sweep."""
    return page.figure_of(
        folder,
        "The best configurations with intervals; the lowest loss of each policy at each learning rate; the loss of "
        "every configuration against each field. The same numbers stand in the tables below.",
        "Losses are means over seeds, on a log scale. Filled: validation; hollow: test at the same epoch. A line joins "
        "the best configuration at each value, whatever the other fields are; a cross at the top is a configuration "
        "that diverged or failed.",
    )


def responses(answered: Answered) -> str:
    """A table for each field of which there is more than one value."""
    made = []
    for field in answered.varied:
        rows = [
            (
                r.label,
                str(r.size),
                str(r.lost),
                f"{r.best.val.mean:.4g}",
                f"{r.median:.4g}",
                _rest(answered, r, field),
            )
            for r in ra.response(answered, field)
        ]
        header = (field, "configurations", "diverged or failed", "best validation", "median", "the best has")
        made.append(page.table(header, rows, f"Validation loss by {field}, whatever the other fields are"))
    return "\n".join(made)


def _rest(answered: Answered, found: ra.Response, field: str) -> str:
    exact = found.lo == found.hi
    return ra.name(found.best, [name for name in answered.varied if name != field or not exact])


def forecasts(baselines: Mapping[int, Mapping[str, Mapping[str, float]]]) -> str:
    """Losses of forecasts that need no network, on each part."""
    rows = [
        (forecast(name, window), str(window), *(f"{losses[part]:.4g}" for part in ("train", "val", "test")))
        for window, several in sorted(baselines.items())
        for name, losses in several.items()
    ]
    header = ("forecast", "window", "train", "validation", "test")
    return page.table(header, rows, "Loss of the standardised target") if rows else ""


def spent(folder: Path) -> str:
    """What each process took."""
    with (folder / "timing.csv").open(newline="", encoding="utf-8") as file:
        rows = [tuple(_short(row[name]) for name in SPENT) for row in csv.DictReader(file)]
    kept = f"; the first {MOST} of {len(rows)}" * (len(rows) > MOST)
    return page.table(SPENT, rows[:MOST], f"A row a process{kept}; all of it is in timing.csv")


def _short(number: str) -> str:
    return f"{float(number):.1f}" if "." in number and number.replace(".", "", 1).isdecimal() else number
