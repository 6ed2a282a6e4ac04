"""Configurations drawn from lists and ranges: at random, or evenly spread by a Sobol sequence. The same seed draws the
same.

Letters: N trials, D fields.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import qmc

from experiments.sweep import axes
from experiments.sweep.config import Config, Values, at


def trials(config: Config) -> list[dict[str, Any]]:
    """Those of a search; one without any field, where the grid is all. Of a search that learns, those of one that does
    not, in its place."""
    if not config.search.trials:
        return [{}]
    _, search = axes.axes(config)
    return draw(config.search.kind, config.search.trials, config.search.seed, search)


def draw(kind: str, trials: int, seed: int, search: Mapping[str, Values]) -> list[dict[str, Any]]:
    """A value of every field for each trial."""
    return [
        {field: at(values, u) for (field, values), u in zip(search.items(), u_D, strict=True)}
        for u_D in points(kind, trials, len(search), seed).tolist()
    ]


def points(kind: str, trials: int, fields: int, seed: int) -> np.ndarray:
    """u_ND in [0, 1): independent, or the first points of a scrambled Sobol sequence (Owen 1998), any 2^k of which
    are balanced in every field."""
    rng = np.random.default_rng(seed)
    if kind == "random" or fields == 0:
        return rng.random((trials, fields))
    whole = max(0, trials - 1).bit_length()  # scipy warns of sequences that are cut
    return qmc.Sobol(fields, rng=rng).random_base2(whole)[:trials]
