"""The report's section on the data: the series, its parts in time, and how the file was read."""

import dataclasses
from functools import partial

import numpy as np
from rich.console import Console

from experiments.harness import document
from experiments.harness.document import EVERYWHERE, Block, Document, Figure, Section, Table
from experiments.harness.html_page import flat
from experiments.harness.setting import Setting
from experiments.harness.source import Source


def show_data(console: Console, setting: Setting, source: Source) -> None:
    """Print how the data were understood before anything is trained, so that a misread file is noticed in time."""
    *blocks, _ = data_section(setting, source).blocks  # the summary repeats the last table
    section = Section(title="The data", blocks=[source.summary, *blocks], places=EVERYWHERE)
    document.show(console, Document(sections=[section]))


def data_section(setting: Setting, source: Source) -> Section:
    """The section on the training data and where the series was split."""
    parts = Table(
        title="Parts, in order of time; none holds a row of another.",
        columns=("part", "rows", "windows", "first", "last"),
        rows=[dataclasses.astuple(extent) for extent in source.split.extents],
        numeric=frozenset({"windows"}),
    )
    facts = Table(
        title="How the data were understood", columns=("name", "value"), rows=flat(source.understood)
    )
    return Section(title="The data and its split", blocks=[*_before(setting, source), parts, facts])


def _before(setting: Setting, source: Source) -> list[Block]:
    if source.series is None:
        return [f"{source.name}: ready-made samples, cut in their order; there is no time to draw."]
    scale, target = source.split.scale, source.series.columns[0]
    gaps = len(np.unique(source.series.segment_R)) > 1
    breaks = " The line is broken where rows are missing; a tick below marks a gap." * gaps
    drawn = Figure(
        draw=partial(_draw, source),
        shows="The target over time, with the training, validation and test parts shaded.",
        caption=f"The target, {target}, in its own unit.{breaks}",
    )
    text = (
        f"{source.name}, {source.series.target}. A window is {setting.window} rows; its target lies {setting.horizon} "
        f"ahead of the last. The target is standardised by the training part alone: mean {scale.mean_F[0]:.4g}, "
        f"standard deviation {scale.std_F[0]:.4g}."
    )
    return [text, drawn]


def _draw(source: Source) -> str:
    from experiments.harness import curves  # no measurement waits for matplotlib

    assert source.series is not None
    return curves.timeline(source.series, source.split.extents)
