"""Configurations drawn from lists and ranges: at random, or evenly spread by a Sobol sequence.

The same seed draws the same configurations. Letters: N configurations, D fields.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.sweep import axes
from experiments.sweep.config import Config
from experiments.sweep.values import Values, at


def drawn(config: Config) -> list[dict[str, Any]]:
    """The configurations of a search; a single one without any field if there is only a grid.

    A search that learns draws configurations while it runs; here an evenly spread one takes its place.
    """
    search = config.search
    if not search.trials:
        return [{}]
    return draw(search.kind, search.trials, search.seed, axes.axes(config)[1])


def draw(kind: str, count: int, seed: int, search: Mapping[str, Values]) -> list[dict[str, Any]]:
    """A value of every field for each configuration."""
    return [
        {field: at(values, u) for (field, values), u in zip(search.items(), u_D, strict=True)}
        for u_D in points(kind, count, len(search), seed).tolist()
    ]


def points(kind: str, count: int, fields: int, seed: int) -> np.ndarray:
    """u_ND in [0, 1): independent, or the first points of a scrambled Sobol sequence (Owen 1998), of which any 2^k are
    balanced in every field."""
    rng = np.random.default_rng(seed)
    if kind == "random" or fields == 0:
        return rng.random((count, fields))
    from scipy.stats import qmc  # --help does not wait for it

    whole = max(0, count - 1).bit_length()  # scipy warns if the number of points is no power of 2
    return qmc.Sobol(fields, rng=rng).random_base2(whole)[:count]
