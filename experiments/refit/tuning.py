"""Each arm's own best learning rate, and the comparison of arms at it.

The rates are factors of the setting's, the same for all arms, and are tried on seeds that are never reported:

tuning/round_1      every arm that can differ, and one_fit, at every factor, trained as any run is
tuning/round_2 …    where an arm was best at the lowest or highest factor: all arms at one factor of 2 beyond
tuning/rates.csv    a row an arm and factor
best_rate/          the same run as that in the folder itself, each arm at its own rate

Or they are those that a sweep tried (`tuning_sweep`).
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from experiments.harness import arms as ar
from experiments.harness import outcome, run_folder
from experiments.harness import plan as pl
from experiments.harness import plan as pla
from experiments.harness.plan import Plan
from experiments.harness.setting import FIRST_SEED
from experiments.harness.source import Source

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
EXTENSIONS = 4  # rounds beyond an edge, at most
FIRST_TUNED, SEEDS, QUICK_SEEDS = 1000, 8, 2
RULE = (
    "the lowest mean over seeds of the log of the lowest validation loss, +inf where a run diverged; of equal ones "
    "the factor nearest to 1"
)
Losses = Mapping[
    tuple[str, float], np.ndarray
]  # (arm, factor) -> log of the lowest validation loss, [N] seeds


class Tuned(NamedTuple):
    """What came of it."""

    rates: dict[str, float]  # arm -> its best rate
    notes: list[str]  # what has to be said of them


def able(arms: Sequence[ar.Arm]) -> list[ar.Arm]:
    """one_fit and the arms that can differ from it: all others have its rate, or a factor of it."""
    return [arm for arm in arms if arm.name == ar.REFERENCE or not (arm.control or arm.is_identity)]


def decided(config: Any, source: Source, arms: Sequence[ar.Arm]) -> dict[str, Any] | None:
    """What is settled beforehand; None where nothing is tuned. ValueError naming what cannot be."""
    if config.tuned is None:
        return None
    if len(config.tuned) > 1:
        raise ValueError(f"tuned: {', '.join(config.tuned)}; allowed: nothing, or one folder of a sweep")
    if config.tuned:
        from experiments.refit import rates_of_sweep  # reads with polars, for which no other training waits

        return rates_of_sweep.decided(config, Path(config.tuned[0]), source, able(arms))
    if FIRST_SEED + config.seeds > FIRST_TUNED:
        raise ValueError(
            f"seeds: {config.seeds}; allowed with tuned: up to {FIRST_TUNED - FIRST_SEED}, as rates are tuned "
            f"on seeds from {FIRST_TUNED} on"
        )
    seeds = range(FIRST_TUNED, FIRST_TUNED + (QUICK_SEEDS if config.quick else SEEDS))
    grid = {"factors": list(FACTORS), "extensions": EXTENSIONS, "seeds": list(seeds)}
    return {"arms": [arm.name for arm in able(arms)], **grid, "rule": RULE}


def tune(plan: Plan, out: Console) -> Tuned:
    """The best rates, from what the plan's folder has of the tuning and by training the rest."""
    told = plan.tuning or {}
    if "rates" in told:
        return Tuned(told["rates"], told["notes"])
    losses: dict[tuple[str, float], np.ndarray] = {}
    wanted = list(told["factors"])
    for n in range(1 + told["extensions"]):
        if wanted:
            losses |= _round(plan, f"round_{n + 1}", wanted, out)
            wanted = beyond(losses, choose(losses))
    chosen, tried, lr = choose(losses), [factor for _, factor in losses], plan.config.lr
    rows = _rows(losses, chosen, lr)
    run_folder.write_csv(plan.folder / "tuning" / "rates.csv", rows)
    notes = [
        f"{arm} is best at {factor * lr:g}, an edge of the rates that were tried after {told['extensions']} "
        "extensions of the grid: a better one may lie beyond"
        for arm, factor in chosen.items()
        if wanted and factor in (min(tried), max(tried))
    ]
    notes += [
        f"{row['arm']} diverged at every rate; it keeps {lr:g}"
        for row in rows
        if row["chosen"] and math.isinf(row["mean_log_val"])
    ]
    return Tuned({arm: factor * lr for arm, factor in chosen.items()}, notes)


def choose(losses: Losses) -> dict[str, float]:
    """arm -> the factor of its best rate, by RULE; of two that are as near to 1 the lower."""
    best: dict[str, tuple[float, float]] = {}
    for (arm, factor), log_N in sorted(losses.items(), key=lambda one: (abs(math.log(one[0][1])), one[0][1])):
        mean = float(log_N.mean())
        if arm not in best or mean < best[arm][0]:
            best[arm] = mean, factor
    return {arm: best[arm][1] for arm, _ in losses}


def beyond(losses: Losses, chosen: Mapping[str, float]) -> list[float]:
    """The factors that come next: one beyond the lowest or highest where that is the best of any arm."""
    tried = {factor for _, factor in losses}
    lowest, highest = min(tried), max(tried)
    found = set(chosen.values())
    return [lowest / 2] * (lowest in found) + [highest * 2] * (highest in found)


def _round(plan: Plan, name: str, factors: Sequence[float], out: Console) -> Losses:
    """Arms at these factors, all in one population; read where they have been trained."""
    told, folder = plan.tuning or {}, plan.folder / "tuning" / name
    keys = [(arm, factor) for arm in able(plan.arms) for factor in factors]
    first, n = told["seeds"][0], len(told["seeds"])
    arms = [
        dataclasses.replace(arm, name=f"{arm.name} at x{factor:g}", rate_factor=factor, first=first, seeds=n)
        for arm, factor in keys
    ]
    status = folder / "status.json"
    if not (status.exists() and run_folder.read_json(status)["state"] == "finished"):
        folder.mkdir(parents=True, exist_ok=True)
        rates = ", ".join(f"{factor * plan.config.lr:g}" for factor in factors)
        out.print(
            f"\nTuning, {name}: rates {rates}, seeds {first} to {first + n - 1}, which are not reported"
        )
        _, seconds = pl.train(plan._replace(folder=folder, arms=arms), out, describe=False)
        run_folder.write_status(
            folder, "finished", epochs=plan.config.epochs, seconds_training=round(seconds, 1)
        )
    curves = run_folder.read_curves(folder, ar.labels(arms), plan.config.epochs)
    mean = outcome.loss_of_baselines(plan.config.loss, plan.built)["mean"]["train"]
    diverged_M = outcome.who_diverged(mean, curves)
    val_M = np.nanmin(curves["val"], axis=1, initial=np.inf)
    log_M = np.log(val_M, out=np.full(val_M.shape, np.inf), where=~diverged_M)
    names = [(arm.name, factor) for arm, factor in keys]
    return dict(zip(names, log_M.reshape(len(keys), n), strict=True))


def _rows(losses: Losses, chosen: Mapping[str, float], lr: float) -> list[dict[str, Any]]:
    """Of rates.csv: arm by arm, the rates rising."""
    order = {arm: i for i, arm in enumerate(chosen)}
    rows = []
    for (arm, factor), log_N in sorted(losses.items(), key=lambda one: (order[one[0][0]], one[0][1])):
        finite = np.isfinite(log_N)
        whole = finite.all() and log_N.size > 1
        row = {"arm": arm, "factor": factor, "rate": factor * lr, "mean_log_val": float(log_N.mean())}
        row |= {"sd_log_val": float(log_N.std(ddof=1)) if whole else math.nan, "n": log_N.size}
        rows.append(row | {"diverged": int((~finite).sum()), "chosen": chosen[arm] == factor})
    return rows


def at_best(plan: Plan, rates: Mapping[str, float]) -> Plan:
    """The same comparison in best_rate/: one_fit's best rate is the setting's, an arm's own a factor of it."""
    lr = rates[ar.REFERENCE]
    own = {arm.name for arm in able(plan.arms)}
    arms = [
        dataclasses.replace(arm, rate_factor=rates[arm.name] / lr) if arm.name in own else arm
        for arm in plan.arms
    ]
    config = dataclasses.replace(plan.config, lr=lr, tuned=None)
    best = plan._replace(config=config, folder=plan.folder / "best_rate", arms=arms, tuning=None)
    best.folder.mkdir(exist_ok=True)
    stored = run_folder.read_json(plan.folder / "config.json")
    if not (best.folder / "config.json").exists():
        pla.write_decisions(stored["experiment"], best, dict(rates), stored["command"])
    return best
