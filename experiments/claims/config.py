"""What a run of `claims` decides and reads before its first step."""

import dataclasses
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from experiments.claims import trainings
from experiments.claims.claims import CLAIMS, HERE
from experiments.claims.results import Call, Refit, Rule, calls, refits, rules
from experiments.harness import run_folder
from experiments.harness.peers import process
from experiments.harness.setting import Built, Setting
from lstm_sched import population

EXPERIMENT = HERE


@dataclass(frozen=True)
class Config:
    """What can be asked for; the trainings themselves are fixed."""

    out: str | None = None
    """folder for the results, new or empty; by default a new one under runs/"""
    runs: str = "runs"
    """where other experiments left their results; the newest of each series are read"""
    seeds: int = 2
    """seeds of each training here: 8 … 7 + n; bits are compared, not means"""
    keras: str | None = None
    """the Python that has Keras, if it is not this one"""
    devices: int | None = None
    """CPU cores (or accelerators) to spread the trainings over; by default all"""


class Plan(NamedTuple):
    """All that is decided, and read, before the first step."""

    config: Config
    folder: Path
    question: tuple[Setting, Built]
    small: tuple[Setting, Built]
    refits: list[Refit]
    rules: list[Rule]
    calls: list[Call]


def prepare(config: Config, question: Setting = trainings.QUESTION, small: Setting = trainings.SMALL) -> Plan:
    """Check everything, read what others measured, make the folder. ValueError before any compilation."""
    if config.seeds < 1:
        raise ValueError(f"seeds: {config.seeds}; allowed: 1 or more")
    runs = Path(config.runs)
    if config.runs != Config.runs and not runs.is_dir():
        raise ValueError(f"runs: {runs} is no folder; allowed: one that holds runs of other experiments")
    process.check_python("keras", config.keras)
    population.use_cores(config.devices)
    question = dataclasses.replace(question, devices=config.devices)
    small = dataclasses.replace(small, devices=config.devices)
    ready = [(setting, trainings.prepare(setting)) for setting in (question, small)]
    measured = refits(runs), rules(runs), calls(runs)
    plan = Plan(config, run_folder.new_folder(config.out, EXPERIMENT), ready[0], ready[1], *measured)
    facts = {
        "read": sorted({x.table.place for x in (*plan.refits, *plan.rules, *plan.calls)}),
        **{name: dataclasses.asdict(getattr(plan, name)[0]) for name in ("question", "small")},
    }
    run_folder.decide(plan.folder, EXPERIMENT, config, facts)
    return plan


def command(name: str, plan: Plan) -> str:
    """What gives the evidence of a claim; – where no experiment does."""
    experiment = CLAIMS[name].experiment
    read: dict[str, list[Any]] = {"refit": plan.refits, "monitoring": plan.rules, "overhead": plan.calls}
    typed = dict.fromkeys(x.table.command for x in read[experiment]) if experiment in read else ()
    if not typed and importlib.util.find_spec(f"experiments.{experiment}"):
        return f"python -m experiments.{experiment}"
    return "; ".join(typed) or "–"
