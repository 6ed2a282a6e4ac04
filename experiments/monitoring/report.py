"""The report of `monitoring`: epochs run, the effect of each rule on the loss, and which arms are one run.

Letters: N seeds.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from experiments.harness import arms as ar
from experiments.harness import evidence, outcome, wording
from experiments.harness.arms import Arm
from experiments.harness.data_section import data_section
from experiments.harness.document import EVERYWHERE, Document, Figure, Lead, Section, Table, Terms
from experiments.harness.outcome import METRICS, Results
from experiments.harness.plan import Plan
from experiments.monitoring.config import RULES, Config, split_name
from lstm_sched import stats


def document(plan: Plan, results: Results) -> Document:
    """The report of a finished run."""
    arms, config = plan.arms, plan.config
    fits = config.epochs // config.every
    broken = outcome.void(arms, results)
    sections = [
        Section(
            title=f"Does a loop of {fits} fits buy early stopping, or plateau decay?",
            blocks=[Lead(text=answer(arms, results))],
            places=EVERYWHERE,
        ),
        Section(title="What is compared", blocks=_compared(config)),
        Section(title="The picture", blocks=[_picture(arms, results)]),
        Section(title="What each rule does", blocks=[_measured(arms, results)], places=EVERYWHERE),
        Section(title="Which run each loop is", blocks=[_identities(arms, results)], places=EVERYWHERE),
        evidence.baselines(config, results),
        evidence.every_training([arm for arm in arms if not arm.is_identity or _is_reference(arm)], results),
        data_section(config, plan.source),
    ]
    return Document(
        sections=sections,
        tables={
            "results.csv": outcome.table(results, plan.digest),
            "rules.csv": [{"config": plan.digest} | row for row in rows(arms, results)],
        },
        files={"rules.csv": "one row per rule, patience, counters and metric: what is concluded"},
        void=f"void: {wording.listed(broken)} must be another run bit for bit, and is not" if broken else "",
    )


def _is_reference(arm: Arm) -> bool:
    return arm.name == ar.REFERENCE


def _compared(config: Config) -> list[str | Terms]:
    terms = {
        "stopping": "Keras’ EarlyStopping on the validation loss, restore_best_weights=True.",
        "plateau": f"Keras’ ReduceLROnPlateau on the validation loss, factor {config.factor:g}.",
        "patience": "Epochs without improvement after which the rule acts.",
        "one fit": "All epochs in one call of fit.",
        "kept": "A loop of fits whose counters live on, as in a loop written by hand.",
        "reset": "A loop of fits that is handed the callback each time: Keras resets it when a fit begins.",
        "initial_epoch": "The same, and each fit is told the right index of its first epoch.",
    }
    return ["What each rule does in one fit, and in a loop of fits.", Terms(pairs=tuple(terms.items()))]


def epochs_run(results: Results, arm: str) -> np.ndarray:
    """Epochs that each seed trained, [N]."""
    return results.curves["trained"][results.rows(arm)].sum(1).astype(int)


def missed(results: Results, arm: str) -> np.ndarray:
    """Log of the lowest validation loss relative to that of one fit without a rule, [N]."""
    lowest, whole = (np.log(results.curves["val"][at(arm)].min(1)) for at in (results.rows, results.paired))
    return lowest - whole


def rows(arms: Sequence[Arm], results: Results) -> list[dict[str, object]]:
    """Rows of rules.csv, one per arm and metric; log ratios relative to one fit without a rule."""
    made = []
    for arm in arms:
        if _is_reference(arm):
            continue
        rule, patience, memory = split_name(arm)
        ran_N = epochs_run(results, arm.name)
        for metric in METRICS:
            effect = results.effects[arm.name][metric]
            made.append(
                {
                    "rule": rule,
                    "patience": patience,
                    "memory": memory,
                    "n": arm.seeds,
                    "epochs_median": np.median(ran_N),
                    "epochs_min": ran_N.min(),
                    "epochs_max": ran_N.max(),
                    "validation": missed(results, arm.name).mean(),
                    "metric": metric,
                    "mean": effect.mean,
                    "lo": effect.lo,
                    "hi": effect.hi,
                    "verdict": effect.verdict,
                    "must_be": arm.must_equal or "",
                    "differing": results.differing[arm.name] if arm.must_equal else "",
                }
            )
    return made


def _epochs(ran_N: np.ndarray) -> str:
    if ran_N.min() == ran_N.max():
        return f"{ran_N[0]}"
    return f"{np.median(ran_N):g} ({ran_N.min()}–{ran_N.max()})"


def _measured(arms: Sequence[Arm], results: Results) -> Table:
    """A table of the arms that may differ from every other arm."""
    cells = []
    for arm in arms:
        if arm.is_identity:
            continue
        effects = [results.effects[arm.name][metric] for metric in METRICS]
        rule, patience, memory = split_name(arm)
        lowest = f"{stats.percent(missed(results, arm.name).mean()):+.1f} %".replace("-", "−")
        epochs = _epochs(epochs_run(results, arm.name))
        changes = map(wording.change, effects)
        cells.append(
            (rule, patience, memory, arm.seeds, epochs, lowest, *changes, stats.combine(*effects)[1])
        )
    title = (
        "Epochs run: median (range) over seeds. Lowest validation loss: mean change relative to that of a whole run "
        "without a rule. Then the change of test loss in %, relative to one fit without a rule."
    )
    columns = (
        "rule",
        "patience",
        "counters",
        "n",
        "epochs run",
        "lowest validation loss",
        *METRICS,
        "verdict",
    )
    return Table(title=title, columns=columns, rows=cells, numeric=frozenset({"patience", "n"}))


def _identities(arms: Sequence[Arm], results: Results) -> Table:
    """A table of the rules and loops that must equal another run, over all patiences."""
    groups: dict[tuple[str, str], list[Arm]] = {}
    for arm in arms:
        if arm.is_identity and not _is_reference(arm):
            rule, _, memory = split_name(arm)
            groups.setdefault((rule, memory), []).append(arm)
    cells = []
    for (rule, memory), alike in groups.items():
        runs = sum(arm.seeds for arm in alike)
        patience = ", ".join(str(split_name(arm)[1]) for arm in alike)
        epochs = _epochs(np.concatenate([epochs_run(results, arm.name) for arm in alike]))
        run = "one fit without a rule" if alike[0].must_equal == ar.REFERENCE else "one fit with the rule"
        differ = sum(results.differing_weights[arm.name] for arm in alike)
        cells.append((rule, memory, patience, runs, epochs, run, f"{differ} of {results.weights * runs:,}"))
    return Table(
        title="Weights after the last epoch",
        columns=(
            "rule",
            "counters of the loop",
            "patience",
            "runs",
            "epochs run",
            "must be, bit for bit",
            "weights that differ",
        ),
        rows=cells,
    )


def answer(arms: Sequence[Arm], results: Results) -> str:
    """The answer in a paragraph."""
    if broken := outcome.void(arms, results):
        return f"This run is void: {wording.listed(broken)} must be another run bit for bit, and is not."
    epochs = results.curves["val"].shape[1]
    reset = [arm for arm in arms if arm.must_equal == ar.REFERENCE and not _is_reference(arm)]
    kept = [arm for arm in arms if arm.must_equal not in (None, ar.REFERENCE)]
    sentences = []
    if reset:
        runs = sum(arm.seeds for arm in reset)
        sentences.append(
            "If a callback is passed to every fit of a loop, it never acts, because each fit resets its counters: all "
            f"{runs} such loops ran {epochs} epochs, and 0 of {results.weights * runs:,} weights differ by a bit from "
            "one fit without the callback, with initial_epoch or without."
        )
    if kept:
        total = results.weights * sum(arm.seeds for arm in kept)
        sentences.append(
            "If its counters are kept, the loop is one fit with the callback: "
            f"0 of {total:,} weights differ by a bit."
        )
    return " ".join([*sentences, *(_in_one_fit(rule, arms, results) for rule in RULES)])


def _in_one_fit(rule: str, arms: Sequence[Arm], results: Results) -> str:
    """The effect of a rule in one fit, at each patience."""
    single = [arm for arm in arms if arm.name.startswith(rule) and arm.every is None]
    patience = wording.listed([str(split_name(arm)[1]) for arm in single])
    ran = wording.listed([f"{np.median(epochs_run(results, arm.name)):g}" for arm in single])
    changes = wording.listed([wording.change(results.effects[arm.name][METRICS[0]]) for arm in single])
    epochs = f"runs a median of {ran} of {results.curves['val'].shape[1]} epochs and " * (rule == RULES[0])
    return f"In one fit, {rule} with patience {patience} {epochs}changes the test loss by {changes} relative to none."


def _picture(arms: Sequence[Arm], results: Results) -> Figure:
    n = max(arm.seeds for arm in arms)
    caption = (
        "Left: epochs that each training ran before it stopped, one dot per seed, and their median; squares: the loop "
        "that passes the callback to every fit. Right: change of test loss relative to one fit without a rule, with "
        f"the deciding interval; inside the grey band it is within the margin of 1 %. n = {n} seeds. Paired-t "
        f"intervals at level {wording.level(results)}."
    )
    shows = "Left: epochs run against patience, in one fit and in a loop. Right: change of test loss against patience."
    return Figure(draw=partial(_draw, arms, results), name="figure", shows=shows, caption=caption)


def _draw(arms: Sequence[Arm], results: Results) -> Any:
    from experiments.monitoring import figure  # no measurement waits for matplotlib

    single = [(*split_name(arm)[:2], arm) for arm in arms if not _is_reference(arm) and arm.every is None]
    reset = [arm for arm in arms if arm.must_equal == ar.REFERENCE and arm.name.startswith(RULES[0])]
    ran = {arm.name: epochs_run(results, arm.name) for _, _, arm in single}
    looped = {split_name(arm)[1]: epochs_run(results, arm.name) for arm in reset}
    return figure.draw(single, ran, looped, results)
