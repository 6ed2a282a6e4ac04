"""The training that `faults` kills, signals and starves: an experiment's own, saved after each chunk, without tables.

python -m experiments.faults_run --out DIR
python -m experiments.faults_run --resume DIR
"""

from dataclasses import dataclass

from experiments import arms as A
from experiments import command_line, job, plan, record, report
from experiments.plan import Experiment, Plan
from experiments.setting import Built, Setting
from lstm_sched import population
from lstm_sched.member import Progress


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


def arms_of(config: Config, built: Built) -> tuple[list[A.Arm], dict[str, str]]:
    """The arms asked for."""
    return A.parse(config.arms, config, built)


RUN = Experiment("faults_run", Config, arms_of)


def prepare(config: Config) -> list[Plan]:
    """All that is decided before the first step; ValueError before any compilation."""
    return plan.prepare(RUN, config)


def execute(plans: list[Plan]) -> None:
    """Train."""
    job.each(plans, execute_one)


def execute_one(plan: Plan) -> None:
    """Train, and note what it took."""
    _, trained = job.train(plan, report.console())
    last = record.read_json(plan.folder / "status.json")
    facts = {key: last[key] for key in ("epochs", "saved", "seconds_saving") if key in last}
    record.write_status(plan.folder, "finished", seconds_training=round(trained, 1), **facts)


def begin(plan: Plan) -> Progress:
    """The population before its first epoch."""
    member_M = population.stack(A.members(plan.arms, plan.config, plan.built))
    return population.fetch(population.begin_all(plan.built.learner, member_M.origin))


if __name__ == "__main__":
    command_line.run(RUN.name, Config, prepare, execute, __doc__ or "")
