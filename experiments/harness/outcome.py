"""The results of a comparison: test losses, divergence, bits that differ, and the effects of the arms.

Letters: M members in the order of `arms.labels`, N seeds of one arm, E epochs.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from experiments.harness import arms as ar
from experiments.harness import run_folder, training
from experiments.harness.plan import Plan
from experiments.harness.setting import Built
from lstm_sched import population, stats
from lstm_sched.data.windows import Windows
from lstm_sched.learner import Params
from lstm_sched.members import Progress
from lstm_sched.nn.losses import POINT
from lstm_sched.stats import baselines as ba
from lstm_sched.stats import sensitivity

METRICS = tuple(stats.Metric)


@dataclass(frozen=True, kw_only=True)
class Results:
    """Losses and curves of every member; effects and differing bits of every arm."""

    labels: Sequence[tuple[str, int]]  # (arm, seed) of each member
    loss: Mapping[str, np.ndarray]  # metric -> test loss, [M]
    windows: Mapping[str, np.ndarray]  # metric -> loss of each test window, [M, W]
    best_epoch_M: np.ndarray  # the epoch of the lowest validation loss, counted from 1
    diverged_M: np.ndarray
    curves: Mapping[str, np.ndarray]  # run_folder.CURVES -> [M, E]
    differing: Mapping[
        str, int
    ]  # arm -> numbers of the run that differ by a bit from its `must_equal`, or one_fit
    differing_weights: Mapping[str, int]  # arm -> the same for the last weights alone
    weights: int  # the number of weights in one network
    baselines: Mapping[str, Mapping[str, float]]  # forecast -> part -> loss
    effects: Mapping[str, Mapping[str, stats.Effect]]  # arm -> metric -> effect

    def rows(self, arm: str) -> np.ndarray:
        """The members of an arm, as indices into M."""
        return np.array([m for m, (name, _) in enumerate(self.labels) if name == arm])

    def paired(self, arm: str, reference: str = ar.REFERENCE) -> np.ndarray:
        """The reference's members with the seeds of `rows(arm)`."""
        return np.array([self.labels.index((reference, self.labels[m][1])) for m in self.rows(arm)])


def measure(plan: Plan, folder: Path, console: Console) -> Results:
    """Train what the folder does not have yet, then take the test losses. The test part is read nowhere else."""
    state_M = training.of_plan(plan, folder, console)
    labels, built = ar.labels(plan.arms), plan.built
    windows = on_test(built, state_M.state.params, state_M.selected.params)
    loss = {metric: loss_MW.mean(1) for metric, loss_MW in windows.items()}
    curves = run_folder.read_curves(folder, labels, plan.config.epochs)
    forecasts = loss_of_baselines(plan.config.loss, built)
    results = Results(
        labels=labels,
        loss=loss,
        windows=windows,
        best_epoch_M=np.asarray(state_M.selected.epoch),
        diverged_M=who_diverged(forecasts["mean"]["train"], curves, *loss.values()),
        curves=curves,
        differing={},
        differing_weights={},
        weights=sum(leaf[0].size for leaf in jax.tree.leaves(state_M.state.params)),
        baselines=forecasts,
        effects={},
    )
    return with_effects(_with_bits(results, plan, state_M), plan.arms)


def _with_bits(results: Results, plan: Plan, state_M: Progress) -> Results:
    """How many numbers of each arm's run differ from the run that it must equal, or else from one_fit."""
    read, whole, weights = ar.reads(plan.config), {}, {}
    for arm in plan.arms:
        kept = {name: getattr(state_M.state, name) for name in read if getattr(arm.policy, name) == 1}
        rows, paired = results.rows(arm.name), results.paired(arm.name, arm.must_equal or ar.REFERENCE)
        everything = (state_M.selected, kept, results.curves["loss"], results.curves["val"])
        whole[arm.name] = _differing(everything, rows, paired)
        weights[arm.name] = _differing(state_M.state.params, rows, paired)
    return dataclasses.replace(results, differing=whole, differing_weights=weights)


def with_effects(results: Results, arms: Sequence[ar.Arm]) -> Results:
    """The same results with each arm's effects, which follow from them alone."""
    size = max(1, ar.family(arms))
    effects = {arm.name: {metric: _effect(results, arm, metric, size) for metric in METRICS} for arm in arms}
    return dataclasses.replace(results, effects=effects)


def on_test(built: Built, end_M: Params, selected_M: Params) -> dict[str, np.ndarray]:
    """metric -> loss_MW on each window of the test part, for the last and for the selected weights."""
    learner, layout, test = built.learner, built.layout, built.split.data.test
    weights = {stats.Metric.END: end_M, stats.Metric.SELECTED: selected_M}
    return {
        metric: population.losses(learner, layout, params_M, test).astype(np.float64)
        for metric, params_M in weights.items()
    }


def who_diverged(mean: float, curves: dict[str, np.ndarray], *tests: np.ndarray) -> np.ndarray:
    """diverged_M: which members diverged, by their curves, test losses, and `mean`, the mean's train loss."""
    rows = zip(curves["loss"], curves["val"], *tests, strict=True)
    return np.array([stats.diverged(loss_E[-1], mean, loss_E, *losses) for loss_E, *losses in rows], bool)


def columns(
    loss: Mapping[str, np.ndarray],
    curves: Mapping[str, np.ndarray],
    best_M: np.ndarray,
    diverged_M: np.ndarray,
    m: int,
) -> dict[str, Any]:
    """The outcome of member m, as columns of a table."""
    return {
        "test_end": loss[stats.Metric.END][m],
        "test_selected": loss[stats.Metric.SELECTED][m],
        "val_end": curves["val"][m, -1],
        "val_selected": np.nanmin(curves["val"][m], initial=np.inf),
        "train_end": curves["loss"][m, -1],
        "best_epoch": best_M[m],
        "diverged": diverged_M[m],
    }


def _effect(results: Results, arm: ar.Arm, metric: str, size: int) -> stats.Effect:
    """The effect of an arm, corrected for `size` comparisons. Each control is judged alone.

    The control `ulp` gets no verdict, but an interval even if it has few seeds.
    """
    log_N, reference_N = _pair(results, arm, metric)
    same = results.differing[arm.name] == 0 and arm.must_equal in (None, ar.REFERENCE)
    effect = stats.compare(log_N, reference_N, 1 if arm.control else size, same)
    finite = not (effect.diverged or effect.diverged_ref)
    if arm.nudged and effect.qualifier == "too few seeds" and effect.n > 1 and finite:
        mean, lo, hi = (float(x) for x in stats.interval(log_N - reference_N, 1))
        effect = effect._replace(mean=mean, lo=lo, hi=hi)
    return effect


def _pair(results: Results, arm: ar.Arm, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Log losses of an arm and of the reference, paired by seed."""
    return log_loss(results, metric, results.rows(arm.name)), log_loss(
        results, metric, results.paired(arm.name)
    )


def _differing(tree_M: Any, rows: np.ndarray, paired: np.ndarray) -> int:
    return ar.differing(*(jax.tree.map(lambda leaf, at=at: leaf[at], tree_M) for at in (rows, paired)))


def log_loss(results: Results, metric: str, rows: np.ndarray) -> np.ndarray:
    """Log test losses of the members in `rows`; +inf where a run diverged."""
    loss_N, diverged_N = results.loss[metric][rows], results.diverged_M[rows]
    return np.log(loss_N, out=np.full(loss_N.shape, np.inf), where=~diverged_N)


def void(arms: Sequence[ar.Arm], results: Results) -> list[str]:
    """Messages on arms that should equal another arm's run and do not; any of them makes the run void."""
    return [arm.name for arm in arms if arm.is_identity and results.differing[arm.name]]


def loss_of_baselines(kind: str, built: Built) -> dict[str, dict[str, float]]:
    """The loss on each part of forecasts that need no network and are fitted on the training part."""
    train, parts = built.split.data.train, built.split.data._asdict()
    forecasts = {"mean": ba.fit_mean(train), "AR": ba.fit_linear_ar(train)}
    if isinstance(train, Windows):
        forecasts["persistence"] = ba.persistence
    of_part = {name: ba.losses(forecasts, part, POINT[kind]) for name, part in parts.items()}
    return {name: {part: losses[name] for part, losses in of_part.items()} for name in forecasts}


def table(results: Results, digest: str) -> list[dict[str, Any]]:
    """Rows of results.csv, one per training, with deterministic columns only."""
    return [
        {
            "config": digest,
            "arm": arm,
            "seed": seed,
            **columns(results.loss, results.curves, results.best_epoch_M, results.diverged_M, m),
        }
        for m, (arm, seed) in enumerate(results.labels)
    ]


def difference(results: Results, arm: ar.Arm, metric: str) -> np.ndarray:
    """Log loss of an arm minus that of the reference, paired by seed; 0 where both diverged."""
    log_N, reference_N = _pair(results, arm, metric)
    return np.subtract(log_N, reference_N, out=np.zeros(len(log_N)), where=log_N != reference_N)


def parts_at(results: Results, arm: ar.Arm) -> int | None:
    """First epoch at which validation losses are `sensitivity.APART` from the reference's, paired by seed."""
    val = results.curves["val"]
    return sensitivity.first_divergence(val[results.rows(arm.name)], val[results.paired(arm.name)])
