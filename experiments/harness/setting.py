"""The setting that experiments share: its fields, their checks before compilation, and what they build."""

import dataclasses
import math
from dataclasses import dataclass

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
    """sunspots, weather, co2, glucose, stocks, air; sines, ar, adding, garch; or files: csv, csv.gz, parquet, npz"""
    target: str | None = None
    """column to predict; a bundled series has its own"""
    time: str | None = None
    """column of time stamps (dates, times or numbers) of your own file; without it rows are taken as evenly spaced"""
    features: tuple[str, ...] = ()
    """further columns that the network sees; by default none"""
    group: str | None = None
    """column that tells several series of your own file apart; no window crosses from one to another"""
    missing: str = "refuse"
    """rows with a missing value in your own file: refuse, drop (no window crosses them) or ffill"""
    period: int | None = None
    """rows in a season, which blocks of test windows are as long as; a bundled series has its own"""
    window: int = 24
    """rows that the network sees (time steps)"""
    horizon: int = 1
    """steps from the window's last row to the target; 1 predicts the next row"""
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
    """learning rate; the highest one, where the schedule varies it"""
    schedule: str = "constant"
    """the learning rate over time: constant, linear, cosine, warmup_cosine, exponential, one_cycle or sgdr"""
    seeds: int = 16
    """number of paired seeds n; they are 8 to 7 + n"""
    every: int = 1
    """epochs in each fit of a loop"""
    out: str | None = None
    """folder for the results, new or empty; by default a new one under runs/"""
    resume: str | None = None
    """folder of an interrupted run: continue it, with the configuration stored in it"""
    save_every: float = SAVE_EVERY
    """seconds from one checkpoint to the next; the run is also saved when it ends or is stopped"""
    devices: int | None = None
    """CPU cores (or accelerators) to spread the trainings over; by default all"""
    layout: str = "auto"
    """trainings on a device: map (in turn), vmap (batched), auto, or divide (in turn, each batch over all devices)"""
    members_per_chunk: int | None = None
    """trainings at a time, while the others wait; by default as many as the memory holds"""


@dataclass(frozen=True, kw_only=True)
class Built:
    """The objects built from a setting on one series: data, learner, and layout of trainings on devices."""

    split: Split
    learner: Learner
    layout: Layout
    steps: int  # in an epoch


def check(setting: Setting) -> None:
    """Raise ValueError if a field is invalid, naming the first one, its value and what is allowed."""
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
    """Raise ValueError if the training is no whole number of fits of `every` epochs."""
    if every < 1 or epochs % every:
        divisors = [n for n in range(1, epochs + 1) if epochs % n == 0]
        raise ValueError(
            f"{field}: {every}; allowed: a divisor of epochs {epochs}: {', '.join(map(str, divisors))}"
        )


def build(setting: Setting, split: Split, watched: bool = False) -> Built:
    """Build learner (with or without per-epoch rules) and layout. ValueError before any compilation."""
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
    mapped = None if setting.layout == "auto" else setting.layout != "vmap"
    divided = setting.layout == "divide"
    layout = population.choose_layout(setting.devices, mapped, setting.members_per_chunk, divided)
    if divided:
        divide(learner, layout.devices)  # raises where batches cannot be shared
    return Built(split=split, learner=learner, layout=layout, steps=steps)


def rates(
    setting: Setting, steps: int, factor: float = 1.0, policy: str = "one_fit", every: int | None = None
):
    """rates_S of the whole training times a factor, `steps` per epoch; some policies have rates per fit."""
    total = setting.epochs * steps
    fit = (every or setting.epochs) * steps
    return schedules.rates(policy, setting.schedule, setting.lr * factor, total, fit)
