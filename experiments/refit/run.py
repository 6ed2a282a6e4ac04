"""What do the frameworks' idioms do between two fits, and does it matter?

    python -m experiments.refit            LSTM(50) on monthly sunspots, 100 epochs, 62 trainings
    python -m experiments.refit --quick    a look at it, on sunspots in under 30 s

Runtime: about 4 minutes on two cores. Expected: a loop of fits that drops nothing is the same run, bit for bit;
re-building the optimizer, or dropping its moments, is not, and whether it helps depends on when one looks.
"""

import dataclasses
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from experiments.harness import experiment, outcome, run_folder
from experiments.harness.arms import ALLOWED
from experiments.harness.data_section import show_data
from experiments.harness.document import Document
from experiments.harness.experiment import Experiment, Workplace
from experiments.harness.outcome import Results
from experiments.refit import pooled, report, tuning
from experiments.refit.config import Config, RefitPlan, decide
from experiments.refit.tuning import Tuned
from lstm_sched.data.series import Series

DESCRIPTION = f"{__doc__}\n{textwrap.fill('Arms: ' + ', '.join(ALLOWED) + '.', 110)}"


@dataclass(frozen=True, kw_only=True)
class Best:
    """The comparison at best rates."""

    tuned: Tuned
    plan: RefitPlan
    results: Results


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The results at the same rate, and those at best rates if they are asked for."""

    same: Results
    best: Best | None = None


def measure(plan: RefitPlan, workplace: Workplace) -> Measured:
    """Train all arms; if rates are tuned, tune them before, and train the arms at their best rates after."""
    show_data(workplace.console, plan.config, plan.source)
    if plan.tuning is None:
        return Measured(same=outcome.measure(plan, workplace.folder, workplace.console))
    _stage(workplace, "tuning")
    tuned = tuning.tune(plan, plan.tuning, workplace)
    _stage(workplace, "same rate")
    same = outcome.measure(plan, workplace.folder, workplace.console)
    _stage(workplace, "best rate")
    best_plan = tuning.at_best(plan, tuned.rates)
    with workplace.part("best_rate", best_plan) as inner:
        results = outcome.measure(best_plan, inner.folder, inner.console)
    _stage(workplace, "all")
    return Measured(same=same, best=Best(tuned=tuned, plan=best_plan, results=results))


def _stage(workplace: Workplace, stage: str) -> None:
    run_folder.note_status(workplace.folder, "running", stage=stage)
    if stage != "all":
        workplace.console.print(f"\nStage: {stage}")


def conclude(plan: RefitPlan, measured: Measured) -> list[Document]:
    """One document, or two where rates are tuned."""
    if measured.best is None or plan.tuning is None:
        return [report.document(plan, measured.same)]
    best = measured.best
    return report.documents(plan, measured.same, best.plan, best.results, plan.tuning, best.tuned)


def together(plans: Sequence[RefitPlan], measured: Sequence[Measured]) -> Document:
    """Effects over all series, at the same rate and at best rates."""
    pools = {"pooled.csv": pooled.pool(plans, [series.same for series in measured])}
    best = [series.best for series in measured if series.best is not None]
    if best:
        pools["best_rate/pooled.csv"] = pooled.pool([b.plan for b in best], [b.results for b in best])
    return pooled.document([plan.source.name for plan in plans], pools)


EXPERIMENT = Experiment(
    name="refit", config=Config, decide=decide, measure=measure, conclude=conclude, together=together
)


def main(config: Config | None = None, series: Series | None = None) -> list[Results]:
    """The whole experiment, for Python.

    Args:
        config: by default that of the question.
        series: your own (`lstm_sched.from_arrays(...).series`), in place of the one that `config.data` names.

    Returns:
        The results on each series, at the same rate, whatever is tuned.

    Raises:
        ValueError, TypeError, OSError: for what the command line would refuse, before anything is trained.
    """
    question = dataclasses.replace(EXPERIMENT, decide=partial(decide, series=series))
    measured = experiment.carry_out(question, Config() if config is None else config)
    return [of_series.same for of_series in measured]
