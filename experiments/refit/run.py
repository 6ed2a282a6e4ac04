"""What do the frameworks' idioms do between two fits, and does it matter?

    python -m experiments.refit            LSTM(50) on monthly sunspots, 100 epochs, 62 trainings
    python -m experiments.refit --quick    a look at it, in under 30 s

Runtime: about 4 minutes on two cores. Expected: a loop of fits that drops nothing is the same run, bit for bit;
re-building the optimizer, or dropping its moments, is not, and whether it helps depends on when one looks.
"""

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from experiments.harness import exits, outcome, page, report, run_folder
from experiments.harness import plan as pl
from experiments.harness.page import Section
from experiments.harness.plan import Plan, job_folder
from experiments.refit import pooled, sensitivity, tuning
from experiments.refit.config import Config, prepare
from lstm_sched.data.series import Series


class Compared(NamedTuple):
    """A comparison that has been made and written."""

    plan: Plan
    results: outcome.Results
    beside: Mapping[tuple[str, str], sensitivity.Beside]


def execute(plans: list[Plan]) -> list[outcome.Results]:
    """Every series in turn; several of them are pooled. Results are those at the same rate, whatever is tuned."""
    both = pl.each(plans, execute_both)
    out, places = report.console(), (job_folder(plans), job_folder(plans) / "best_rate")
    for number, (folder, which) in enumerate(zip(places, ("the same rate", "best rates"), strict=True)):
        results = [each[number] for each in both if len(each) > number]
        if len(plans) > 1 and results:
            folder.mkdir(exist_ok=True)
            rows = pooled.pool([plan.source.name for plan in plans], [plan.arms for plan in plans], results)
            if len(both[0]) > 1:
                out.print(f"\nAll series, at {which}:")
            pooled.say(out, folder, rows)
    return [each[0] for each in both]


def execute_one(plan: Plan) -> outcome.Results:
    """Train all members, then compare, write and print."""
    return compare(plan).results


def execute_both(plan: Plan) -> list[outcome.Results]:
    """The comparison at the same rate; where rates are tuned, before it the tuning and after it that at best rates."""
    if plan.tuning is None:
        return [execute_one(plan)]
    from experiments.refit import report as re

    began, out = time.monotonic(), report.console()
    report.say_data(out, plan.config, plan.source)
    stage = "tuning"
    try:
        _note(plan, "running", stage)
        tuned = tuning.tune(plan, out)
        stage = "same rate"
        one = compare(plan._replace(heading=re.same(plan)))
        stage = "best rate"
        _note(plan, "running", stage)
        best = tuning.at_best(plan, tuned.rates)
        other = compare(best._replace(heading=re.best(tuned.rates)))
    except exits.Interrupted:
        _note(plan, "interrupted", stage)
        raise
    said = re.changed(plan.arms, one.results, other.results, tuned, plan.config.lr)
    re.write_markdown(one.plan, other.plan, one.results, other.results, tuned, said)
    write_page(one, re.sections(one.plan, other.plan, other.results, tuned, said))
    for line in (*tuned.notes, said):
        out.print(line, markup=False, style="bold" if line is said else None)
    _note(plan, "finished", "all", seconds=round(time.monotonic() - began, 1))
    return [one.results, other.results]


def _note(plan: Plan, state: str, stage: str, **facts: object) -> None:
    """The state of the whole and its part that is at work, beside what is known of the training in the same folder."""
    file = plan.folder / "status.json"
    last = run_folder.read_json(file) if file.exists() else {}
    known = {name: value for name, value in last.items() if name not in ("state", "updated")}
    run_folder.write_status(plan.folder, state, **(known | {"stage": stage} | facts))


def compare(plan: Plan) -> Compared:
    """Train all members, then compare, write and print."""
    began, console, config = time.monotonic(), report.console(), plan.config
    state_M, trained = pl.train(plan, console, describe=not plan.heading)
    from experiments.refit import figure  # no training waits for matplotlib

    results = outcome.conclude(config, plan.built, plan.arms, plan.folder, state_M)
    stored = run_folder.read_json(plan.folder / "config.json")
    found = sensitivity.beside(plan.arms, results, plan.source.period)
    outcome.write(plan.folder, results, stored["hash"])
    sensitivity.write(plan.folder, plan.arms, results, found, stored["hash"])
    figure.draw(plan.folder, config, plan.arms, results, stored["command"], plan.heading)
    table = report.in_markdown(config, plan.arms, results, plan.heading)
    (plan.folder / "table.md").write_text(table, encoding="utf-8")
    compared = Compared(plan, results, found)
    write_page(compared)
    report.say_answer(console, config, plan.arms, plan.aliases, results, plan.heading)
    pl.finish(plan, console, began, trained, outcome.void(plan.arms, results))
    return compared


def write_page(compared: Compared, more: Sequence[Section] = ()) -> None:
    """report.html; `more` comes after the effects."""
    from experiments.refit import page as pa

    plan, results, found = compared
    stored, environment = (run_folder.read_json(plan.folder / f"{name}.json") for name in ("config", "env"))
    what = (plan.folder, plan.config, plan.source, plan.arms, plan.aliases, results, found)
    page.write(plan.folder, pa.sections(*what, stored, environment, plan.heading, more))


def main(config: Config | None = None, series: Series | None = None) -> list[outcome.Results]:
    """The whole job, for Python, one result a series; ValueError for what the command line would refuse.

    `series` is your own (`lstm_sched.from_arrays(...).series`), in place of the one that `config.data` names.
    """
    return execute(prepare(Config() if config is None else config, series))
