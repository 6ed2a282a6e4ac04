"""What is reported where packages are compared: an answer in one line, remarks, one table and one figure."""

from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np

from experiments.harness.document import EVERYWHERE, Figure, Lead, Section, Table
from experiments.harness.peers import timing
from experiments.harness.peers.jobs import Job, Measured, Row
from experiments.harness.peers.process import OURS
from experiments.harness.peers.timing import Spread


def seconds_of(rows: Sequence[Row]) -> dict[Job, dict[int, float]]:
    """The seconds of every repetition of each job that was repeated; the first, which compiles, is left out."""
    seconds: dict[Job, dict[int, float]] = {row.job: {} for row in rows}
    for row in rows:
        if row.repetition:
            seconds[row.job][row.repetition] = row.seconds
    return {job: times for job, times in seconds.items() if times}


def ratio(slow: Mapping[int, float], fast: Mapping[int, float]) -> Spread:
    """How many times longer the first takes, in the repetitions that both have."""
    shared = sorted(slow.keys() & fast.keys())
    return timing.ratio([slow[r] for r in shared], [fast[r] for r in shared])


def disagreeing(rows: Sequence[Row], task: Callable[[Row], Hashable], same: float) -> list[str]:
    """Losses that are not what they must be, one sentence per job.

    Rows for which `task` is equal must reach the same losses, to the relative difference `same`: those of our package,
    or else the median.
    """
    groups: dict[Hashable, list[Row]] = {}
    for row in rows:
        if row.losses:
            groups.setdefault(task(row), []).append(row)
    wrong = {}
    for group in groups.values():
        ours = [row.losses for row in group if row.job.package == OURS]
        expected_M = np.median(ours or [row.losses for row in group], axis=0)
        for row in group:
            for m, (loss, expected) in enumerate(zip(row.losses, expected_M.tolist(), strict=True)):
                if not abs(loss - expected) <= same * abs(expected):
                    text = f"{row.job.package}, {row.job.title}, member {m}: {loss:.6g} instead of {expected:.6g}"
                    wrong.setdefault(row.job, text)
    return list(wrong.values())


def remarks(measured: Measured, wrong: Sequence[str], same: float) -> list[str]:
    """Which packages are missing, and whether all others reached the same loss, as far as there are others."""
    reasons = dict.fromkeys(measured.lost.values())
    absent = [
        "; ".join(name for name in measured.lost if measured.lost[name] == why) + f": {why}"
        for why in reasons
    ]
    if len({row.job.package for row in measured.rows}) < 2:
        return absent
    return [
        *absent,
        f"OTHER LOSSES: {'; '.join(wrong)}" if wrong else f"All reach the same loss, to {same:g}.",
    ]


def sections(
    question: str, answer: str, remarks: Sequence[str], table: Table, figure: Figure
) -> list[Section]:
    """A comparison of packages: the answer, the figure and one table. A terminal shows the answer last."""
    answered = [Lead(text=answer), *remarks]
    return [
        Section(title=question, blocks=answered, places=EVERYWHERE - {"terminal"}),
        Section(title="The figure", blocks=[figure]),
        Section(title="Everything that was timed", blocks=[table], places=EVERYWHERE),
        Section(title="", blocks=[*remarks, Lead(text=answer)], places=frozenset({"terminal"})),
    ]
