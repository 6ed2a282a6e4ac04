"""What report.html says of `monitoring`."""

from collections.abc import Mapping
from typing import Any

from experiments import arms as A
from experiments import evidence, page, provenance
from experiments import monitoring_report as report
from experiments.outcome import Results
from experiments.plan import Plan


def sections(
    plan: Plan, results: Results, stored: Mapping[str, Any], environment: Mapping[str, Any]
) -> list[page.Section]:
    """The page of a finished run."""
    picture = page.figure_of(
        plan.folder,
        "Left: epochs run against patience, in one fit and in a loop. Right: change of test loss against patience.",
        "Left: epochs that each training ran before it stopped, a dot a seed, and their median; squares: the loop that "
        "hands the callback to every fit. Right: change of test loss against one fit without a rule, with the deciding "
        "interval; inside the grey band it is within the margin.",
    )
    terms = [
        ("stopping", "Keras’ EarlyStopping on the validation loss, restore_best_weights=True."),
        ("plateau", f"Keras’ ReduceLROnPlateau on the validation loss, factor {plan.config.factor:g}."),
        ("patience", "Epochs without improvement after which the rule acts."),
        ("one fit", "All epochs in one call of fit."),
        ("kept", "A loop of fits whose counters live on, as in a hand-written loop."),
        ("reset", "A loop of fits that is handed the callback each time: Keras resets it when a fit begins."),
        ("initial_epoch", "The same with the right epoch index."),
    ]
    shown = [arm for arm in plan.arms if not arm.equals or arm.name == A.REFERENCE]
    fits = plan.config.epochs // plan.config.every
    return [
        page.Section(
            f"Does a loop of {fits} fits buy early stopping, or plateau decay?",
            page.paragraph("What each rule does in one fit, and what is left of it in a loop of fits.")
            + page.terms(terms),
        ),
        page.Section("The answer", page.paragraph(report.answer(plan.arms, results), lead=True)),
        page.Section("The picture", picture),
        page.Section(
            "What each rule does",
            page.table(report.COLUMNS, report.measured(plan.arms, results), report.TITLE),
        ),
        page.Section(
            "Which run each loop is",
            page.table(report.SAME, report.proved(plan.arms, results), "Weights after the last epoch"),
        ),
        page.Section("Forecasts that need no network", evidence.baselines(plan.config, results)),
        page.Section("Every training", evidence.every_training(shown, results)),
        page.Section("The data and its split", provenance.data(plan.config, plan.source)),
        page.Section("Configuration and versions", provenance.configuration(stored, environment)),
        page.Section("How to get this again", provenance.again(plan.folder, stored, environment)),
        page.Section("Raw files", provenance.raw_files(plan.folder)),
    ]
