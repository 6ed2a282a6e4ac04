"""What does fit(epochs=1) × 100 forget? Training as state, and restarts as policies on it."""

from lstm_sched.audit import Audit, audit
from lstm_sched.baselines import linear_ar, mean, persistence
from lstm_sched.checkpoint import restore, resume, save
from lstm_sched.data import Data, Samples, Windows, as_samples, lanes
from lstm_sched.dialects import REDRAWN
from lstm_sched.epochs import epoch, step
from lstm_sched.evaluation import evaluate, losses
from lstm_sched.fractions import keep, spread
from lstm_sched.interop import from_flax, from_keras, from_torch, to_flax, to_keras, to_torch
from lstm_sched.jitter import Jitter, noise
from lstm_sched.joint import variable_of
from lstm_sched.keras_rules import absolute, compounding, plateau, stopping, watch
from lstm_sched.learner import (
    FIXED,
    REPLACED,
    SEQUENTIAL,
    SHUFFLED,
    Learner,
    Order,
    composed,
    given,
    lstm,
    steps_per_epoch,
)
from lstm_sched.losses import LOSSES, sample_losses
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
from lstm_sched.primed import primed
from lstm_sched.resumable import assert_resumable
from lstm_sched.rules import (
    against_momentum,
    at,
    ends,
    every,
    every_steps,
    never,
    no_steps,
    on_plateau,
    when,
)
from lstm_sched.schedules import SCHEDULES, TABLES, rates, sgdr, tabulate
from lstm_sched.series import Series, load
from lstm_sched.split import prepare, samples, split
from lstm_sched.state import Moments, Origin, TrainState, begin, restart
from lstm_sched.tables import from_arrays, read_table
from lstm_sched.train import run

__all__ = [
    "CONTINUE",
    "FIXED",
    "LOSSES",
    "OPTIMIZERS",
    "POLICIES",
    "REDRAWN",
    "REPLACED",
    "SCHEDULES",
    "SEQUENTIAL",
    "SHUFFLED",
    "TABLES",
    "Audit",
    "Data",
    "Hyper",
    "Jitter",
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
    "against_momentum",
    "as_samples",
    "assert_resumable",
    "at",
    "audit",
    "begin",
    "clipped",
    "composed",
    "compounding",
    "ends",
    "epoch",
    "evaluate",
    "every",
    "every_steps",
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
    "no_steps",
    "noise",
    "on_plateau",
    "originate",
    "persistence",
    "plateau",
    "prepare",
    "primed",
    "rates",
    "read_table",
    "restart",
    "restore",
    "resume",
    "row",
    "run",
    "sample_losses",
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
