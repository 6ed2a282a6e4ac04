"""The training that `faults` kills, signals and starves: an experiment's own, saved after each chunk, without tables.

python -m experiments.faults.victim --out DIR
python -m experiments.faults.victim --resume DIR
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.harness import arms as ar
from experiments.harness import cli, training
from experiments.harness import plan as pl
from experiments.harness.document import Document
from experiments.harness.experiment import Experiment, Workplace
from experiments.harness.plan import Plan
from experiments.harness.setting import Built, Setting
from lstm_sched import population
from lstm_sched.members import Progress


@dataclass(frozen=True)
class Config(Setting):
    """A population that trains for seconds, over many chunks of epochs."""

    arms: tuple[str, ...] = ("one_fit", "keras_recompile")
    """policies, as in refit"""
    window: int = 12
    hidden: int = 4
    batch: int = 256
    epochs: int = 400
    seeds: int = 2
    devices: int | None = 1
    save_every: float = 0.0


def arms_of(config: Config, built: Built) -> tuple[list[ar.Arm], dict[str, str]]:
    """The arms that the configuration names."""
    return ar.parse(config.arms, config, built)


def decide(config: Config, stored: Mapping[str, Any]) -> list[Plan]:
    """The plan of the one series."""
    return pl.decide(Plan, config, arms_of)


def measure(plan: Plan, workplace: Workplace) -> None:
    """Train."""
    training.of_plan(plan, workplace.folder, workplace.console)


def conclude(plan: Plan, results: None) -> list[Document]:
    """No documents: the faults read the run's files."""
    return []


EXPERIMENT = Experiment(
    name="faults.victim", config=Config, decide=decide, measure=measure, conclude=conclude
)


def begin(plan: Plan) -> Progress:
    """The population before its first epoch."""
    member_M = population.stack(ar.members(plan.arms, plan.config, plan.built))
    return population.to_host(population.start_all(plan.built.learner, member_M.origin))


if __name__ == "__main__":
    cli.run(EXPERIMENT, __doc__ or "")
