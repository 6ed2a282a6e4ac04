"""Trials of a sweep, each one complete training, as members of a population and as rows of a table.

A trial is plain data: {"number", "lr", "schedule", "policy", "every", "seed"}. Letters: M trials.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from experiments.harness import arms
from experiments.harness.setting import WHERE, Built, Setting, check
from experiments.sweep.task.halving import Trial, configuration
from lstm_sched.members import Member, align_redraw, make_origin

FIELDS = ("number", "lr", "schedule", "policy", "every", "seed")
NOT_IN_ROWS = (*WHERE, "seeds")  # fields of a setting that no result of a trial depends on


def members(trials: Sequence[Trial], setting: Setting, built: Built) -> tuple[list[Member], list[str]]:
    """The members of the trials that can be run, in order, and for each trial why it cannot be; "" where it can."""
    origins = {seed: make_origin(built.learner, seed) for seed in sorted({t["seed"] for t in trials})}
    places: dict[tuple[Any, ...], list[int]] = {}
    for m, trial in enumerate(trials):
        places.setdefault(configuration(trial), []).append(m)
    made: dict[int, Member] = {}
    reasons = [""] * len(trials)
    for rows in places.values():
        try:
            of_trial, arm = _arm(trials[rows[0]], setting, built)
            seeds = [origins[trials[m]["seed"]] for m in rows]
            made |= zip(rows, arms.members_of(arm, of_trial, built, seeds), strict=True)
        except ValueError as e:
            for m in rows:
                reasons[m] = str(e)
    return align_redraw([made[m] for m in sorted(made)]), reasons


def _arm(trial: Trial, setting: Setting, built: Built) -> tuple[Setting, arms.Arm]:
    if set(trial) != set(FIELDS):
        raise ValueError(f"trials: fields {sorted(trial)}; allowed: {', '.join(FIELDS)}")
    of_trial = dataclasses.replace(setting, **{name: trial[name] for name in ("lr", "schedule", "every")})
    check(of_trial)
    return of_trial, arms.single(trial["policy"], of_trial, built)


def columns(trial: Trial, setting: Setting) -> dict[str, Any]:
    """The trial's number and its whole configuration, for its row in a table."""
    shared = {
        name: " ".join(map(str, value)) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(setting).items()
        if name not in (*NOT_IN_ROWS, *FIELDS)
    }
    return {name: trial[name] for name in FIELDS} | shared
