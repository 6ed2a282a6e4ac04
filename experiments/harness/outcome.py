"""What came out: losses on the test part, divergence, bits that differ, and what is concluded from them.

Letters: M members in the order of `arms.labels`, N seeds of one arm, E epochs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.harness import arms as ar
from experiments.harness import run_folder
from experiments.harness.setting import Built, Setting
from lstm_sched import population, stats
from lstm_sched.data.windows import Windows
from lstm_sched.learner import Params
from lstm_sched.members import Progress
from lstm_sched.nn.losses import POINT
from lstm_sched.stats import baselines as ba
from lstm_sched.stats import sensitivity

METRICS = tuple(stats.Metric)


class Results(NamedTuple):
    labels: list[tuple[str, int]]  # (arm, seed) of each member
    loss: dict[str, np.ndarray]  # metric -> test loss, [M]
    windows: dict[str, np.ndarray]  # metric -> loss of each test window, [M, W]
    best_epoch_M: np.ndarray  # of lowest validation loss, from 1 on
    diverged_M: np.ndarray
    curves: dict[str, np.ndarray]  # record.CURVES -> [M, E]
    differing: dict[
        str, int
    ]  # arm -> numbers of the whole run that differ by a bit from `equals`, or one_fit
    differing_weights: dict[str, int]  # arm -> the same for the last weights alone
    weights: int  # in one network
    effects: dict[str, dict[str, stats.Effect]]  # arm -> metric -> effect
    baselines: dict[str, dict[str, float]]  # forecast -> part -> loss

    def rows(self, arm: str) -> np.ndarray:
        """Members of an arm."""
        return np.array([m for m, (name, _) in enumerate(self.labels) if name == arm])

    def paired(self, arm: str, other: str = ar.REFERENCE) -> np.ndarray:
        """The other arm's members with the seeds of `rows(arm)`."""
        return np.array([self.labels.index((other, self.labels[m][1])) for m in self.rows(arm)])


def conclude(
    setting: Setting, built: Built, arms: Sequence[ar.Arm], folder: Path, state_M: Progress
) -> Results:
    """Test losses, divergence, bits and effects. The test part is read here, twice a member, and nowhere else."""
    labels = ar.labels(arms)
    windows = on_test(built, state_M.state.params, state_M.selected.params)
    loss = {metric: loss_MW.mean(1) for metric, loss_MW in windows.items()}
    curves = run_folder.read_curves(folder, labels, setting.epochs)
    forecasts = loss_of_baselines(setting.loss, built)
    diverged_M = who_diverged(forecasts["mean"]["train"], curves, *loss.values())
    best_M = np.asarray(state_M.selected.epoch)
    weights = sum(leaf[0].size for leaf in jax.tree.leaves(state_M.state.params))
    results = Results(labels, loss, windows, best_M, diverged_M, curves, {}, {}, weights, {}, forecasts)
    read, m = ar.reads(setting), max(1, family(arms))
    for arm in arms:
        kept = {c: getattr(state_M.state, c) for c in read if getattr(arm.policy, c) == 1}
        rows, paired = results.rows(arm.name), results.paired(arm.name, arm.must_equal or ar.REFERENCE)
        whole = (state_M.selected, kept, curves["loss"], curves["val"])
        results.differing[arm.name] = _differing(whole, rows, paired)
        results.differing_weights[arm.name] = _differing(state_M.state.params, rows, paired)
        results.effects[arm.name] = {metric: _effect(results, arm, metric, m) for metric in METRICS}
    return results


def on_test(built: Built, end_M: Params, selected_M: Params) -> dict[str, np.ndarray]:
    """metric -> loss_MW of the last weights and of the selected ones on each window of the test part."""

    def one(params_M: Params) -> np.ndarray:
        loss_MW = population.losses(built.learner, built.layout, params_M, built.split.data.test)
        return loss_MW.astype(np.float64)

    return {stats.Metric.END: one(end_M), stats.Metric.SELECTED: one(selected_M)}


def who_diverged(mean: float, curves: dict[str, np.ndarray], *tests: np.ndarray) -> np.ndarray:
    """diverged_M, from the curves of the epochs that were run, the test losses, and the train loss of the mean."""
    rows = zip(curves["loss"], curves["val"], *tests, strict=True)
    return np.array([stats.diverged(loss_E[-1], mean, loss_E, *others) for loss_E, *others in rows], bool)


def columns(
    loss: dict[str, np.ndarray],
    curves: dict[str, np.ndarray],
    best_M: np.ndarray,
    diverged_M: np.ndarray,
    m: int,
) -> dict[str, Any]:
    """What came of member m, for its row in a table."""
    return {
        "test_end": loss[stats.Metric.END][m],
        "test_selected": loss[stats.Metric.SELECTED][m],
        "val_end": curves["val"][m, -1],
        "val_selected": np.nanmin(curves["val"][m], initial=np.inf),
        "train_end": curves["loss"][m, -1],
        "best_epoch": best_M[m],
        "diverged": diverged_M[m],
    }


def _effect(results: Results, arm: ar.Arm, metric: str, m: int) -> stats.Effect:
    """Controls are no claims: each is judged alone, and `ulp`, which gets no verdict, has an interval all the same."""
    d = log_loss(results, metric, results.rows(arm.name)), log_loss(results, metric, results.paired(arm.name))
    same = results.differing[arm.name] == 0 and arm.must_equal in (None, ar.REFERENCE)
    effect = stats.compare(*d, 1 if arm.control else m, same)
    finite = not (effect.diverged or effect.diverged_ref)
    if arm.nudged and effect.qualifier == "too few seeds" and effect.n > 1 and finite:
        mean, lo, hi = (float(x) for x in stats.interval(d[0] - d[1], 1))
        effect = effect._replace(mean=mean, lo=lo, hi=hi)
    return effect


def _differing(tree_M: Any, rows: np.ndarray, paired: np.ndarray) -> int:
    one, other = (jax.tree.map(lambda leaf, at=at: leaf[at], tree_M) for at in (rows, paired))
    return ar.differing(one, other)


def log_loss(results: Results, metric: str, rows: np.ndarray) -> np.ndarray:
    """Log test losses of some members; +inf where a run diverged."""
    loss_N, diverged_N = results.loss[metric][rows], results.diverged_M[rows]
    return np.log(loss_N, out=np.full(loss_N.shape, np.inf), where=~diverged_N)


def family(arms: Sequence[ar.Arm]) -> int:
    """Comparisons decided together: treatments that can differ, times two metrics."""
    return len(METRICS) * sum(not (arm.control or arm.is_identity) for arm in arms)


def void(arms: Sequence[ar.Arm], results: Results) -> list[str]:
    """Arms that must be the reference run and are not: nothing can be concluded then."""
    return [arm.name for arm in arms if arm.is_identity and results.differing[arm.name]]


def loss_of_baselines(kind: str, built: Built) -> dict[str, dict[str, float]]:
    """Loss of forecasts that need no network, fitted on the training part, on each part."""
    train, parts = built.split.data.train, built.split.data._asdict()
    forecasts = {"mean": ba.fit_mean(train), "AR": ba.fit_linear_ar(train)}
    if isinstance(train, Windows):
        forecasts["persistence"] = ba.last_value
    found = {name: ba.losses(forecasts, part, POINT[kind]) for name, part in parts.items()}
    return {forecast: {part: losses[forecast] for part, losses in found.items()} for forecast in forecasts}


def write(folder: Path, results: Results, config_hash: str) -> None:
    """results.csv, a row a training. Deterministic columns only."""
    run_folder.write_csv(
        folder / "results.csv",
        (
            {
                "config": config_hash,
                "arm": arm,
                "seed": seed,
                **columns(results.loss, results.curves, results.best_epoch_M, results.diverged_M, m),
            }
            for m, (arm, seed) in enumerate(results.labels)
        ),
    )


def difference(results: Results, arm: ar.Arm, metric: str) -> np.ndarray:
    """Log loss of an arm less that of the reference, paired by seed; 0 where both diverged."""
    one, other = (log_loss(results, metric, at(arm.name)) for at in (results.rows, results.paired))
    return np.subtract(one, other, out=np.zeros(len(one)), where=one != other)


def parts_at(results: Results, arm: ar.Arm) -> int | None:
    """First epoch at which validation losses are `sensitivity.APART` from the reference's, paired by seed."""
    val = results.curves["val"]
    return sensitivity.first_divergence(val[results.rows(arm.name)], val[results.paired(arm.name)])
