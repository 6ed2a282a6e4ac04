"""Cells of a sweep, each one complete training, as members of a population and as rows of a table.

A cell is plain data: {"number", "lr", "schedule", "policy", "every", "seed"}. Letters: M cells.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from experiments import arms as A
from experiments.halving import Cell
from experiments.setting import Built, Setting, check
from lstm_sched.member import Member, originate

FIELDS = ("number", "lr", "schedule", "policy", "every", "seed")
WHERE = ("out", "resume", "devices", "layout", "save_every", "seeds")  # fields that no result depends on


def members(cells: Sequence[Cell], config: Setting, built: Built) -> tuple[list[Member], list[str]]:
    """A member for each cell that can be run, in their order, and of each cell why it cannot be; "" where it can."""
    made: list[Member] = []
    why: list[str] = []
    arms: dict[tuple[Any, ...], tuple[Setting, A.Arm] | str] = {}
    origins = {seed: originate(built.learner, seed) for seed in sorted({cell["seed"] for cell in cells})}
    for cell in cells:
        kind = tuple(cell[name] for name in ("lr", "schedule", "policy", "every"))
        if kind not in arms:
            try:
                arms[kind] = _arm(cell, config, built)
            except ValueError as e:
                arms[kind] = str(e)
        found = arms[kind]
        if isinstance(found, str):
            why.append(found)
        else:
            setting, arm = found
            made += A.members_of(arm, setting, built, [origins[cell["seed"]]])
            why.append("")
    return made, why


def _arm(cell: Cell, config: Setting, built: Built) -> tuple[Setting, A.Arm]:
    unknown = set(cell) ^ set(FIELDS)
    if unknown - {"patience"} or cell.get("patience", 0):
        raise ValueError(f"cell {cell['number']}: fields {sorted(cell)}; allowed: {', '.join(FIELDS)}")
    setting = dataclasses.replace(config, **{name: cell[name] for name in ("lr", "schedule", "every")})
    check(setting)
    return setting, A.single(cell["policy"], setting, built)


def columns(cell: Cell, config: Setting) -> dict[str, Any]:
    """The cell's number and its whole configuration, for its row in a table."""
    static = {name: value for name, value in dataclasses.asdict(config).items() if name not in WHERE}
    own = {name: cell[name] for name in FIELDS}
    return own | {name: _plain(value) for name, value in static.items() if name not in own}


def _plain(value: Any) -> Any:
    """What a table can hold."""
    if isinstance(value, Mapping):
        raise TypeError(f"{value!r} is no field of a setting")
    return " ".join(map(str, value)) if isinstance(value, tuple) else value
