"""What `identity` says: its plan, a row a cell, and the page."""

from collections.abc import Sequence

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from rich.console import Console

from experiments.harness import figures, page, report, run_folder
from experiments.harness import page as pa
from experiments.harness.figures import STYLE
from experiments.harness.page import Section
from experiments.identity.compare import Difference, Result
from experiments.identity.design import TRANSPORTS, Plan, bound, expectation, levels
from experiments.identity.lowerings import CHOSEN, LOWERINGS, RUN

# The picture of `identity`: every training by what it has of one fit, and how far other lowerings are.


matplotlib.use("Agg")

COLOURS = dict(zip(CHOSEN, (*figures.COLOURS, "0.4"), strict=True))
FLOOR = 1e-10  # where 0 is drawn
KINDS = (  # held, the bits of one fit, colour, words
    (True, True, figures.COLOURS[2], "0 bits from one fit"),
    (False, True, figures.COLOURS[4], "0 bits from one fit, but beyond the bound across lowerings"),
    (False, False, figures.COLOURS[0], "not the bits of one fit"),
)


def draw(plan: Plan, results: Sequence[Result], command: str) -> None:
    """figure.svg and figure.png. Left: every training. Right: how far another lowering's weights are, and the bound."""
    with plt.rc_context(STYLE):
        fig, (left, right) = plt.subplots(1, 2, figsize=(12, 6.6), width_ratios=(2, 1), layout="constrained")
        _grid(left, plan, results)
        _across(right, plan, results)
        caption = f"{plan.source.name}, LSTM({plan.setting.hidden}), {plan.setting.epochs} epochs."
        figures.save(plan.folder, fig, caption, command)


def _grid(axes: Axes, plan: Plan, results: Sequence[Result]) -> None:
    columns = [(lowering, transport) for lowering in LOWERINGS for transport in TRANSPORTS]
    lines = [(optimizer, every) for optimizer in CHOSEN for every in levels(plan.setting.epochs)]
    everywhere = [(x, y) for x in range(len(columns)) for y in range(len(lines))]
    axes.plot(*zip(*everywhere, strict=True), "s", color="0.93", ms=7)
    for held, same, colour, words in KINDS:
        cells = [r.cell for r in results if r.held == held and (not r.same.bits) == same]
        x = [columns.index((cell.lowering, cell.transport)) for cell in cells]
        y = [lines.index((cell.optimizer, cell.every)) for cell in cells]
        axes.plot(x, y, "s", color=colour, ms=8, label=f"{words}: {len(cells)}")
    short = [transport.removeprefix("in a ").removeprefix("through a ") for _, transport in columns]
    axes.set_xticks(range(len(columns)), short, rotation=90, fontsize=7)
    for i, lowering in enumerate(LOWERINGS):
        x = len(TRANSPORTS) * (i + 0.5) - 0.5
        axes.text(x, -1.2, lowering.replace(" ", "\n", 1), ha="center", va="bottom", fontsize=7.5)
    axes.set_yticks(range(len(lines)), [f"{optimizer}, fits of {n}" for optimizer, n in lines], fontsize=7)
    axes.set_xlim(-0.7, len(columns) - 0.3)
    axes.set_ylim(len(lines) - 0.3, -0.9)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), frameon=False, fontsize=8)


def _across(axes: Axes, plan: Plan, results: Sequence[Result]) -> None:
    for i, (optimizer, colour) in enumerate(COLOURS.items()):
        told = [r for r in results if r.cell.optimizer == optimizer and r.cell.lowering != RUN]
        y = [LOWERINGS.index(r.cell.lowering) + 0.09 * (i - 3) for r in told]
        axes.plot([max(r.across.weight, FLOOR) for r in told], y, "o", color=colour, ms=5, label=optimizer)
        axes.plot([bound(r.cell, plan.setting.lr) for r in told], y, "|", color=colour, ms=9)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:.0e}")
    axes.set_yticks(range(len(LOWERINGS)), [name.replace(" ", "\n", 1) for name in LOWERINGS], fontsize=8)
    axes.set_ylim(len(LOWERINGS) - 0.5, -0.5)
    axes.set_xlabel(f"largest difference of a weight\nfrom the run scan (0 is at {FLOOR:g}; |: the bound)")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, frameon=False, fontsize=8)


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
MANY = 60  # cells beyond which only those that tell something are printed
FILES = {
    "results.csv": "a row a cell: what was found, and what was expected",
    "table.md": "the table as Markdown",
    "cells": "what each cell saved",
}


def say_plan(out: Console, plan: Plan) -> None:
    """What is compared and what is expected, before anything is."""
    setting = plan.setting
    out.print(
        f"{plan.source.name}: LSTM({setting.hidden}), {setting.epochs} epochs, in each of {len(plan.cells)} trainings. "
        f"Fits of {', '.join(map(str, levels(setting.epochs)))} epochs; {', '.join(CHOSEN)}; {'; '.join(TRANSPORTS)}; "
        f"{', '.join(LOWERINGS)}.",
        markup=False,
    )
    out.print(
        "Expected: how many bits differ from one fit in the same lowering; how far its weights are from the run scan's."
    )
    for cell in plan.cells if len(plan.cells) <= MANY else ():
        out.print(f"  {_name(cell)}: expected {expectation(cell, setting.lr)}", markup=False)
    out.print(f"Ctrl-C stops it. Results: {plan.folder}", markup=False)


def _name(cell) -> str:
    return f"{cell.optimizer}, {cell.lowering}, {cell.transport}, fits of {cell.every}"


def in_words(result: Result) -> str:
    """One line a cell."""
    note = f" ({result.note})" * bool(result.note)
    broken = "" if result.held else ": NOT AS EXPECTED"
    apart = f"{_apart(result.same)} from one fit, {_apart(result.across)} from the run scan"
    return f"{_name(result.cell)}{note}: {apart}{broken}"


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


def rows(plan: Plan, results: Sequence[Result]) -> list[tuple[str, ...]]:
    """Rows of COLUMNS."""
    return [
        (
            r.cell.optimizer,
            r.cell.lowering,
            r.cell.transport,
            str(r.cell.every),
            _apart(r.same),
            "–" if r.cell.lowering == RUN else _apart(r.across),
            expectation(r.cell, plan.setting.lr),
            _first(r),
            "yes" if r.held else "NO",
        )
        for r in results
    ]


def answer(results: Sequence[Result]) -> str:
    """What it came to, in one sentence or two."""
    same = sum(not r.same.bits for r in results)
    across = [r for r in results if r.cell.lowering != RUN]
    other = sorted({r.cell.lowering for r in across if r.across.bits})
    farthest = max((r.across.weight for r in across), default=0.0)
    broken = sum(not r.held for r in results)
    equal = sum(not r.across.bits for r in across)
    return (
        f"{same} of {len(results)} trainings in fits are one fit to the last bit. Of {len(across)} in another lowering "
        f"than the run scan {equal} have its bits too"
        + (f"; {', '.join(other)} rounds otherwise, weights by up to {farthest:.1e}. " if other else ". ")
        + (f"{broken} expectation{'s' * (broken > 1)} did not hold." if broken else "Every expectation held.")
    )


def say(out: Console, plan: Plan, results: Sequence[Result]) -> None:
    """The table, and the answer."""
    told = results
    if len(results) > MANY:
        told = [r for r in results if not r.held]
        out.print(f"{len(results) - len(told)} cells as expected; all are in {plan.folder / 'table.md'}")
    if told:
        out.print(
            report.table("differing bits, largest distance, first divergence", COLUMNS, rows(plan, told))
        )
    out.print(answer(results), style="bold", markup=False)


def write(plan: Plan, results: Sequence[Result]) -> None:
    """results.csv, table.md, figure and page."""
    stored, environment = (run_folder.read_json(plan.folder / f"{name}.json") for name in ("config", "env"))
    run_folder.write_csv(plan.folder / "results.csv", [_record(plan, stored["hash"], r) for r in results])
    text = f"{answer(results)}\n\n{report.markdown(COLUMNS, rows(plan, results))}"
    (plan.folder / "table.md").write_text(text, encoding="utf-8")
    draw(plan, results, stored["command"])
    page.write(plan.folder, _sections(plan, results, stored, environment))


def _record(plan: Plan, config: str, r: Result) -> dict[str, object]:
    first = {} if r.first is None else r.first._asdict()
    return {
        "config": config,
        **r.cell._asdict(),
        "note": r.note,
        **{
            f"{side}_{name}": value
            for side in ("same", "across")
            for name, value in getattr(r, side)._asdict().items()
        },
        "bound": bound(r.cell, plan.setting.lr),
        **{f"first_{name}": first.get(name, "") for name in ("epoch", "step", "component", "leaf", "exact")},
        "held": r.held,
    }


def _sections(plan: Plan, results: Sequence[Result], stored: dict, environment: dict) -> list[Section]:
    text = (
        "The same training is cut into fits that drop nothing, its state is carried from one fit to the next, and the "
        "same step is compiled in six ways. One executable must give one answer: there 0 bits are expected. Other "
        "executables may round otherwise: there the weights must lie within a bound. Both were written down first."
    )
    figure = page.figure_of(
        plan.folder,
        "Left: each training, by optimizer and fits and by lowering and transport, coloured by whether it has the bits "
        "of one fit. Right: the largest difference of a weight from the run scan, with its bound.",
    )
    title = "A row a training. ulp: representable numbers between two. ≤: seen at the end of a fit or an epoch only."
    return [
        Section(
            "Is a training the same to the last bit, however it is cut, carried and compiled?",
            page.paragraph(text),
        ),
        Section("The answer", page.paragraph(answer(results), lead=True)),
        Section("The picture", figure),
        Section("Every training", page.table(COLUMNS, rows(plan, results), title)),
        Section("The data and its split", pa.data(plan.setting, plan.source)),
        Section(
            "Configuration and versions",
            pa.configuration({k: v for k, v in stored.items() if k not in ("cells", "setting")}, environment),
        ),
        Section("How to get this again", page.commands([stored["command"]])),
        Section("Raw files", pa.raw_files(plan.folder, FILES)),
    ]
