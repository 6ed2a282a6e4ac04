"""What does fit(epochs=1) × 100 forget? Training as state, and restarts as policies on it."""

from lstm_sched.baselines import linear_ar, mean, persistence
from lstm_sched.checkpoint import restore, resume, save
from lstm_sched.data import Data, Samples, Windows, as_samples
from lstm_sched.interop import from_flax, from_keras, from_torch, to_flax, to_keras, to_torch
from lstm_sched.joint import variable_of
from lstm_sched.learner import SHUFFLED, Learner, Order, given, lstm, steps_per_epoch
from lstm_sched.optimizers import (
    OPTIMIZERS,
    clipped,
    keras_adam,
    keras_adamw,
    keras_lion,
    keras_rmsprop,
    keras_sgd,
)
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
    "clipped",
    "epoch",
    "evaluate",
    "every",
    "fate_table",
    "from_arrays",
    "from_flax",
    "from_keras",
    "from_torch",
    "given",
    "keep",
    "keras_adam",
    "keras_adamw",
    "keras_lion",
    "keras_rmsprop",
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
    "to_flax",
    "to_keras",
    "to_torch",
    "train",
    "variable_of",
    "when",
]
