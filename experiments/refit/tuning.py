"""Each arm's own best learning rate, and the plan of the comparison at it.

The rates are factors of the setting's, the same for all arms, and are tried on seeds that are never reported:

tuning/round_1      every arm that can differ, and one_fit, at every factor, trained as any run is
tuning/round_2 …    where an arm was best at the lowest or highest factor: all arms at one factor of 2 beyond
tuning/rates.csv    one row per arm and factor
best_rate/          the same run as that in the folder itself, each arm at its own rate

Or they are those that a sweep tried (`rates_of_sweep`). Letters: N seeds of an arm at a rate.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.harness import arms as ar
from experiments.harness import outcome, run_folder, training
from experiments.harness import plan as pl
from experiments.harness.arms import Arm
from experiments.harness.experiment import Workplace
from experiments.harness.plan import P, Plan

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
EXTENSIONS = 4  # rounds beyond an edge, at most
FIRST_TUNED, SEEDS, QUICK_SEEDS = 1000, 8, 2
RULE = (
    "the lowest mean over seeds of the log of the lowest validation loss, +inf where a run diverged; of equal ones "
    "the factor nearest to 1"
)
Losses = Mapping[tuple[str, float], np.ndarray]  # (arm, factor) -> log of the lowest validation loss, [N]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The training plan by which the best rates are found, decided before the first step."""

    arms: tuple[str, ...]
    factors: tuple[float, ...] = FACTORS
    extensions: int = EXTENSIONS
    seeds: tuple[int, ...]
    rule: str = RULE


@dataclass(frozen=True, kw_only=True)
class Swept:
    """The best rates according to an earlier sweep."""

    sweep: str  # the sweep's folder
    sweep_hash: str
    seeds: Sequence[int]
    rule: str
    rates: Mapping[str, float]  # arm -> its best rate
    tried: Mapping[str, Sequence[float]]  # arm -> the rates that the sweep tried
    notes: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """The best rates, and the rates that were tried."""

    rates: Mapping[str, float]  # arm -> its best rate
    notes: Sequence[str]  # notes for the reader of the rates
    tried: Sequence[Mapping[str, Any]] = ()  # rows of rates.csv


def able(arms: Iterable[Arm]) -> list[Arm]:
    """one_fit and the arms that can differ from it; all others use its rate, or a factor of it."""
    return [arm for arm in arms if arm.name == ar.REFERENCE or not (arm.control or arm.is_identity)]


def tune(plan: Plan, how: Grid | Swept, workplace: Workplace) -> Tuned:
    """The best rates; trainings that the folder lacks are run."""
    if isinstance(how, Swept):
        return Tuned(rates=how.rates, notes=how.notes)
    losses: dict[tuple[str, float], np.ndarray] = {}
    wanted = list(how.factors)
    for n in range(1 + how.extensions):
        if wanted:
            losses |= _round(plan, how, f"round_{n + 1}", wanted, workplace)
            wanted = beyond(losses, choose(losses))
    chosen, tried, lr = choose(losses), [factor for _, factor in losses], plan.config.lr
    rows = _rows(losses, chosen, lr)
    notes = [
        f"{arm} is best at {factor * lr:g}, an edge of the rates that were tried after {how.extensions} extensions of "
        "the grid: a better one may lie beyond"
        for arm, factor in chosen.items()
        if wanted and factor in (min(tried), max(tried))
    ]
    notes += [
        f"{row['arm']} diverged at every rate; it keeps {lr:g}"
        for row in rows
        if row["chosen"] and math.isinf(row["mean_log_val"])
    ]
    return Tuned(rates={arm: factor * lr for arm, factor in chosen.items()}, notes=notes, tried=rows)


def choose(losses: Losses) -> dict[str, float]:
    """arm -> the factor of its best rate, by RULE; the lower of two factors equally near to 1."""
    best: dict[str, tuple[float, float]] = {}
    for (arm, factor), log_N in sorted(
        losses.items(), key=lambda item: (abs(math.log(item[0][1])), item[0][1])
    ):
        mean = float(log_N.mean())
        if arm not in best or mean < best[arm][0]:
            best[arm] = mean, factor
    return {arm: best[arm][1] for arm, _ in losses}


def beyond(losses: Losses, chosen: Mapping[str, float]) -> list[float]:
    """The next factors: one beyond the lowest or highest, if that is the best of any arm."""
    tried, best = {factor for _, factor in losses}, set(chosen.values())
    lowest, highest = min(tried), max(tried)
    return [lowest / 2] * (lowest in best) + [highest * 2] * (highest in best)


def _round(plan: Plan, grid: Grid, name: str, factors: Sequence[float], workplace: Workplace) -> Losses:
    """Train arms at these factors in one population, or read the results if they exist."""
    keys = [(arm.name, factor) for arm in able(plan.arms) for factor in factors]

    def measure() -> list[list[float | None]]:
        rates = ", ".join(f"{factor * plan.config.lr:g}" for factor in factors)
        workplace.console.print(
            f"\nTuning, {name}: rates {rates}, seeds {grid.seeds[0]} to {grid.seeds[-1]}, which are not reported"
        )
        log_KN = _train(plan, grid, name, factors, workplace).reshape(len(keys), -1)
        return [[float(x) if math.isfinite(x) else None for x in log_N] for log_N in log_KN]

    log_KN = workplace.once(f"tuning {name}", measure)
    return {
        key: np.array([math.inf if x is None else x for x in log_N])
        for key, log_N in zip(keys, log_KN, strict=True)
    }


def _train(plan: Plan, grid: Grid, name: str, factors: Sequence[float], workplace: Workplace) -> np.ndarray:
    """log_M: the log of each training's lowest validation loss, +inf where it diverged."""
    arms = tuple(
        dataclasses.replace(
            arm,
            name=f"{arm.name} at x{factor:g}",
            rate_factor=factor,
            first=grid.seeds[0],
            seeds=len(grid.seeds),
        )
        for arm in able(plan.arms)
        for factor in factors
    )
    folder = workplace.folder / "tuning" / name
    folder.mkdir(parents=True, exist_ok=True)
    training.of_plan(dataclasses.replace(plan, arms=arms), folder, workplace.console)
    run_folder.note_status(folder, "finished")
    curves = run_folder.read_curves(folder, ar.labels(arms), plan.config.epochs)
    mean = outcome.loss_of_baselines(plan.config.loss, plan.built)["mean"]["train"]
    diverged_M = outcome.who_diverged(mean, curves)
    val_M = np.nanmin(curves["val"], axis=1, initial=np.inf)
    return np.log(val_M, out=np.full(val_M.shape, np.inf), where=~diverged_M)


def _rows(losses: Losses, chosen: Mapping[str, float], lr: float) -> list[dict[str, Any]]:
    """Rows of rates.csv, sorted by arm and then by rate."""
    order = {arm: i for i, arm in enumerate(chosen)}
    rows = []
    for (arm, factor), log_N in sorted(losses.items(), key=lambda item: (order[item[0][0]], item[0][1])):
        finite = np.isfinite(log_N)
        whole = finite.all() and log_N.size > 1
        row = {"arm": arm, "factor": factor, "rate": factor * lr, "mean_log_val": float(log_N.mean())}
        row |= {"sd_log_val": float(log_N.std(ddof=1)) if whole else math.nan, "n": log_N.size}
        rows.append(row | {"diverged": int((~finite).sum()), "chosen": chosen[arm] == factor})
    return rows


def at_best(plan: P, rates: Mapping[str, float]) -> P:
    """The plan with one_fit's best rate as the setting's, and every other arm's rate as a factor of it."""
    lr = rates[ar.REFERENCE]
    names = {arm.name for arm in able(plan.arms)}
    arms = tuple(
        dataclasses.replace(arm, rate_factor=rates[arm.name] / lr) if arm.name in names else arm
        for arm in plan.arms
    )
    config = dataclasses.replace(plan.config, lr=lr, tuned=None)
    return pl.with_facts(dataclasses.replace(plan, config=config, arms=arms), {"rates": dict(rates)})
