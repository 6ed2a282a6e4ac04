"""What the main job may be asked, and which arms that means."""

import dataclasses
from dataclasses import dataclass

from experiments.harness import arms as ar
from experiments.harness import plan
from experiments.harness.plan import Experiment, Plan
from experiments.harness.setting import Built, Setting
from experiments.refit import tuning
from lstm_sched.data.series import Series

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


def arms_of(config: Config, built: Built) -> tuple[list[ar.Arm], dict[str, str]]:
    """The arms asked for, and those left out."""
    return ar.parse(config.arms, config, built)


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
                config, arms=tuple(dict.fromkeys((*config.arms, *ar.RULER))), full=False
            )
    return plan.prepare(REFIT, config, given)
