"""What does fit(epochs=1) × 100 forget? Training as state, and restarts as policies on it."""

from lstm_sched.audit import Audit, audit
from lstm_sched.baselines import linear_ar, mean, persistence
from lstm_sched.checkpoint import restore, resume, save
from lstm_sched.data import Data, Samples, Windows, as_samples, lanes
from lstm_sched.evaluation import evaluate, losses
from lstm_sched.fractions import keep, spread
from lstm_sched.interop import from_flax, from_keras, from_torch, to_flax, to_keras, to_torch
from lstm_sched.joint import variable_of
from lstm_sched.keras_rules import absolute, compounding, plateau, stopping, watch
from lstm_sched.learner import FIXED, SEQUENTIAL, SHUFFLED, Learner, Order, given, lstm, steps_per_epoch
from lstm_sched.member import Hyper, Log, Member, Progress, member, originate, start
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
from lstm_sched.resumable import assert_resumable
from lstm_sched.rules import at, ends, every, never, when
from lstm_sched.schedules import SCHEDULES, sgdr, tabulate
from lstm_sched.series import Series, load
from lstm_sched.split import prepare, samples, split
from lstm_sched.state import Moments, Origin, TrainState, begin, restart
from lstm_sched.tables import from_arrays, read_table
from lstm_sched.train import epoch, run, step

__all__ = [
    "CONTINUE",
    "FIXED",
    "OPTIMIZERS",
    "POLICIES",
    "SCHEDULES",
    "SEQUENTIAL",
    "SHUFFLED",
    "Audit",
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
    "absolute",
    "as_samples",
    "assert_resumable",
    "at",
    "audit",
    "begin",
    "clipped",
    "compounding",
    "ends",
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
    "lanes",
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
    "plateau",
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
    "stopping",
    "tabulate",
    "to_flax",
    "to_keras",
    "to_torch",
    "train",
    "variable_of",
    "watch",
    "when",
]
