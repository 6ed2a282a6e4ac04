"""Statistics of paired trainings, checks of their sensitivity, and forecasts that need no network."""

from lstm_sched.stats.paired import (
    ALPHA,
    DELTA,
    Effect,
    Metric,
    combine,
    compare,
    diverged,
    interval,
    percent,
    sentence,
)

__all__ = [
    "ALPHA",
    "DELTA",
    "Effect",
    "Metric",
    "combine",
    "compare",
    "diverged",
    "interval",
    "percent",
    "sentence",
]
