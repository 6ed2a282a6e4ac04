"""The flags of `monitoring`, and its arms: no rule, and {stopping, plateau} × one fit and three loops."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.harness import arms as ar
from experiments.harness import plan as pl
from experiments.harness.plan import Plan
from experiments.harness.setting import Built, Setting
from lstm_sched import monitor
from lstm_sched.data.series import Series
from lstm_sched.monitor import Watch
from lstm_sched.presets import CONTINUE, KERAS_INITIAL_EPOCH, KERAS_LOOP

RULES = ("stopping", "plateau")
MEMORIES = {  # the policy at a loop's boundaries, by the fate of the rule's counters
    "kept": CONTINUE,
    "reset": KERAS_LOOP,
    "initial_epoch": KERAS_INITIAL_EPOCH,
}
QUICK = {"epochs": 10, "seeds": 6, "patience": (1, 2)}


@dataclass(frozen=True)
class Config(Setting):
    """Fields of this experiment."""

    patience: tuple[int, ...] = (5, 10)
    """epochs without improvement of the validation loss after which a rule acts"""
    factor: float = 0.1
    """factor on the learning rate when the loss has not improved (ReduceLROnPlateau)"""
    quick: bool = False
    """10 epochs, 6 seeds and patience 1 and 2, unless asked otherwise: to see it work, not to conclude from"""


def name_of(rule: str, patience: int, memory: str = "") -> str:
    """The name of the arm."""
    return f"{rule}_{patience}" + f"_{memory}" * bool(memory)


def split_name(arm: ar.Arm) -> tuple[str, int, str]:
    """(rule, patience, memory) of an arm; the memory of one fit is `one fit`."""
    rule, patience, *memory = arm.name.split("_", 2)
    return rule, int(patience), memory[0] if memory else "one fit"


def arms_of(config: Config, built: Built) -> tuple[list[ar.Arm], dict[str, str]]:
    """The reference (one fit without a rule), then each rule and patience in one fit and in three loops."""
    n, fit = config.seeds, config.every
    none = monitor.watch(config.epochs)
    arms = [ar.Arm(name=ar.REFERENCE, policy=CONTINUE, seeds=n, must_equal=ar.REFERENCE, watch=none)]
    for rule in RULES:
        for patience in config.patience:
            watch = _watch(rule, patience, config)
            arms.append(ar.Arm(name=name_of(rule, patience), policy=CONTINUE, seeds=n, watch=watch))
            for memory, policy in MEMORIES.items():
                same = ar.REFERENCE if fit == 1 else None  # the first epoch of a fit is always its best
                if memory == "kept":
                    same = name_of(rule, patience)
                seeds = min(n, ar.IDENTITY_SEEDS) if same else n
                ends = None if memory == "kept" else fit  # kept counters are the user's own, not a callback's
                name = name_of(rule, patience, memory)
                arms.append(
                    ar.Arm(
                        name=name,
                        policy=policy,
                        seeds=seeds,
                        every=fit,
                        must_equal=same,
                        watch=watch,
                        fit_ends=ends,
                    )
                )
    return arms, {}


def _watch(rule: str, patience: int, config: Config) -> Watch:
    if rule == "stopping":
        return monitor.watch(config.epochs, stopping=monitor.stopping(patience, restore=True))
    return monitor.watch(config.epochs, plateau=monitor.plateau(patience, config.factor))


def decide(config: Config, stored: Mapping[str, Any], series: Series | None = None) -> list[Plan]:
    """The plan for each series; `series` is one given from Python, in place of the one that `config.data` names."""
    if config.quick:
        config = pl.unless_asked(config, QUICK)
    repeated = len(set(config.patience)) < len(config.patience)
    if not config.patience or repeated or min(config.patience) < 1:
        raise ValueError(f"patience: {config.patience}; allowed: different numbers of epochs, 1 or more")
    monitor.plateau(factor=config.factor)  # raises for a factor that is not allowed
    return pl.decide(Plan, config, arms_of, watched=True, series=series)
