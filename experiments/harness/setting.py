"""What every experiment is asked with: the fields, their checks before any compilation, and what they build."""

import dataclasses
import math
from dataclasses import dataclass
from typing import NamedTuple

from experiments.harness import compile_cache
from lstm_sched import population, schedules
from lstm_sched._names import check_name
from lstm_sched.data.splits import CUTS, Split
from lstm_sched.data.tables import MISSING
from lstm_sched.data_parallel import divide
from lstm_sched.learner import Learner, steps_per_epoch
from lstm_sched.nn import network
from lstm_sched.nn.losses import POINT
from lstm_sched.nn.network import lstm
from lstm_sched.optimizers import OPTIMIZERS, by_name
from lstm_sched.population.layout import Layout
from lstm_sched.schedules import SCHEDULES

FIRST_SEED = 8  # 0–7 were spent on exploration
SAVE_EVERY = 30.0
LAYOUTS = ("auto", "map", "vmap", "divide")
WHERE = ("out", "resume", "save_every", "devices", "layout", "members_per_chunk")  # how and where it runs


@dataclass(frozen=True)
class Setting:
    """The fields that all experiments share; the defaults are the setting of the question."""

    data: tuple[str, ...] = ("sunspots",)
    """series, one run each: sunspots, weather, co2, glucose, stocks, air (real); sines, ar, adding, garch (known
    answer); or paths of your own .csv, .csv.gz, .parquet or .npz"""
    target: str | None = None
    """column to predict; a bundled series has its own"""
    time: str | None = None
    """column of time stamps of your own file: dates, dates and times with or without zone, or numbers; without it
    rows are taken in order, evenly spaced"""
    features: tuple[str, ...] = ()
    """columns that the network sees beside the target"""
    group: str | None = None
    """column that tells several series of your own file apart; no window crosses from one to another"""
    missing: str = "refuse"
    """rows with a missing value in your own file: refuse, drop (no window crosses them) or ffill"""
    period: int | None = None
    """rows in a season, the block of the bootstrap over test windows; a bundled series has its own"""
    window: int = 24
    """rows that the network sees (time steps)"""
    horizon: int = 1
    """rows between the window's last row and the target"""
    split: tuple[float, float] = CUTS
    """where training and validation end, as fractions of the rows in time order"""
    hidden: int = 50
    """units in each LSTM layer"""
    layers: int = 1
    """LSTM layers"""
    dropout: float = 0.0
    """fraction of each layer's outputs dropped in training, 0 to below 1"""
    init: str = "keras"
    """initial weights: keras or flax"""
    loss: str = "mse"
    """mse, mae or huber, in units of the standardised target"""
    batch: int = 32
    """windows in an update"""
    drop_last: bool = False
    """leave out the last, partial batch of an epoch (Keras keeps it)"""
    epochs: int = 100
    """epochs in a whole training"""
    optimizer: str = "keras_adam"
    """optimizer: keras_adam, keras_sgd, keras_momentum, or an optax factory such as adam, adamw, lion"""
    weight_decay: float | None = None
    """weight decay of keras_adamw, adamw, lamb or lion; by default the optimizer's own"""
    lr: float = 1e-3
    """learning rate; the peak, where the schedule varies it"""
    schedule: str = "constant"
    """learning rate over the whole training: constant, linear, cosine, warmup_cosine, exponential, one_cycle, sgdr"""
    seeds: int = 16
    """paired seeds: 8 … 7 + n"""
    every: int = 1
    """epochs in each fit of a loop"""
    out: str | None = None
    """folder for the results, new or empty; by default a new one under runs/"""
    resume: str | None = None
    """folder of an interrupted run: continue it, with the configuration stored in it"""
    save_every: float = SAVE_EVERY
    """seconds from one checkpoint to the next; a signal that stops the run, and its end, save at once"""
    devices: int | None = None
    """CPU cores (or accelerators) to spread the trainings over; by default all"""
    layout: str = "auto"
    """members of a population on one device: map (one after another) or vmap (batched); auto is map on CPU. divide: one
    after another, each batch divided over all devices, for trainings fewer than devices"""
    members_per_chunk: int | None = None
    """members trained at a time, the others waiting; by default as many as the memory holds"""


class Built(NamedTuple):
    """A setting made real on one series."""

    split: Split
    learner: Learner
    layout: Layout
    steps: int  # in an epoch


def check(setting: Setting) -> None:
    """ValueError naming the first field that cannot be, its value and what is allowed."""
    for field in dataclasses.fields(setting):
        value = getattr(setting, field.name)
        if isinstance(field.default, tuple) and isinstance(value, str):
            raise TypeError(f"{field.name}: {value!r} is text; allowed: a sequence of names")
    if not setting.data or len(set(setting.data)) < len(setting.data):
        raise ValueError(f"data: {', '.join(setting.data) or 'none'}; allowed: one or more series, each once")
    check_name("missing", setting.missing, MISSING)
    check_name("init", setting.init, network.INITS)
    check_name("loss", setting.loss, POINT)
    check_name("optimizer", setting.optimizer, OPTIMIZERS)
    by_name(setting.optimizer, setting.weight_decay)  # raises where the optimizer has none
    check_name("schedule", setting.schedule, SCHEDULES)
    check_name("layout", setting.layout, LAYOUTS)
    for field in ("window", "horizon", "hidden", "layers", "batch", "epochs", "seeds", "every"):
        value = getattr(setting, field)
        if value < 1:
            raise ValueError(f"{field}: {value}; allowed: 1 or more")
    for field in ("devices", "period", "members_per_chunk"):
        value = getattr(setting, field)
        if value is not None and value < 1:
            raise ValueError(f"{field}: {value}; allowed: 1 or more")
    if not 0 < setting.split[0] < setting.split[1] < 1:
        raise ValueError(f"split: {setting.split}; allowed: two fractions a, b with 0 < a < b < 1")
    if not 0 <= setting.dropout < 1:
        raise ValueError(f"dropout: {setting.dropout}; allowed: 0 to below 1")
    if not (math.isfinite(setting.lr) and setting.lr > 0):
        raise ValueError(f"lr: {setting.lr}; allowed: above 0 and finite")
    if not setting.save_every >= 0:
        raise ValueError(
            f"save_every: {setting.save_every}; allowed: 0 (each chunk of epochs) or more seconds"
        )
    check_every("every", setting.every, setting.epochs)


def check_every(field: str, every: int, epochs: int) -> None:
    """ValueError where fits of `every` epochs do not make up the training."""
    if every < 1 or epochs % every:
        divisors = [n for n in range(1, epochs + 1) if epochs % n == 0]
        raise ValueError(
            f"{field}: {every}; allowed: a divisor of epochs {epochs}: {', '.join(map(str, divisors))}"
        )


def build(setting: Setting, split: Split, watched: bool = False) -> Built:
    """Learner (with per-epoch rules or without) and layout for the data. Raises ValueError before any compilation."""
    compile_cache.use()
    features = split.scale.mean_F.size
    learner = lstm(
        by_name(setting.optimizer, setting.weight_decay),
        features=features,
        hidden=setting.hidden,
        layers=setting.layers,
        dropout=setting.dropout,
        init=setting.init,
        loss=setting.loss,
        batch=setting.batch,
        drop_last=setting.drop_last,
        watched=watched,
    )
    steps = steps_per_epoch(learner, split.data.train.size)
    rates(setting, steps)  # raises for a schedule that the run is too short for
    mapped, divided = (
        None if setting.layout == "auto" else setting.layout != "vmap",
        setting.layout == "divide",
    )
    layout = population.choose_layout(setting.devices, mapped, setting.members_per_chunk, divided)
    if divided:
        divide(learner, layout.devices)  # raises where batches cannot be shared
    return Built(split, learner, layout, steps)


def rates(
    setting: Setting, steps: int, factor: float = 1.0, policy: str = "one_fit", every: int | None = None
):
    """rates_S of the whole training, `steps` an epoch, times a factor; some policies have their own in each fit."""
    total = setting.epochs * steps
    fit = (every or setting.epochs) * steps
    return schedules.rates(policy, setting.schedule, setting.lr * factor, total, fit)
