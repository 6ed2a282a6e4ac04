"""The report of `identity`: an introduction, one line per training while it runs, and the final document."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

from experiments.harness.data_section import data_section
from experiments.harness.document import EVERYWHERE, Document, Figure, Lead, Section, Table
from experiments.identity.compare import Difference, Result
from experiments.identity.design import TRANSPORTS, Design, bound, expectation, levels
from experiments.identity.lowerings import CHOSEN, LOWERINGS, RUN

FLOOR = 1e-10  # the value at which the picture shows 0
MANY = 60  # trainings beyond which the terminal shows only those that are not as expected
COLUMNS = (
    "optimizer",
    "lowering",
    "transport",
    "fits of",
    "from one fit",
    "from the run scan",
    "expected",
    "first divergence",
    "held",
)
QUESTION = "Is a training the same to the last bit, however it is cut, carried and compiled?"
METHOD = (
    "The same training is cut into fits that drop nothing, its state is carried from one fit to the next, and the same "
    "step is compiled in six ways (lowerings). One executable must give one answer: 0 bits are expected to differ from "
    "one fit in the same lowering. Other executables may round differently: there the weights must lie within a bound. "
    "Both expectations were written down first."
)
TITLE = (
    "One row per training: how many bits differ, and the largest distance. ulp: representable numbers between two. "
    "≤: seen at the end of a fit or an epoch only."
)


def intention(design: Design) -> str:
    """Print what will be compared."""
    setting = design.setting
    return (
        f"{design.source.name}: LSTM({setting.hidden}), {setting.epochs} epochs, in each of {len(design.cells)} "
        f"trainings. Fits of {', '.join(map(str, levels(setting.epochs)))} epochs; {', '.join(CHOSEN)}; "
        f"{'; '.join(TRANSPORTS)}; {', '.join(LOWERINGS)}. What is expected of each is in config.json. "
        "Ctrl-C stops it, and --resume continues."
    )


def in_words(result: Result) -> str:
    """One line per training."""
    note = f" ({result.note})" * bool(result.note)
    unexpected = "" if result.held else ": NOT AS EXPECTED"
    apart = f"{_apart(result.same)} from one fit, {_apart(result.across)} from the run scan"
    return f"{result.cell}{note}: {apart}{unexpected}"


def _apart(d: Difference) -> str:
    if not d.bits:
        return "0 bits"
    weights = f", weights by {d.weight:.1e}" * bool(d.weight)
    return f"{d.bits:,} bits, {d.ulp:,} ulp{weights}"


def _first(result: Result) -> str:
    f = result.first
    if f is None:
        return "–"
    return f"epoch {f.epoch}, step {'' if f.exact else '≤ '}{f.step}: {f.component} {f.leaf}"


def answer(results: Sequence[Result]) -> str:
    """The result in a few sentences."""
    same = sum(not r.same.bits for r in results)
    across = [r for r in results if r.cell.lowering != RUN]
    equal = sum(not r.across.bits for r in across)
    others = sorted({r.cell.lowering for r in across if r.across.bits})
    farthest = max((r.across.weight for r in across), default=0.0)
    broken = sum(not r.held for r in results)
    sentences = [
        f"Cut into fits and carried between them, {same} of {len(results)} trainings match one fit bit for bit.",
        f"Compiled in other ways, {equal} of {len(across)} match the reference, the run scan, bit for bit"
        + (f"; in the {', '.join(others)}, weights differ by at most {farthest:.1e}." if others else "."),
        f"{broken} expectation{'s' * (broken > 1)} did not hold." if broken else "Every expectation held.",
    ]
    return " ".join(sentences)


def conclude(design: Design, results: Sequence[Result]) -> Document:
    """The answer, the picture and one row per training."""
    setting = design.setting
    picture = Figure(
        draw=partial(_draw, design, results),
        name="figure",
        shows="The largest difference of a weight from the run scan, for each other lowering and each optimizer, and "
        "the bound of it.",
        caption=f"{design.source.name}, LSTM({setting.hidden}), {setting.epochs} epochs; "
        f"0 is drawn at {FLOOR:g}, and | is the bound.",
    )
    lead, table = Lead(text=answer(results)), _table(design, results)
    shown = table if len(results) <= MANY else _table(design, [r for r in results if not r.held])
    written, printed = EVERYWHERE - {"terminal"}, frozenset({"terminal"})
    sections = [
        Section(title=QUESTION, blocks=[lead], places=written),
        Section(title="What is compared", blocks=[METHOD]),
        Section(title="The picture", blocks=[picture]),
        Section(title="Every training", blocks=[table], places=written),
        data_section(setting, design.source),
        Section(title="The answer", blocks=[shown, lead] if shown.rows else [lead], places=printed),
    ]
    return Document(
        sections=sections,
        tables={"results.csv": [_record(design, result) for result in results]},
        files={
            "results.csv": "one row per training: how it differs, and what was expected",
            "table.md": "the answer and the table as Markdown",
            "cells": "what each training saved between its fits",
        },
    )


def _draw(design: Design, results: Sequence[Result]) -> Any:
    """How far another lowering's weights are from the run scan's, and how far they may be."""
    import matplotlib.pyplot as plt  # no measurement waits for it

    from experiments.harness import figures

    others = [lowering for lowering in LOWERINGS if lowering != RUN]
    with plt.rc_context(figures.STYLE):
        fig, axes = plt.subplots(figsize=(8, 4), layout="constrained")
        for i, (optimizer, colour) in enumerate(zip(CHOSEN, (*figures.COLOURS, "0.4"), strict=True)):
            shown = [r for r in results if r.cell.optimizer == optimizer and r.cell.lowering != RUN]
            y = [others.index(r.cell.lowering) + 0.09 * (i - 3) for r in shown]
            style = {"color": colour, "label": optimizer if shown else None}
            axes.plot([max(r.across.weight, FLOOR) for r in shown], y, "o", ms=5, **style)
            axes.plot([bound(r.cell, design.setting.lr) for r in shown], y, "|", ms=9, color=colour)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:.0e}")
        axes.set_yticks(range(len(others)), others)
        axes.set_ylim(len(others) - 0.5, -0.5)
        axes.set_xlabel("largest difference of a weight from the run scan")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return fig


def _table(design: Design, results: Sequence[Result]) -> Table:
    rows = [
        (
            r.cell.optimizer,
            r.cell.lowering,
            r.cell.transport,
            r.cell.every,
            _apart(r.same),
            "–" if r.cell.lowering == RUN else _apart(r.across),
            expectation(r.cell, design.setting.lr),
            _first(r),
            "yes" if r.held else "NO",
        )
        for r in results
    ]
    return Table(title=TITLE, columns=COLUMNS, rows=rows)


def _record(design: Design, r: Result) -> dict[str, object]:
    first = {} if r.first is None else dataclasses.asdict(r.first)
    sides = {"same": r.same, "across": r.across}
    return {
        "config": design.digest,
        **dataclasses.asdict(r.cell),
        "note": r.note,
        **{f"{side}_{name}": x for side, d in sides.items() for name, x in dataclasses.asdict(d).items()},
        "bound": bound(r.cell, design.setting.lr),
        **{f"first_{name}": first.get(name, "") for name in ("epoch", "step", "component", "leaf", "exact")},
        "held": r.held,
    }
