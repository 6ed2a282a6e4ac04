"""What does fit(epochs=1) × 100 forget? Training as state, and restarts as policies on it."""

from lstm_sched.auditing.audit import Audit, audit
from lstm_sched.auditing.resumable import assert_resumable
from lstm_sched.batches import Batch
from lstm_sched.checkpoint.progress import restore, resume, save
from lstm_sched.data.series import Series, load
from lstm_sched.data.splits import Split, prepare, samples, split
from lstm_sched.data.tables import Table, from_arrays, read_table
from lstm_sched.data.windows import Data, Samples, Windows, as_samples, lanes
from lstm_sched.evaluation import evaluate, losses
from lstm_sched.learner import Learner, steps_per_epoch
from lstm_sched.loop import epoch, run, step
from lstm_sched.members import (
    Carrying,
    Hyper,
    Instant,
    Log,
    Member,
    Progress,
    Selected,
    make_origin,
    member,
    start,
)
from lstm_sched.monitor import Plateau, Stopping, Watch, absolute, compounding, plateau, stopping, watch
from lstm_sched.nn.gates import variable_of
from lstm_sched.nn.interop import from_keras, from_torch, to_keras, to_torch
from lstm_sched.nn.losses import LOSSES, sample_losses
from lstm_sched.nn.network import lstm
from lstm_sched.noise import Gaussian, Noise, gaussian_noise
from lstm_sched.optimizers import (
    OPTIMIZERS,
    clipped,
    keras_adam,
    keras_adamw,
    keras_lion,
    keras_rmsprop,
    keras_sgd,
    reinit_v_from_gradient,
)
from lstm_sched.orders import FIXED, REPLACED, SEQUENTIAL, SHUFFLED, Order, composed, given
from lstm_sched.policy import keep, spread
from lstm_sched.population import Layout, choose_layout, stack, train
from lstm_sched.presets import CONTINUE, POLICIES, REDRAWN, fate_table
from lstm_sched.rules import (
    against_momentum,
    at_epochs,
    custom_rule,
    ends,
    every,
    every_steps,
    never,
    no_steps,
    on_plateau,
)
from lstm_sched.schedules import SCHEDULES, TABLES, rates, sgdr, tabulate
from lstm_sched.state import Moments, Origin, TrainState, begin, restart

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
    "Batch",
    "Carrying",
    "Data",
    "Gaussian",
    "Hyper",
    "Instant",
    "Layout",
    "Learner",
    "Log",
    "Member",
    "Moments",
    "Noise",
    "Order",
    "Origin",
    "Plateau",
    "Progress",
    "Samples",
    "Selected",
    "Series",
    "Split",
    "Stopping",
    "Table",
    "TrainState",
    "Watch",
    "Windows",
    "absolute",
    "against_momentum",
    "as_samples",
    "assert_resumable",
    "at_epochs",
    "audit",
    "begin",
    "choose_layout",
    "clipped",
    "composed",
    "compounding",
    "custom_rule",
    "ends",
    "epoch",
    "evaluate",
    "every",
    "every_steps",
    "fate_table",
    "from_arrays",
    "from_keras",
    "from_torch",
    "gaussian_noise",
    "given",
    "keep",
    "keras_adam",
    "keras_adamw",
    "keras_lion",
    "keras_rmsprop",
    "keras_sgd",
    "lanes",
    "load",
    "losses",
    "lstm",
    "make_origin",
    "member",
    "never",
    "no_steps",
    "on_plateau",
    "plateau",
    "prepare",
    "rates",
    "read_table",
    "reinit_v_from_gradient",
    "restart",
    "restore",
    "resume",
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
    "to_keras",
    "to_torch",
    "train",
    "variable_of",
    "watch",
]
