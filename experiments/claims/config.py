"""The flags of `claims`, and what is decided and read before its first step."""

import dataclasses
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.claims import trainings
from experiments.claims.claims import CLAIMS
from experiments.claims.results import Call, Refit, Rule, calls, refits, rules
from experiments.harness.experiment import Decisions
from experiments.harness.peers import process
from experiments.harness.setting import Setting
from experiments.harness.source import open_source
from lstm_sched import population


@dataclass(frozen=True)
class Config:
    """What can be asked for; the trainings themselves are fixed."""

    out: str | None = None
    """folder for the results, new or empty; by default a new one under runs/"""
    resume: str | None = None
    """folder of an interrupted run: continue it, with the configuration stored in it"""
    runs: str = "runs"
    """where other experiments left their results; the newest of each series are read"""
    seeds: int = 2
    """seeds of each training here: 8 … 7 + n; bits are compared, not means"""
    keras: str | None = None
    """the Python that has Keras, if it is not this one"""
    devices: int | None = None
    """CPU cores (or accelerators) to spread the trainings over; by default all"""


@dataclass(frozen=True, kw_only=True)
class Plan(Decisions):
    """The two settings that are trained here, and the results of other experiments that were read."""

    settings: dict[str, Setting]  # by the name of the network
    refits: list[Refit]
    rules: list[Rule]
    calls: list[Call]


def decide(
    config: Config, stored: Mapping[str, Any], settings: Mapping[str, Setting] = trainings.SETTINGS
) -> list[Plan]:
    """Check everything and read the results of other experiments. ValueError before any compilation."""
    if config.seeds < 1:
        raise ValueError(f"seeds: {config.seeds}; allowed: 1 or more")
    runs = Path(config.runs)
    if config.runs != Config.runs and not runs.is_dir():
        raise ValueError(f"runs: {runs} is no folder; allowed: one that holds runs of other experiments")
    process.check_python("keras", config.keras)
    population.use_cores(config.devices)
    settings = {
        name: dataclasses.replace(setting, devices=config.devices) for name, setting in settings.items()
    }
    for setting in settings.values():
        open_source(setting, setting.data[0])
    facts = {name: dataclasses.asdict(setting) for name, setting in settings.items()}
    read = {"refits": refits(runs), "rules": rules(runs), "calls": calls(runs)}
    return [Plan(config=config, facts=facts, settings=settings, **read)]


def command(name: str, plan: Plan) -> str:
    """The command that gives the evidence of a claim; – where no experiment does."""
    experiment = CLAIMS[name].experiment
    read: dict[str, list[Any]] = {"refit": plan.refits, "monitoring": plan.rules, "overhead": plan.calls}
    typed = dict.fromkeys(result.table.command for result in read.get(experiment, ()))
    if not typed and importlib.util.find_spec(f"experiments.{experiment}"):
        return f"python -m experiments.{experiment}"
    return "; ".join(typed) or "–"
