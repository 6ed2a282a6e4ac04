"""The comparisons of `identity`, and the results expected of them, fixed before any is made."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from experiments.harness import run_folder
from experiments.harness.experiment import Decisions
from experiments.harness.setting import Setting, check
from experiments.harness.source import Source, open_source
from experiments.identity.lowerings import CHOSEN, LOWERINGS, RUN, use_two_devices
from lstm_sched._names import check_name
from lstm_sched.data.series import BUNDLED

PARTITIONS = (1, 2, 5, 10, 100)  # epochs in each fit
HERE, FILE, PROCESS, KILLED = "in process", "through a checkpoint", "in a new process", "after SIGKILL"
TRANSPORTS = (HERE, FILE, PROCESS, KILLED)
SMOOTH = 1e-5  # largest difference of a weight across lowerings
FLIPS = 10  # signs that rounding may flip in optimizers that move by the sign alone; each costs 2 rates


@dataclass(frozen=True)
class Config:
    """What can be asked for."""

    data: str = "weather"
    """a bundled series: sunspots, weather, co2, glucose, stocks, air"""
    epochs: int = 10
    """epochs of every training; fits have 1, 2, 5, 10 and 100 of them, where that divides the training"""
    hidden: int = 16
    """units in the LSTM layer"""
    optimizers: tuple[str, ...] = tuple(CHOSEN)
    """optimizers to train with, among sgd, momentum, rmsprop, adam, adamw, lion, schedule-free"""
    full: bool = False
    """compare every combination, instead of a design in which every level of every factor has its turn"""
    out: str | None = None
    """folder for the results, new or empty; by default a new one under runs/"""
    resume: str | None = None
    """folder of an interrupted run: continue it, with the configuration stored in it"""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One training in fits: their length, and how the state gets from one to the next."""

    every: int  # epochs in each fit
    optimizer: str
    transport: str
    lowering: str

    @property
    def group(self) -> str:
        """The name of the cell's group; cells of a group share their compiled programs."""
        return f"{self.optimizer}, {self.lowering}"

    def __str__(self) -> str:
        return f"{self.group}, {self.transport}, fits of {self.every}"


@dataclass(frozen=True, kw_only=True)
class Design(Decisions):
    """The decisions made before the first step."""

    setting: Setting
    source: Source
    cells: list[Cell]


def levels(epochs: int) -> list[int]:
    """The numbers of epochs in each fit that divide the training."""
    return [n for n in PARTITIONS if epochs % n == 0]


def cover(epochs: int) -> list[Cell]:
    """Every level of every factor at least once, and every optimizer and lowering in fits of one epoch.

    The second half costs little: it uses the compiled programs of the first.
    """
    fits, processes = levels(epochs), (KILLED, PROCESS)  # another process is the slowest: each is used once
    cells = [
        Cell(
            every=fits[(i + 1 + i // len(fits)) % len(fits)],
            optimizer=optimizer,
            transport=processes[i] if i < len(processes) else FILE,
            lowering=LOWERINGS[(i + 1) % len(LOWERINGS)],
        )
        for i, optimizer in enumerate(CHOSEN)
    ]
    short = [dataclasses.replace(cell, every=1, transport=HERE) for cell in cells]
    return list(dict.fromkeys([*cells, *short]))


def every_cell(epochs: int) -> list[Cell]:
    """All combinations; those that share compiled programs follow each other."""
    combined = product(CHOSEN, LOWERINGS, levels(epochs), TRANSPORTS)
    return [
        Cell(every=every, optimizer=optimizer, transport=transport, lowering=lowering)
        for optimizer, lowering, every, transport in combined
    ]


def bound(cell: Cell, rate: float) -> float:
    """The largest difference that rounding may make between a weight and that of the same training in the run scan."""
    if cell.lowering == RUN:
        return 0.0
    return FLIPS * 2 * rate if cell.optimizer == "lion" else SMOOTH


def expectation(cell: Cell, rate: float) -> str:
    """The bits allowed to differ from one fit in the same lowering, and the distance from the run scan."""
    return "0 bits" if cell.lowering == RUN else f"0 bits; ≤ {bound(cell, rate):g}"


def decide(config: Config, stored: Mapping[str, Any]) -> list[Design]:
    """Check, read the data, and fix the expectations. ValueError before any compilation."""
    check_name("data", config.data, BUNDLED)
    for name in config.optimizers:
        check_name("optimizers", name, CHOSEN)
    setting = Setting(data=(config.data,), epochs=config.epochs, hidden=config.hidden)
    check(setting)
    use_two_devices()
    source = open_source(setting, config.data)
    cells = every_cell(config.epochs) if config.full else cover(config.epochs)
    cells = [cell for cell in cells if cell.optimizer in config.optimizers]
    rows = [dataclasses.asdict(cell) | {"expected": expectation(cell, setting.lr)} for cell in cells]
    facts = {
        "data": source.digest,
        "setting": dataclasses.asdict(setting),
        "expected": {str(cell): expectation(cell, setting.lr) for cell in cells},
    }
    digest = run_folder.digest({"data": source.digest, "cells": rows})
    return [Design(config=config, facts=facts, digest=digest, setting=setting, source=source, cells=cells)]
