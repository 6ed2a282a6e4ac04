"""The report of a sweep: the answer, the ranking, the best rate of each policy, and the failures."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from experiments.harness.document import EVERYWHERE, Document, Figure, Lead, Section, Table, Terms
from experiments.harness.experiment import Decisions
from experiments.harness.html_page import flat
from experiments.harness.wording import forecast
from experiments.sweep import ranking as ra
from experiments.sweep import results
from experiments.sweep.ranking import Mean, Ranked, Ranking, text, value
from experiments.sweep.results import Row

MOST = 20  # configurations shown in a ranking; results.csv has all of them
TOP = 8  # configurations on a terminal
TOO_WIDE = ("test at the end", "epochs")  # columns for which a terminal has no room
PROCESSES = 40  # rows of a table; timing.csv has all of them
TERMINAL, PAPER = frozenset({"terminal"}), frozenset({"markdown", "page"})
TIMES = ("task", "state", "trials", "starts", *results.SPENT[:4], "host")
FILES = {
    "results.parquet": "the rows of results.csv with their types",
    "curves.npz": "every epoch of every training: the raw curves",
    "timing.csv": "one row per task: seconds, starts, host and versions",
    "sweep.log": "when each task began, died or ended, and how far all of them were",
    "tasks": "the folder of each task",
    "batches": "the configurations that Optuna chose",
    "optuna.journal": "Optuna's study",
    "submitit": "what SLURM's jobs printed",
}
Baselines = Mapping[int, Mapping[str, Mapping[str, float]]]  # window -> forecast -> part -> loss


@dataclass(frozen=True, kw_only=True)
class Swept:
    """The results of a sweep."""

    rows: Sequence[Row]  # one per trial
    timing: Sequence[Row]  # one per task
    baselines: Baselines


def conclude(decisions: Decisions, swept: Swept) -> Document:
    """The whole report."""
    ranking = ra.rank(swept.rows)
    answer = sentence(ranking, swept.baselines) + results.platforms(swept.timing)
    facts = flat(decisions.facts["data"]["understood"])
    sections = [
        Section(
            title=f"Which of {len(ranking.ranked)} configurations predicts best?", blocks=[terms(ranking)]
        ),
        Section(title="The answer", blocks=[Lead(text=answer)], places=EVERYWHERE),
        Section(title="The picture", blocks=[picture(ranking)]),
        Section(title="Ranking", blocks=[ranking_table(ranking, TOP, TOO_WIDE)], places=TERMINAL),
        Section(title="Ranking", blocks=[ranking_table(ranking, MOST)], places=PAPER),
    ]
    if len({configuration.fields["policy"] for configuration in ranking.ranked}) > 1:
        blocks = [rates_table(ranking)]
        sections.append(Section(title="The best rate of each policy", blocks=blocks, places=EVERYWHERE))
    if ranking.varied:
        blocks = [response_table(ranking, field) for field in ranking.varied]
        sections.append(Section(title="Response to each hyper-parameter", blocks=blocks))
    lost = lost_table(swept.rows)
    sections += [
        Section(title="What went wrong", blocks=[lost], places=EVERYWHERE)
        if lost.rows
        else Section(title="What went wrong", blocks=["Nothing failed or diverged."]),
        Section(title="Forecasts that need no network", blocks=[forecast_table(swept.baselines)]),
        Section(title="Time", blocks=[time_table(swept.timing)]),
        Section(
            title="The data",
            blocks=[Table(title="How the data were understood", columns=("name", "value"), rows=facts)],
        ),
    ]
    tables = {"results.csv": swept.rows, "timing.csv": swept.timing}
    return Document(sections=sections, tables=tables, files=FILES)


def sentence(ranking: Ranking, baselines: Baselines) -> str:
    """The answer."""
    ranked, counts = ranking.ranked, ranking.counts
    states = ", ".join(f"{counts[state]} {state}" for state in ra.STATES if counts[state])
    of = f"Of {len(ranked)} configurations ({sum(counts.values())} trainings: {states})"
    if not ranked or ranked[0].state in ("diverged", "failed"):
        return f"{of} none was trained without harm: there is nothing to rank."
    best = ranked[0]
    seeds = f"{len(best.seeds)} seed{'s' * (len(best.seeds) > 1)}"
    parts = [
        f"{of}, the lowest validation loss is that of {ra.name(best, ranking.varied)}: {interval(best.val)} over "
        f"{seeds}, at epoch {best.best_epoch:g} of {best.epochs_run}; its test loss there is {interval(best.test)}."
    ]
    if close := sum(configuration.val.mean <= best.val.hi for configuration in ranked[1:]):
        parts.append(f"{close} other{'s lie' if close > 1 else ' lies'} inside its interval.")
    if edges := [rate.policy for rate in ra.best_rates(ranking) if rate.edge]:
        parts.append(
            f"The best rate of {', '.join(edges)} is the last one tried on its side: extend the range."
        )
    window = best.fields["window"]
    parts += [
        f"It loses to {forecast(name, window)} ({losses['test']:.4g})."
        for name, losses in baselines.get(window, {}).items()
        if losses["test"] < best.test.mean
    ]
    return " ".join(parts)


def terms(ranking: Ranking) -> Terms | str:
    """A section that explains the terms of the page."""
    if not ranking.ranked:
        return "There are no configurations."
    seeds = sorted({seed for configuration in ranking.ranked for seed in configuration.seeds})
    fields = ", ".join(ranking.varied) or "all fields"
    meanings = {
        "configuration": f"A choice of {fields}; everything else is the same for all.",
        "training": f"A configuration with one seed, from the first epoch to the last; the seeds are {seeds[0]} to "
        f"{seeds[-1]}. Trainings with the same seed start from the same weights, where their shapes agree.",
        "validation": "The lowest validation loss of a training, whichever epoch it was at. Configurations are ranked "
        "by its mean over seeds, taken of logs. The best of many looks better than it is.",
        "test there": "The test loss of the weights at that epoch. It decided nothing here; the seeds that chose a "
        "configuration are those shown, so that a claim about it needs other seeds.",
        "interval": "In brackets: where the mean over seeds may lie, by t at 95 %, not corrected for their number.",
        "pruned": "Stopped by successive halving, since others were better after as many epochs; ranked behind all "
        "that were trained to the end.",
        "policy": "What survives between two fits of a loop, and what is dropped; one_fit has no boundary.",
    }
    return Terms(pairs=tuple(meanings.items()))


def picture(ranking: Ranking) -> Figure:
    """The ranking, drawn."""
    from experiments.sweep import figure  # no measurement waits for matplotlib

    return Figure(
        name="figure",
        draw=partial(figure.draw, ranking),
        shows="The best configurations with intervals; the lowest loss of each policy at each learning rate; the loss "
        "of every configuration against each field. The same numbers are in the tables below.",
        caption=figure.caption(ranking),
    )


def ranking_table(ranking: Ranking, most: int, left_out: Sequence[str] = ()) -> Table:
    """The best configurations, the best first."""
    ranked = ranking.ranked
    rows = [
        {
            "rank": place,
            **{field: value(configuration, field) for field in ranking.varied},
            "n": len(configuration.seeds),
            "validation": interval(configuration.val),
            "test there": interval(configuration.test),
            "test at the end": interval(configuration.test_end),
            "epochs": configuration.epochs_run,
            "state": _state(configuration),
        }
        for place, configuration in enumerate(ranked[:most], start=1)
    ]
    alike = ("epochs",) * (len({configuration.epochs_run for configuration in ranked}) == 1)
    columns = tuple(name for name in (rows[0] if rows else ()) if name not in (*left_out, *alike))
    more = f"; the first {most} of {len(ranked)}, all are in results.csv" * (len(ranked) > most)
    title = f"Configurations by their lowest validation loss, mean over seeds (of logs) [95 %]{more}"
    return Table(title=title, columns=columns, rows=[[row[name] for name in columns] for row in rows])


def _state(configuration: Ranked) -> str:
    if configuration.diverged:
        return f"{configuration.diverged} of {len(configuration.seeds)} diverged"
    return configuration.state


def rates_table(ranking: Ranking) -> Table:
    """One row per policy, at its own best learning rate."""
    others = [field for field in ranking.varied if field not in ("policy", "lr")]
    rows = []
    for rate in ra.best_rates(ranking):
        tried = f"{len(rate.rates)}, {text(rate.rates[0])} to {text(rate.rates[-1])}"
        tried += f"; it is the {rate.edge}: a better one may lie beyond" * bool(rate.edge)
        rows.append(
            (
                rate.policy,
                text(rate.best.fields["lr"]),
                tried,
                *(value(rate.best, field) for field in others),
                len(rate.best.seeds),
                interval(rate.best.val),
                interval(rate.best.test),
            )
        )
    columns = ("policy", "best lr", "rates tried", *others, "n", "validation", "test there")
    return Table(title="Each policy at its own best learning rate", columns=columns, rows=rows)


def response_table(ranking: Ranking, field: str) -> Table:
    """The loss at each value of every field that has more than one value."""
    rows = []
    for response in ra.response(ranking, field):
        exact = response.lo == response.hi
        others = [name for name in ranking.varied if name != field or not exact]
        losses = f"{response.best.val.mean:.4g}", f"{response.median:.4g}"
        rows.append((response.label, response.size, response.lost, *losses, ra.name(response.best, others)))
    columns = (field, "configurations", "diverged or failed", "best validation", "median", "the best has")
    title = f"Validation loss by {field}, whatever the other fields are"
    return Table(title=title, columns=columns, rows=rows)


def lost_table(rows: Sequence[Row]) -> Table:
    """Trainings that diverged or failed, why, and their numbers."""
    alike: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["diverged"]:
            alike.setdefault(("diverged", ""), []).append(row)
        elif row["state"] == "failed":
            alike.setdefault(("failed", " ".join(row["why"].split())), []).append(row)
    lost = []
    for (state, why), several in alike.items():
        rates = sorted({row["lr"] for row in several})
        span = text(rates[0]) if len(rates) == 1 else f"{text(rates[0])} to {text(rates[-1])}"
        why = why or f"a loss is not finite, or far above that of predicting the mean; learning rates {span}"
        count = f"{len(several)} of {len(rows)}"
        lost.append((state, count, numbers([row["number"] for row in several]), why))
    return Table(title="What went wrong", columns=("state", "trainings", "numbers", "why"), rows=lost)


def forecast_table(baselines: Baselines) -> Table:
    """Losses of forecasts that need no network, on each part."""
    parts = ("train", "val", "test")
    rows = [
        (forecast(name, window), window, *(f"{losses[part]:.4g}" for part in parts))
        for window, several in sorted(baselines.items())
        for name, losses in several.items()
    ]
    columns = ("forecast", "window", "train", "validation", "test")
    return Table(title="Loss of the standardised target", columns=columns, rows=rows)


def time_table(timing: Sequence[Row]) -> Table:
    """The time that each task took."""
    rows = [
        [f"{row[name]:.1f}" if isinstance(row[name], float) else row[name] for name in TIMES]
        for row in timing[:PROCESSES]
    ]
    more = f"; the first {PROCESSES} of {len(timing)}, all are in timing.csv" * (len(timing) > PROCESSES)
    return Table(title=f"One row per task{more}", columns=TIMES, rows=rows)


def numbers(trials: Sequence[int]) -> str:
    """Trial numbers in increasing order, with consecutive ones as a range."""
    runs: list[list[int]] = []
    for number in trials:
        if runs and number == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], number]
        else:
            runs.append([number])
    spans = ["–".join(map(str, run)) for run in runs]
    return ", ".join(spans[:6]) + f" and {len(spans) - 6} more" * (len(spans) > 6)


def interval(mean: Mean) -> str:
    """A loss and its interval over seeds, where it has one."""
    if math.isnan(mean.mean):
        return "–"
    return f"{mean.mean:#.4g}" + (f" [{mean.lo:#.4g}, {mean.hi:#.4g}]" if math.isfinite(mean.lo) else "")
