"""What report.html says of the main job: question, answer, evidence, data, configuration, and how to get it again."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.harness import arms as ar
from experiments.harness import evidence, page, wording
from experiments.harness import page as pa
from experiments.harness.outcome import Results
from experiments.harness.page import Section
from experiments.harness.setting import Setting
from experiments.harness.source import Source
from experiments.refit.sensitivity import Beside
from lstm_sched import stats


def sections(
    folder: Path,
    setting: Setting,
    source: Source,
    arms: Sequence[ar.Arm],
    aliases: Mapping[str, str],
    results: Results,
    found: Mapping[tuple[str, str], Beside],
    stored: Mapping[str, Any],
    environment: Mapping[str, Any],
    heading: str = "",
    more: Sequence[Section] = (),
) -> list[Section]:
    """The page of a finished run; `stored` is its config.json and `environment` its env.json.

    `heading` says which of its two comparisons this is, where it has two; `more` comes after the effects.
    """
    treatments = [arm for arm in arms if not arm.control]
    controls = [arm for arm in arms if arm.control]
    which = page.paragraph(f"{heading}.") if heading else ""
    whole = folder.parent if "rates" in stored else folder
    return [
        Section(question(setting), asked(arms, stored)),
        Section(
            "The answer", which + page.paragraph(wording.answer(arms, results, setting.window), lead=True)
        ),
        Section("The picture", picture(folder)),
        Section("Effects", which + evidence.effects(arms, results, aliases)),
        *more,
        Section("Controls, and what may be concluded", evidence.controlled(controls, results)),
        Section("Beside the verdicts", evidence.checked(treatments, found)),
        Section("Forecasts that need no network", evidence.baselines(setting, results)),
        Section("Every training", evidence.every_training(arms, results)),
        Section("The data and its split", pa.data(setting, source)),
        Section("What survives a boundary", evidence.survives(treatments)),
        Section("Configuration and versions", pa.configuration(stored, environment)),
        Section("How to get this again", pa.again(whole, stored, environment)),
        Section("Raw files", pa.raw_files(folder)),
    ]


def question(setting: Setting) -> str:
    """What was asked, in one sentence."""
    fits = setting.epochs // setting.every
    return (
        f"How does an LSTM trained with {fits} iteration{'s' * (fits > 1)} of fit(epochs={setting.every}) "
        f"compare with a single fit(epochs={setting.epochs})?"
    )


def asked(arms: Sequence[ar.Arm], stored: Mapping[str, Any]) -> str:
    """The words that the rest of the page uses."""
    level = f"1 − {stored['alpha']:g}/{max(1, stored['family'])}"
    return page.paragraph(
        "A network can be trained by one call of fit, or by a loop of shorter ones. The two differ only by what is "
        "dropped from the state of training between two calls: the optimizer’s memory, the clock of a schedule, "
        "the order of the data. This page measures what dropping it does to the loss on data never trained on."
    ) + page.terms(
        [
            ("one_fit", "The reference: all epochs in one call. Everything else is compared with it."),
            (
                "arm",
                "One way of training. All arms of a seed start from the same weights and see the same batches and "
                "noise, so that they differ only by what they drop.",
            ),
            ("boundary", "The moment between two fits, at which an arm drops what it drops."),
            (
                "seed",
                f"One pair of trainings to compare; up to {max(arm.seeds for arm in arms)} an arm here.",
            ),
            (
                f"{stats.Metric.END} (END)",
                "Test loss of the weights that the last epoch left: the question as it was asked.",
            ),
            (
                f"{stats.Metric.SELECTED} (SELECTED)",
                "Test loss of the weights at the epoch of lowest validation loss: what one would keep.",
            ),
            (
                "interval",
                f"Where the mean change over seeds may lie: paired-t, at level {level} as {stored['family']} "
                "comparisons are decided together. The verdict is read from it alone.",
            ),
            (
                "margin",
                f"{stats.percent(stored['margin']):.0f} % of the loss, set before the run. An interval that lies "
                "inside it is “within” it; one that neither lies inside nor excludes 0 is “too wide to call”.",
            ),
        ]
    )


def picture(folder: Path) -> str:
    """figure.svg of the run."""
    return page.figure_of(
        folder,
        "Left: validation loss against epoch for each arm. Right: change of test loss against one_fit with "
        "intervals and verdicts; the same numbers stand in the tables below.",
        "Left, on a log scale: validation loss, mean and standard deviation over seeds. Right: change of test loss "
        "against one_fit; inside the grey band it is within the margin. Filled: after the last epoch. Hollow: at "
        "its best epoch. A diamond: the same bits.",
    )
