"""The training that `faults` kills, signals and starves: an experiment's own, saved after each chunk, without tables.

python -m experiments.faults.victim --out DIR
python -m experiments.faults.victim --resume DIR
"""

from dataclasses import dataclass

from experiments.harness import arms as ar
from experiments.harness import cli, report, run_folder
from experiments.harness import plan as pl
from experiments.harness import plan as pla
from experiments.harness.plan import Experiment, Plan
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
    """The arms asked for."""
    return ar.parse(config.arms, config, built)


RUN = Experiment("faults_run", Config, arms_of)


def prepare(config: Config) -> list[Plan]:
    """All that is decided before the first step; ValueError before any compilation."""
    return pla.prepare(RUN, config)


def execute(plans: list[Plan]) -> None:
    """Train."""
    pl.each(plans, execute_one)


def execute_one(plan: Plan) -> None:
    """Train, and note what it took."""
    _, trained = pl.train(plan, report.console())
    last = run_folder.read_json(plan.folder / "status.json")
    facts = {key: last[key] for key in ("epochs", "saved", "seconds_saving") if key in last}
    run_folder.write_status(plan.folder, "finished", seconds_training=round(trained, 1), **facts)


def begin(plan: Plan) -> Progress:
    """The population before its first epoch."""
    member_M = population.stack(ar.members(plan.arms, plan.config, plan.built))
    return population.to_host(population.start_all(plan.built.learner, member_M.origin))


if __name__ == "__main__":
    cli.run_plan(RUN.name, Config, prepare, execute, __doc__ or "")
