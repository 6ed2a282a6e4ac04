"""What does fit(epochs=1) × 100 forget? Training as state, and restarts as policies on it."""

from lstm_sched.baselines import linear_ar, mean, persistence
from lstm_sched.checkpoint import restore, resume, save
from lstm_sched.data import Data, Samples, Windows, as_samples
from lstm_sched.learner import SHUFFLED, Learner, Order, given, lstm, steps_per_epoch
from lstm_sched.optimizers import OPTIMIZERS, keras_adam, keras_sgd
from lstm_sched.policies import CONTINUE, POLICIES, fate_table
from lstm_sched.population import Layout, layout, row, stack, train
from lstm_sched.rules import at, every, never, when
from lstm_sched.schedules import SCHEDULES, sgdr, tabulate
from lstm_sched.series import Series, load
from lstm_sched.split import prepare, samples, split
from lstm_sched.state import Moments, Origin, TrainState, begin, keep, restart, spread
from lstm_sched.tables import from_arrays, read_table
from lstm_sched.train import (
    Hyper,
    Log,
    Member,
    Progress,
    epoch,
    evaluate,
    losses,
    member,
    originate,
    run,
    start,
    step,
)

__all__ = [
    "CONTINUE",
    "OPTIMIZERS",
    "POLICIES",
    "SCHEDULES",
    "SHUFFLED",
    "Data",
    "Hyper",
    "Layout",
    "Learner",
    "Log",
    "Member",
    "Moments",
    "Order",
    "Origin",
    "Progress",
    "Samples",
    "Series",
    "TrainState",
    "Windows",
    "as_samples",
    "at",
    "begin",
    "epoch",
    "evaluate",
    "every",
    "fate_table",
    "from_arrays",
    "given",
    "keep",
    "keras_adam",
    "keras_sgd",
    "layout",
    "linear_ar",
    "load",
    "losses",
    "lstm",
    "mean",
    "member",
    "never",
    "originate",
    "persistence",
    "prepare",
    "read_table",
    "restart",
    "restore",
    "resume",
    "row",
    "run",
    "samples",
    "save",
    "sgdr",
    "split",
    "spread",
    "stack",
    "start",
    "step",
    "steps_per_epoch",
    "tabulate",
    "train",
    "when",
]
