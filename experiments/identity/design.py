"""What `identity` compares, and what is expected of each comparison before any of them is made."""

import dataclasses
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

from experiments.harness import run_folder
from experiments.harness.setting import Setting, check
from experiments.harness.source import Source, open_source
from experiments.identity.lowerings import CHOSEN, LOWERINGS, RUN, use_two_devices
from lstm_sched._names import check_name
from lstm_sched.data.series import BUNDLED

EXPERIMENT = "identity"
PARTITIONS = (1, 2, 5, 10, 100)  # epochs in each fit
HERE, FILE, PROCESS, KILLED = "in process", "through a checkpoint", "in a new process", "after SIGKILL"
TRANSPORTS = (HERE, FILE, PROCESS, KILLED)
SMOOTH = 1e-5  # largest difference of a weight across lowerings
FLIPS = 10  # signs that rounding may turn, where an optimizer moves by the sign alone: 2 rates each


@dataclass(frozen=True)
class Config:
    """What can be asked for."""

    data: str = "weather"
    """a bundled series: sunspots, weather, co2, glucose, stocks, air"""
    epochs: int = 10
    """epochs of every training; fits have 1, 2, 5, 10 and 100 of them, where that divides"""
    hidden: int = 16
    """units in the LSTM layer"""
    optimizers: tuple[str, ...] = tuple(CHOSEN)
    """of sgd, momentum, rmsprop, adam, adamw, lion, schedule-free those whose trainings are made"""
    full: bool = False
    """every combination, instead of a design in which every level of every factor has its turn"""
    out: str | None = None
    """folder for the results, new or empty; by default a new one under runs/"""


class Cell(NamedTuple):
    """One training in fits, however its state gets from one to the next."""

    every: int  # epochs in each fit
    optimizer: str
    transport: str
    lowering: str


class Plan(NamedTuple):
    """All that is decided before the first step."""

    config: Config
    folder: Path
    setting: Setting
    source: Source
    cells: list[Cell]


def levels(epochs: int) -> list[int]:
    """Epochs in each fit, of those that divide the training."""
    return [n for n in PARTITIONS if epochs % n == 0]


def cover(epochs: int) -> list[Cell]:
    """Every level of every factor at least once, and every optimizer and lowering in fits of one epoch.

    The second half costs little: it has the compiled programs of the first.
    """
    fits, away = levels(epochs), (KILLED, PROCESS)  # a process is the dearest: once each
    cells = [
        Cell(
            fits[(i + 1 + i // len(fits)) % len(fits)],
            optimizer,
            away[i] if i < len(away) else FILE,
            LOWERINGS[(i + 1) % len(LOWERINGS)],
        )
        for i, optimizer in enumerate(CHOSEN)
    ]
    return list(dict.fromkeys([*cells, *(Cell(1, c.optimizer, HERE, c.lowering) for c in cells)]))


def every_cell(epochs: int) -> list[Cell]:
    """All combinations, an optimizer after the other, so that each program is compiled once."""
    combined = product(CHOSEN, LOWERINGS, levels(epochs), TRANSPORTS)
    return [Cell(every, optimizer, transport, lowering) for optimizer, lowering, every, transport in combined]


def bound(cell: Cell, rate: float) -> float:
    """The largest difference of a weight from the run scan of the same training that rounding may make."""
    if cell.lowering == RUN:
        return 0.0
    return FLIPS * 2 * rate if cell.optimizer == "lion" else SMOOTH


def expectation(cell: Cell, rate: float) -> str:
    """Of the bits from one fit in the same lowering, and of the weights from one in the run scan."""
    return "0 bits" if cell.lowering == RUN else f"0 bits; ≤ {bound(cell, rate):g}"


def prepare(config: Config) -> Plan:
    """Check, read the data, write down what is expected, make the folder. ValueError before any compilation."""
    check_name("data", config.data, BUNDLED)
    for name in config.optimizers:
        check_name("optimizers", name, CHOSEN)
    setting = Setting(data=(config.data,), epochs=config.epochs, hidden=config.hidden)
    check(setting)
    use_two_devices()
    source = open_source(setting, config.data)
    designed = every_cell(config.epochs) if config.full else cover(config.epochs)
    cells = [cell for cell in designed if cell.optimizer in config.optimizers]
    plan = Plan(config, run_folder.new_folder(config.out, EXPERIMENT), setting, source, cells)
    decided = {
        "data": source.digest,
        "cells": [cell._asdict() | {"expected": expectation(cell, setting.lr)} for cell in cells],
    }
    facts = {"setting": dataclasses.asdict(setting), **decided, "hash": run_folder.digest(decided)}
    run_folder.decide(plan.folder, EXPERIMENT, config, facts)
    return plan
