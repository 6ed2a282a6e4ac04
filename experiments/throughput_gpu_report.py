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
COLUMNS = ("package", "trainings", "all of them", "first, s", "a training", "to ours")


class Row(NamedTuple):
    """One repetition of a package; 0 is the first, which compiles, and −1 the check, of CHECKED epochs."""

    package: str
    version: str  # and the device
    repetition: int
    members: int
    epochs: int
    seconds: float  # of training
    losses: tuple[float, ...]  # of the last epoch, of each member


def compared(rows: Sequence[Row], missing: dict[str, str]) -> Comparison:
    """A training's time in each package, and the ratio."""
    each: dict[str, list[Row]] = {}
    for row in rows:
        if row.repetition >= 0:
            each.setdefault(row.package, []).append(row)
    one_R = {package: np.array([r.seconds / r.members for r in same[1:]]) for package, same in each.items()}
    cells = []
    for package, (first, *same) in each.items():
        seconds = timing.told(timing.spread([r.seconds for r in same]), "s")
        one = timing.told(timing.spread(one_R[package]), "s")
        ratio = timing.told(timing.ratio(one_R[package], one_R[OURS]), "×") if package != OURS else "–"
        cells.append((package, f"{first.members:,}", seconds, timing.number(first.seconds), one, ratio))
    own, *others = cells
    first = each[OURS][0]
    answer = f"{own[1]} trainings of {first.epochs} epochs, {first.version}: {own[2]}"
    for other in others:
        answer += f"; {other[0]}, one after another, takes {other[-1]} the time of each"
    versions = [f"{package}: {same[0].version}." for package, same in each.items()]
    return Comparison(
        "How long do many trainings take on one device?",
        answer,
        [*versions, *comparison.notes(missing, disagreeing(rows) if others else None, SAME)],
        "What was timed",
        "The median, and the quartiles around it; first: with compilation; to ours: a training, by repetition",
        COLUMNS,
        cells,
    )


def disagreeing(rows: Sequence[Row]) -> list[str]:
    """Of the members that both trained for the check, those whose loss is not ours."""
    checked = {r.package: r.losses for r in rows if r.repetition < 0}
    own = checked.pop(OURS)
    return [
        f"{package}, member {m}: {loss:.6g}, ours {own[m]:.6g}"
        for package, losses in checked.items()
        for m, loss in enumerate(losses)
        if not abs(loss - own[m]) <= SAME * abs(own[m])
    ]
