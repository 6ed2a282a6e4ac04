"""What `throughput_gpu` says: how long many trainings take here, and each of them elsewhere.

Letters: R repetitions.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments import comparison, timing
from experiments.comparison import Comparison
from experiments.peers import OURS

SAME = 2e-3  # relative difference of losses that rounding, and each package's form of Adam, may make
COLUMNS = ("what", "package", "trainings", "all of them", "first, s", "a training", "to ours")


class Row(NamedTuple):
    """One repetition of a package; 0 is the first, which compiles, and −1 the check, of CHECKED epochs."""

    what: str  # many, one large
    package: str
    version: str  # and the device
    repetition: int
    members: int
    epochs: int
    seconds: float  # of training
    losses: tuple[float, ...]  # of the last epoch, of each member


def compared(rows: Sequence[Row], missing: dict[str, str]) -> Comparison:
    """A training's time in each package, and the ratio to ours of the same repetition."""
    each: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.repetition >= 0:
            each.setdefault((row.what, row.package), []).append(row)
    one_R = {key: np.array([r.seconds / r.members for r in same[1:]]) for key, same in each.items()}
    cells, said = [], {}
    for (what, package), (first, *same) in each.items():
        seconds = timing.told(timing.spread([r.seconds for r in same]), "s")
        one = timing.told(timing.spread(one_R[what, package]), "s")
        ratio = "–"
        if package == OURS:
            said[what] = f"{what}, {first.members:,} × {first.epochs} epochs ({first.version}): {seconds}"
        else:
            ratio = timing.told(timing.ratio(one_R[what, package], one_R[what, OURS]), "×")
            said[what] += f"; {package} takes {ratio} the time of each"
        cells.append((what, package, f"{first.members:,}", seconds, timing.number(first.seconds), one, ratio))
    versions = {package: same[0].version for (_, package), same in each.items()}
    others = len(versions) > 1
    return Comparison(
        "How long do many trainings, and one large, take on one device?",
        ". ".join(said.values()),
        [
            *(f"{package}: {version}." for package, version in versions.items()),
            *comparison.notes(missing, disagreeing(rows) if others else None, SAME),
        ],
        "What was timed",
        "The median, and the quartiles around it; first: with compilation; to ours: a training, by repetition",
        COLUMNS,
        cells,
    )


def disagreeing(rows: Sequence[Row]) -> list[str]:
    """Of the members that several trained for the check, those whose loss is not ours."""
    checked = {(r.what, r.package): r.losses for r in rows if r.repetition < 0}
    return [
        f"{what}, {package}, member {m}: {loss:.6g}, ours {checked[what, OURS][m]:.6g}"
        for (what, package), losses in checked.items()
        for m, loss in enumerate(losses)
        if not abs(loss - checked[what, OURS][m]) <= SAME * abs(checked[what, OURS][m])
    ]
