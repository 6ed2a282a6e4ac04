"""What the main job may be asked, and which arms that means."""

import dataclasses
from dataclasses import dataclass

from experiments import arms as A
from experiments import plan, tuning
from experiments.plan import Experiment, Plan
from experiments.setting import Built, Setting
from lstm_sched.series import Series

QUICK = {"epochs": 10, "seeds": 6}
ALL_SEEDS = 32


@dataclass(frozen=True)
class Config(Setting):
    """Fields of the main job."""

    arms: tuple[str, ...] = (
        "one_fit",
        "keras_loop",
        "keras_recompile",
        "drop_moments",
        "aa",
        "ulp",
        "rate_x2",
    )
    """what is compared with one_fit: policies (keras_recompile@10: another --every for one arm) and controls; or all"""
    quick: bool = False
    """10 epochs and 6 seeds, unless said otherwise: to see it work, not to conclude from"""
    full: bool = False
    """add the ruler of rates: one fit at half, 0.9, 1.1 times and twice the rate"""
    tuned: tuple[str, ...] | None = None
    """compare a second time, each arm at its own best rate: of a grid around --lr, tried on other seeds, or, with the
    folder of a sweep, of those that it tried"""


def arms_of(config: Config, built: Built) -> tuple[list[A.Arm], dict[str, str]]:
    """The arms asked for, and those left out."""
    return A.parse(config.arms, config, built)


REFIT = Experiment("refit", Config, arms_of, tuning=tuning.decided)


def prepare(config: Config, given: Series | None = None) -> list[Plan]:
    """All that is decided before the first step; ValueError before any compilation."""
    if config.resume is None:
        if config.quick:
            config = plan.unless_asked(config, QUICK)
        if config.arms == ("all",):
            config = plan.unless_asked(config, {"seeds": ALL_SEEDS})
        if config.full:
            config = dataclasses.replace(
                config, arms=tuple(dict.fromkeys((*config.arms, *A.RULER))), full=False
            )
    return plan.prepare(REFIT, config, given)
