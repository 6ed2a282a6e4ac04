"""Which runs tell what a loop does to a rule: {no rule, stopping, plateau} × {one fit, kept, reset, initial_epoch}."""

from dataclasses import dataclass

from experiments.harness import arms as ar
from experiments.harness import plan
from experiments.harness.plan import Experiment, Plan
from experiments.harness.setting import Built, Setting
from lstm_sched import monitor
from lstm_sched.data.series import Series
from lstm_sched.monitor import Watch
from lstm_sched.presets import CONTINUE, KERAS_INITIAL_EPOCH, KERAS_LOOP

RULES = ("stopping", "plateau")
MEMORIES = {  # of a loop's boundaries
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
    """of the learning rate, when it does not improve"""
    quick: bool = False
    """10 epochs, 6 seeds and patience 1 and 2, unless said otherwise: to see it work, not to conclude from"""


def name_of(rule: str, patience: int, memory: str = "") -> str:
    """What the arm is called."""
    return f"{rule}_{patience}" + f"_{memory}" * bool(memory)


def split_name(arm: ar.Arm) -> tuple[str, int, str]:
    """(rule, patience, memory) of an arm; the memory of one fit is `one fit`."""
    rule, patience, *memory = arm.name.split("_", 2)
    return rule, int(patience), memory[0] if memory else "one fit"


def arms_of(config: Config, built: Built) -> tuple[list[ar.Arm], dict[str, str]]:
    """One fit without a rule, the reference, then each rule and patience in one fit and in the three loops."""
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


MONITORING = Experiment("monitoring", Config, arms_of, watched=True)


def prepare(config: Config, given: Series | None = None) -> list[Plan]:
    """All that is decided before the first step; ValueError before any compilation."""
    if config.resume is None and config.quick:
        config = plan.unless_asked(config, QUICK)
    repeated = len(set(config.patience)) < len(config.patience)
    if not config.patience or repeated or min(config.patience) < 1:
        raise ValueError(f"patience: {config.patience}; allowed: different numbers of epochs, 1 or more")
    monitor.plateau(factor=config.factor)
    return plan.prepare(MONITORING, config, given)
