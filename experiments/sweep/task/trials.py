"""Cells of a sweep, each one complete training, as members of a population and as rows of a table.

A cell is plain data: {"number", "lr", "schedule", "policy", "every", "seed"}. Letters: M cells.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.harness import arms
from experiments.harness.setting import WHERE, Built, Setting, check
from experiments.sweep.task.halving import Cell, configuration
from lstm_sched.members import Member, align_redraw, make_origin

FIELDS = ("number", "lr", "schedule", "policy", "every", "seed")
APART = (*WHERE, "seeds")  # fields that no result of a cell depends on


def members(cells: Sequence[Cell], config: Setting, built: Built) -> tuple[list[Member], list[str]]:
    """A member for each cell that can be run, in their order, and of each cell why it cannot be; "" where it can."""
    origins = {seed: make_origin(built.learner, seed) for seed in sorted({cell["seed"] for cell in cells})}
    places: dict[tuple[Any, ...], list[int]] = {}
    for m, cell in enumerate(cells):
        places.setdefault(configuration(cell), []).append(m)
    made: dict[int, Member] = {}
    why = [""] * len(cells)
    for same in places.values():
        try:
            setting, arm = _arm(cells[same[0]], config, built)
            found = arms.members_of(arm, setting, built, [origins[cells[m]["seed"]] for m in same])
        except ValueError as e:
            for m in same:
                why[m] = str(e)
        else:
            made |= zip(same, found, strict=True)
    return align_redraw([made[m] for m in sorted(made)]), why


def _arm(cell: Cell, config: Setting, built: Built) -> tuple[Setting, arms.Arm]:
    unknown = set(cell) ^ set(FIELDS)
    if unknown - {"patience"} or cell.get("patience", 0):
        raise ValueError(f"cells: fields {sorted(cell)}; allowed: {', '.join(FIELDS)}")
    setting = dataclasses.replace(config, **{name: cell[name] for name in ("lr", "schedule", "every")})
    check(setting)
    return setting, arms.single(cell["policy"], setting, built)


def columns(cell: Cell, config: Setting) -> dict[str, Any]:
    """The cell's number and its whole configuration, for its row in a table."""
    static = {name: value for name, value in dataclasses.asdict(config).items() if name not in APART}
    own = {name: cell[name] for name in FIELDS}
    return own | {name: _plain(value) for name, value in static.items() if name not in own}


def _plain(value: Any) -> Any:
    """What a table can hold."""
    if isinstance(value, Mapping):
        raise TypeError(f"{value!r} is no field of a setting")
    return " ".join(map(str, value)) if isinstance(value, tuple) else value
