"""What every page says of the data: the series, its parts in time, and how the file was understood."""

import dataclasses
from functools import partial

from experiments.harness.document import Block, Figure, Section, Table
from experiments.harness.html_page import flat
from experiments.harness.setting import Setting
from experiments.harness.source import Source


def data_section(setting: Setting, source: Source) -> Section:
    """What was learned from, and where it was cut."""
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
    from experiments.harness import figures  # no measurement waits for matplotlib

    scale, target = source.split.scale, source.series.columns[0]
    drawn = Figure(
        draw=partial(figures.timeline, source.series, source.split.extents),
        shows="The target over time, with the training, validation and test parts shaded and gaps marked.",
        caption=f"The target, {target}, in its own unit. The line is broken where rows are missing; a tick below marks "
        "a gap.",
    )
    text = (
        f"{source.name}, {source.series.target}. A window is {setting.window} rows; its target lies {setting.horizon} "
        f"ahead of the last. The target is standardised by the training part alone: mean {scale.mean_F[0]:.4g}, "
        f"standard deviation {scale.std_F[0]:.4g}."
    )
    return [text, drawn]
