"""The report of `refit`: the question and its answer, effects, checks, data and settings."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from experiments.harness import arms as ar
from experiments.harness import evidence, outcome, wording
from experiments.harness.arms import Arm
from experiments.harness.data_section import data_section
from experiments.harness.document import EVERYWHERE, Block, Document, Figure, Lead, Section, Table, Terms
from experiments.harness.outcome import METRICS, Results
from experiments.harness.plan import Plan
from experiments.harness.setting import Setting
from experiments.refit import sensitivity
from experiments.refit.sensitivity import Checked
from experiments.refit.tuning import Grid, Swept, Tuned, able
from lstm_sched import stats

FILES = {
    "tuning": "every rate that was tried for each arm",
    "best_rate": "the same comparison with each arm at its own best rate, and a page of its own",
}
CHECKS = {  # columns, and what they mean
    "over test windows, %": "Interval of the change over blocks of test windows, a season long, instead of over seeds.",
    "BCa, %": "Bootstrap interval over seeds; it needs 32 of them.",
    "Wilcoxon p": "Two-sided p of the signed-rank test over seeds.",
    "P(arm < one_fit)": "The fraction of seeds in which the arm’s loss is the lower; a tie counts half.",
    "rms / rms of ulp": "The size of the arm’s changes in single runs, relative to the size of those that follow when "
    "one weight is moved by its smallest step (ulp): about 1 where they are chaos and no more.",
    "same effect as the rate ×": "The factor on one_fit’s learning rate that changes its loss after the last epoch as "
    "much as the arm does; it needs the ruler of rates (--full).",
    "disagrees": "The checks that would decide otherwise than the verdict.",
}


def document(plan: Plan, results: Results, heading: str = "", more: Sequence[Section] = ()) -> Document:
    """The report of one comparison.

    Args:
        plan: the decisions for this comparison.
        results: its results.
        heading: the name of this comparison, if a run has two.
        more: sections that come after the effects.
    """
    arms, setting = plan.arms, plan.config
    checked = sensitivity.check(arms, results, plan.source.period)
    before = f"{heading}. " * bool(heading)
    sections = [
        Section(
            title=question(setting),
            blocks=[Lead(text=f"{before}{wording.answer(arms, results, setting.window)}")],
            places=EVERYWHERE,
        ),
        Section(title="What is compared", blocks=[*_compared(plan)]),
        Section(title="The picture", blocks=[_picture(plan, results, before)]),
        Section(title="Effects", blocks=evidence.effects(arms, results, plan.aliases), places=EVERYWHERE),
        *more,
        evidence.controls(arms, results),
        Section(title="Sensitivity checks", blocks=_checks(arms, checked)),
        evidence.baselines(setting, results),
        evidence.every_training(arms, results),
        data_section(setting, plan.source),
        evidence.dropped(arms),
    ]
    broken = outcome.void(arms, results)
    return Document(
        sections=sections,
        tables={
            "results.csv": outcome.table(results, plan.digest),
            "effects.csv": sensitivity.table(arms, results, checked, plan.digest),
        },
        files=FILES,
        void=f"void: {wording.listed(broken)} must be another run bit for bit, and is not" if broken else "",
    )


def question(setting: Setting) -> str:
    """The question that a run of this setting answers."""
    fits = setting.epochs // setting.every
    return (
        f"How does an LSTM trained with {fits} iteration{'s' * (fits > 1)} of fit(epochs={setting.every}) "
        f"compare with a single fit(epochs={setting.epochs})?"
    )


def _compared(plan: Plan) -> list[Block]:
    """A section that explains the terms of the page."""
    family, most = ar.family(plan.arms), max(arm.seeds for arm in plan.arms)
    introduction = (
        "A network can be trained by one call of fit, or by a loop of shorter ones. The two differ only by what is "
        "dropped from the state of training between two calls: the optimizer’s memory, the clock of a schedule, "
        "the order of the data. This page shows how dropping it changes the loss on data never trained on."
    )
    terms = {
        "one_fit": "The reference: all epochs in one call. Everything else is compared with it.",
        "arm": "One way of training. All arms of a seed start from the same weights and see the same batches and "
        "noise, so that they differ only by what they drop.",
        "boundary": "The moment between two fits, at which an arm drops what it drops.",
        "m, v, count": "Adam’s memory: running means of the gradient and of its square, and the number of updates so "
        "far, which corrects the bias of the two.",
        "seed": f"One pair of trainings to compare; an arm has up to {most} here.",
        stats.Metric.END: "Test loss of the weights that the last epoch left: the question as it was asked.",
        stats.Metric.SELECTED: "Test loss of the weights at the epoch of lowest validation loss: those that one would "
        "keep.",
        "interval": f"Where the mean change over seeds may lie: paired-t, at level 1 − {stats.ALPHA:g}/"
        f"{max(1, family)}, as {family} comparisons are decided together. The verdict is read from it alone.",
        "margin": f"{stats.percent(stats.DELTA):.0f} % of the loss, set before the run. An interval that lies inside "
        "it is “within” it; one that neither lies inside nor excludes 0 is “too wide to call”.",
        "aa, ulp": "Controls: one_fit again, which must give the same bits; and one_fit with one of its first weights "
        "moved by the smallest step of its number format.",
        "rate_x2": "A control: one_fit at twice the learning rate, a change that a run should be able to see.",
    }
    names = {name for arm in plan.arms for name in (arm.name, "rate_x2")}
    shown = tuple(
        (term, text) for term, text in terms.items() if term in names or not term.startswith("rate")
    )
    return [introduction, Terms(pairs=shown)]


def _picture(plan: Plan, results: Results, before: str) -> Figure:
    sd = wording.listed(list(wording.spread(results).values()))
    seeds = ", ".join(f"{arm.name} {arm.seeds}" for arm in plan.arms)
    caption = (
        f"{before}Left, on a log scale: validation loss, mean and standard deviation over seeds. Right: change of test "
        "loss relative to one_fit; inside the grey band it is within the margin of 1 %. Filled: after the last epoch. "
        f"Hollow: at its best epoch. A diamond: the same bits. n: {seeds}. Paired-t intervals at level "
        f"{wording.level(results)} (controls: 95 %). Between-seed sd of one_fit: {sd or 'none'} (end, selected)."
    )
    shows = (
        "Left: validation loss against epoch for each arm. Right: change of test loss relative to one_fit with "
        "intervals and verdicts; the same numbers stand in the tables below."
    )
    return Figure(draw=partial(_draw, plan, results), name="figure", shows=shows, caption=caption)


def _draw(plan: Plan, results: Results) -> Any:
    from experiments.refit import figure  # no measurement waits for matplotlib

    return figure.draw(plan.config, plan.arms, results)


def _checks(arms: Sequence[Arm], checked: Checked) -> list[Block]:
    """The section with checks on the same pairs."""
    rows = []
    for arm in arms:
        for metric in METRICS:
            if arm.control or arm.is_identity or (arm.name, metric) not in checked:
                continue
            made = checked[arm.name, metric]
            rate = _number(made.equal_rate) if made.equal_rate else made.why_not
            numbers = map(_number, (made.checks.wilcoxon, made.checks.superiority, made.floor))
            cells = (
                _interval(made.block_lo, made.block_hi),
                _interval(made.checks.bca_lo, made.checks.bca_hi),
                *numbers,
                rate if metric == stats.Metric.END else "–",  # the ruler measures the last epoch alone
                made.checks.disagrees or "–",
            )
            rows.append((arm.name, metric, *cells))
    if not rows:
        return ["No arm can differ from one_fit, so there is nothing to check."]
    title = "Checks at the level of the verdicts; –: cannot be made, or none"
    return [
        "None of these changes a verdict.",
        Table(title=title, columns=("arm", "metric", *CHECKS), rows=rows),
        Terms(pairs=tuple(CHECKS.items())),
    ]


def _number(x: float) -> str:
    return f"{x:.3g}" if math.isfinite(x) else "–"


def _interval(lo: float, hi: float) -> str:
    ends = ", ".join(f"{stats.percent(x):+.1f}" for x in (lo, hi)).replace("-", "−")
    return f"[{ends}]" if math.isfinite(lo) else "–"


def documents(
    plan: Plan, same: Results, best_plan: Plan, best: Results, how: Grid | Swept, tuned: Tuned
) -> list[Document]:
    """The reports of a run that compares twice: of the comparison at best rates, and of the whole."""
    rates = ", ".join(f"{arm} {rate:g}" for arm, rate in tuned.rates.items())
    heading = f"Each arm at its own best rate: {rates}; all others follow {ar.REFERENCE}"
    at_best = document(best_plan, best, heading)
    quiet = [
        dataclasses.replace(section, places=section.places - {"terminal"}) for section in at_best.sections
    ]
    more = [
        Section(
            title="Effects at each arm’s own best rate",
            blocks=[
                Lead(text=changed(plan.arms, same, best, tuned.rates, plan.config.lr)),
                *(f"{note}." for note in tuned.notes),
                f"{heading}. What a boundary drops changes how far the next steps go, and so does the learning rate: "
                "a difference that is there at the same rate and gone at best rates was one of step size. The folder "
                "best_rate has a page of its own.",
                wording.answer(best_plan.arms, best, plan.config.window),
                *evidence.effects(best_plan.arms, best, best_plan.aliases),
            ],
            places=EVERYWHERE,
        ),
        Section(title="How the rates were chosen", blocks=_chosen(how, tuned)),
    ]
    whole = document(plan, same, f"Same rate, {plan.config.lr:g}, in every arm", more)
    tables = {**whole.tables, **({"tuning/rates.csv": tuned.tried} if tuned.tried else {})}
    return [
        dataclasses.replace(at_best, sections=quiet, folder="best_rate"),
        dataclasses.replace(whole, tables=tables),
    ]


def changed(arms: Sequence[Arm], same: Results, best: Results, rates: Mapping[str, float], lr: float) -> str:
    """How the results at the best rates differ from those at the same rate."""
    losses = [
        [float(np.mean(results.loss[metric][results.rows(ar.REFERENCE)])) for metric in METRICS]
        for results in (same, best)
    ]
    moves = [f"from {a:.4f} to {b:.4f} {metric}" for a, b, metric in zip(*losses, METRICS, strict=True)]
    text = (
        f"With each arm at its own best rate, that of {ar.REFERENCE} goes from {lr:g} to {rates[ar.REFERENCE]:g}, and "
        f"its test loss {wording.listed(moves)}."
    )
    treated = [arm for arm in able(arms) if arm.name != ar.REFERENCE]
    if not treated:
        return f"{text} No arm can differ from it."
    moved = sum(
        same.effects[arm.name][metric].verdict != best.effects[arm.name][metric].verdict
        for arm in treated
        for metric in METRICS
    )
    count = len(treated) * len(METRICS)
    verdicts = [
        f"{arm.name}, at the same rate: {wording.verdict(arm, same)}; at best rates ({rates[arm.name]:g}): "
        f"{wording.verdict(arm, best)}."
        for arm in treated
    ]
    return " ".join([text, f"{moved} of {count} verdicts change{'s' * (moved == 1)}.", *verdicts])


def _chosen(how: Grid | Swept, tuned: Tuned) -> list[Block]:
    """The section on the rule for the best rate, and every rate that was tried."""
    rule = f"The rule: {how.rule}. Seeds {how.seeds[0]} to {how.seeds[-1]}, none of them reported."
    if isinstance(how, Grid):
        columns = tuple(tuned.tried[0])
        rows = [tuple(row.values()) for row in tuned.tried]
        return [rule, Table(title="Every rate that was tried", columns=columns, rows=rows)]
    rows = [
        (arm, f"{rate:g}", ", ".join(f"{x:g}" for x in how.tried[arm])) for arm, rate in tuned.rates.items()
    ]
    table = Table(title=f"From the sweep {how.sweep}", columns=("arm", "best rate", "tried"), rows=rows)
    return [rule, table]
