"""Law 8: recorded Keras 3.15 runs, from the same weights and batches (tests/oracle)."""

import functools
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import small

from lstm_sched import monitor, rules
from lstm_sched.data.windows import Data, Samples
from lstm_sched.evaluation import evaluate
from lstm_sched.members import Carrying, Hyper, member
from lstm_sched.nn.gates import variable_of
from lstm_sched.nn.interop import from_keras, to_keras
from lstm_sched.nn.network import lstm
from lstm_sched.optimizers import clipped, keras_adam, keras_adamw, keras_lion, keras_rmsprop, keras_sgd
from lstm_sched.orders import SEQUENTIAL, given
from lstm_sched.presets import CONTINUE, DROP_M, DROP_V, KERAS_INITIAL_EPOCH, KERAS_LOOP, KERAS_RECOMPILE
from lstm_sched.schedules import sgdr, tabulate
from lstm_sched.state import Origin, TrainState

ORACLE = np.load(Path(__file__).parent / "keras.npz")
EPOCHS, STEPS = 20, 160
EACH = rules.every(1, EPOCHS)
ORDER = given(jnp.arange(250)[None])  # nothing is shuffled
WEIGHTS = ("kernel", "recurrent", "bias", "dense", "dense_bias")


class Arm(NamedTuple):
    """A recorded run as it is written here."""

    optimizer: Any  # a factory of a learning rate
    rates: Any  # a constant or an optax schedule
    policy: TrainState = CONTINUE
    when: Any = EACH
    epochs: int = EPOCHS  # compared: fewer where rounding grows
    atol: float = 1e-6
    atol64: float = 1e-12
    uses: Any = ()  # of the learner, besides what all use
    watch: Any = monitor.watch(EPOCHS)
    average: float = 0.0  # by default the average is the weights
    ends: Any = rules.never(EPOCHS)


MOMENTUM = functools.partial(keras_sgd, momentum=0.9)
ADAMW = functools.partial(keras_adamw, weight_decay=0.01)
# Keras has its schedules in float32 whatever the dtype, and its cosine is another's to a unit in the last place.
COSINE = functools.partial(Arm, keras_adam, optax.cosine_decay_schedule(0.01, STEPS), atol64=1e-9)
EXPONENTIAL = functools.partial(Arm, keras_adam, optax.exponential_decay(0.01, 40, 0.5))
TENTH_E = np.where(np.arange(EPOCHS) < 10, 1.0, 0.1)
COMPOUND = monitor.watch(EPOCHS, rate=monitor.compounding(TENTH_E))
ABSOLUTE = monitor.watch(EPOCHS, rate=monitor.absolute(TENTH_E))
PLATEAU = monitor.watch(EPOCHS, plateau=monitor.plateau(2, 0.5, 0.02))
STOPPING = monitor.watch(EPOCHS, stopping=monitor.stopping(2, 0.02, restore=True))
ONE_FIT, LOOP = rules.ends(EPOCHS, EPOCHS), rules.ends(1, EPOCHS)
ARMS = {
    "adam/continuous": Arm(keras_adam, 0.001),
    "adam/loop": Arm(keras_adam, 0.001, KERAS_LOOP),
    "adam/recompile": Arm(keras_adam, 0.001, KERAS_RECOMPILE),
    "adam/reset_m": Arm(keras_adam, 0.001, DROP_M),
    "adam/reset_v": Arm(keras_adam, 0.001, DROP_V, epochs=2),
    "adam/reset_v_at10": Arm(keras_adam, 0.001, DROP_V, rules.at_epochs([10], EPOCHS), atol=1e-4),
    "adamw/continuous": Arm(ADAMW, 0.001),
    "adamw/loop": Arm(ADAMW, 0.001, KERAS_LOOP),
    "clip/global_clipnorm": Arm(clipped(keras_adam, global_clipnorm=0.05), 0.001),
    "rmsprop/continuous": Arm(keras_rmsprop, 0.001),
    "rmsprop/loop": Arm(keras_rmsprop, 0.001, KERAS_LOOP),
    "rmsprop_momentum/continuous": Arm(functools.partial(keras_rmsprop, momentum=0.9), 0.0001),
    "sched/cosine_continuous": COSINE(),
    "sched/cosine_loop": COSINE(policy=KERAS_LOOP),
    "sched/cosine_recompile": COSINE(policy=KERAS_RECOMPILE, epochs=2),
    "sched/exp_continuous": EXPONENTIAL(),
    "sched/exp_loop": EXPONENTIAL(policy=KERAS_LOOP),
    "sched/sgdr_continuous": Arm(keras_adam, sgdr(0.01, STEPS, cycles=4), atol64=1e-8),
    "sgd/continuous": Arm(keras_sgd, 0.05),
    "sgd/loop": Arm(keras_sgd, 0.05, KERAS_LOOP),
    "sgd/recompile": Arm(keras_sgd, 0.05, KERAS_RECOMPILE),
    "sgdm/continuous": Arm(MOMENTUM, 0.05),
    "sgdm/loop": Arm(MOMENTUM, 0.05, KERAS_LOOP),
    "sgdm/recompile": Arm(MOMENTUM, 0.05, KERAS_RECOMPILE),
    "lrs/single": Arm(keras_adam, 0.001, watch=COMPOUND),
    "lrs/loop": Arm(keras_adam, 0.001, KERAS_LOOP, watch=COMPOUND),
    "lrs/loop_initial_epoch": Arm(keras_adam, 0.001, KERAS_INITIAL_EPOCH, watch=COMPOUND),
    "lrs/absolute": Arm(keras_adam, 0.001, watch=ABSOLUTE),
    "sgdm/lrdrop": Arm(MOMENTUM, 0.05, watch=ABSOLUTE),
    "plateau/single": Arm(keras_adam, 0.001, watch=PLATEAU),
    "plateau/loop": Arm(keras_adam, 0.001, KERAS_LOOP, watch=PLATEAU),
    "earlystop/single": Arm(keras_adam, 0.001, ends=ONE_FIT, watch=STOPPING),
    "earlystop/loop": Arm(keras_adam, 0.001, KERAS_LOOP, ends=LOOP, watch=STOPPING),
    "ema/continuous": Arm(keras_adam, 0.001, average=0.9, ends=ONE_FIT),
    "ema/loop": Arm(keras_adam, 0.001, KERAS_LOOP, average=0.9, ends=LOOP),
    "ga3/continuous": Arm(keras_adam, 0.001, atol64=1e-9, uses=(("accumulate", 3),)),
    "ga3/loop": Arm(keras_adam, 0.001, KERAS_LOOP, atol64=1e-9, uses=(("accumulate", 3),)),
    "spe2/continuous": Arm(keras_adam, 0.001, uses=(("steps", 2),)),
    "spe2/loop": Arm(keras_adam, 0.001, KERAS_LOOP, uses=(("steps", 2),)),
    "perm/fresh": Arm(keras_adam, 0.001, KERAS_LOOP, uses=(("order", given(ORACLE["perms"])),)),
    "sample_weight/continuous": Arm(keras_adam, 0.001),
}

evaluate_jit = jax.jit(evaluate, static_argnames="learner")


def learner_of(arm):
    """All arms use per-epoch rules, an average and sample weights, so that few programs are compiled."""
    uses = {"features": 2, "hidden": 50, "batch": 32, "order": ORDER, "watched": True, "averaged": True}
    return lstm(arm.optimizer, **(uses | dict(arm.uses)))


MAIN = learner_of(Arm(keras_adam, 0.001))  # of most arms


def weights():
    return from_keras([jnp.asarray(ORACLE[f"w_{name}"], float) for name in WEIGHTS])


def flat(params):
    return np.concatenate([array.ravel() for array in to_keras(params)])


@functools.cache
def reproduce(name, x64):
    """Progress, log and the last validation loss of one recorded arm, through our own state and policy."""
    arm = ARMS[name]
    weight_N = ORACLE["sample_weight"] if name.startswith("sample_weight") else np.ones(250)
    train = Samples(*(jnp.asarray(a, float) for a in (ORACLE["X"], ORACLE["y"], weight_N)))
    val = Samples(*(jnp.asarray(ORACLE[name], float) for name in ("Xv", "yv")))
    data, learner = Data(train, val, val), learner_of(arm)
    origin = Origin(jax.random.key(0), weights())
    with jax.enable_x64(x64 and isinstance(arm.rates, float)):
        rates_S = np.asarray(tabulate(arm.rates, STEPS))
    hp = Hyper(jnp.asarray(rates_S, float), arm.watch, np.asarray(arm.average))
    run = small.run_jit if learner is MAIN else small.run_soon
    progress, log = small.finish(
        learner, member(learner, hp, arm.policy, arm.when, origin, arm.ends), data, EPOCHS, compiled=run
    )
    return progress, log, evaluate_jit(MAIN, progress.state.params, data.val)


def compare(name, x64, atol, atol_weights):
    arm, recorded = ARMS[name], f"f64:{name}" if x64 else name
    progress, log, final_val = reproduce(name, x64)
    n = min(arm.epochs, len(ORACLE[f"{recorded}/loss"]))  # a run that stopped has fewer
    for loss in ("loss", "val"):
        want = ORACLE[f"{recorded}/{loss}"]
        np.testing.assert_allclose(getattr(log, loss)[:n], want[:n], rtol=0, atol=atol)
    assert np.asarray(log.trained).sum() == len(ORACLE[f"{recorded}/loss"])
    if not name.startswith(("plateau", "sched")):  # recorded after the epoch's decay; of the step to come
        np.testing.assert_allclose(log.rate[:n], ORACLE[f"{recorded}/lr"][:n], rtol=2e-7)
    assert int(progress.state.step) == int(ORACLE[f"{name}/it"][-1])
    if arm.epochs == EPOCHS:
        assert float(final_val) == pytest.approx(float(ORACLE[f"{recorded}/final_val"]), abs=atol)
    if f"{recorded}/final_w" in ORACLE.files:
        got, want = flat(progress.state.params), ORACLE[f"{recorded}/final_w"]
        np.testing.assert_allclose(got, want, rtol=0, atol=atol_weights)


@pytest.mark.parametrize("name", ARMS)
def test_a_recorded_keras_run_is_reproduced_epoch_by_epoch(name):
    compare(name, False, ARMS[name].atol, atol_weights=5e-5)


@pytest.mark.parametrize("name", ARMS)
def test_a_recorded_keras_run_in_float64_is_reproduced_to_its_twelfth_digit_or_its_schedules(name, x64):
    compare(name, True, ARMS[name].atol64, atol_weights=1e-12)


def test_every_recorded_arm_is_among_them():
    assert set(ARMS) == set(json.loads(str(ORACLE["meta"]))["arms"])


@pytest.mark.parametrize(
    ("looped", "single"),
    [
        ("adam/loop", "adam/continuous"),
        ("adamw/loop", "adamw/continuous"),
        ("rmsprop/loop", "rmsprop/continuous"),
        ("sched/cosine_loop", "sched/cosine_continuous"),
        ("sched/exp_loop", "sched/exp_continuous"),
        ("sgd/recompile", "sgd/continuous"),
        ("sgdm/loop", "sgdm/continuous"),
        ("lrs/single", "lrs/loop_initial_epoch"),
        ("lrs/loop", "adam/loop"),
        ("plateau/loop", "adam/loop"),
        ("earlystop/loop", "adam/loop"),
        ("ga3/loop", "ga3/continuous"),
    ],
)
def test_what_is_exactly_equal_in_keras_is_exactly_equal_here(looped, single):
    for loss in ("loss", "val", "final_val"):
        np.testing.assert_array_equal(ORACLE[f"{looped}/{loss}"], ORACLE[f"{single}/{loss}"])
    (a, log_a, _), (b, log_b, _) = reproduce(looped, False), reproduce(single, False)
    np.testing.assert_array_equal(log_a.loss, log_b.loss)
    np.testing.assert_array_equal(flat(a.state.params), flat(b.state.params))


# ---- a stateful network: 10 lanes, their state carried from batch to batch

NO, YES = np.False_, np.True_
LANES = {
    "stateless": (),
    "stateful_noreset": Carrying(reset=NO, through=NO),
    "stateful_reset": Carrying(reset=YES, through=NO),
}


def lanes(name, x64):
    samples = Samples(*(jnp.asarray(ORACLE[f"stateful/{a}"], float) for a in "Xy"))
    learner = lstm(keras_adam, hidden=8, batch=10, order=SEQUENTIAL, stateful=name != "stateless")
    params = from_keras([jnp.asarray(ORACLE[f"stateful/w_{w}"], float) for w in WEIGHTS])
    hp = Hyper(tabulate(0.01, 6 * EPOCHS), carry=LANES[name])
    lane = member(learner, hp, CONTINUE, EACH, Origin(jax.random.key(0), params))
    _, log = small.finish(learner, lane, Data(samples, samples, samples), EPOCHS)
    return np.abs(log.loss - ORACLE[f"{'f64:' * x64}stateful/{name}/loss"]).max()


@pytest.mark.parametrize("name", LANES)
def test_a_recorded_stateful_run_is_reproduced(name):
    assert lanes(name, False) < 1e-6


@pytest.mark.parametrize("name", LANES)
def test_a_recorded_stateful_run_in_float64_is_reproduced_to_its_twelfth_digit(name, x64):
    assert lanes(name, True) < 1e-12


# ---- forms of optimizers and of clipping, on two layers (oracle/forms.py)

FORM_RUNS = np.load(Path(__file__).parent / "forms.npz")
FORM_ORDER = given(jnp.arange(24)[None])
FORMS = {
    "adamw": (keras_adamw, 0.01),
    "nesterov": (functools.partial(keras_sgd, momentum=0.9, nesterov=True), 0.05),
    "lion": (keras_lion, 0.001),
    "rmsprop_centered": (functools.partial(keras_rmsprop, rho=0.8, momentum=0.5, centered=True), 0.001),
    "clipnorm": (clipped(keras_sgd, clipnorm=0.1, variable_of=variable_of), 0.1),
    "global_clipnorm": (clipped(keras_sgd, global_clipnorm=0.2), 0.1),
    "clipvalue": (clipped(keras_sgd, clipvalue=0.05), 0.1),
    "clipnorm_adamw": (
        clipped(functools.partial(keras_adamw, weight_decay=0.1), clipnorm=0.1, variable_of=variable_of),
        0.01,
    ),
}


def test_the_recorded_forms_are_reproduced_on_two_layers_in_float64(x64):
    network = lstm(keras_sgd, features=2, hidden=4, layers=2, batch=8, order=FORM_ORDER)
    factories = {name: lambda _, make=make, rate=rate: make(rate) for name, (make, rate) in FORMS.items()}
    learner = small.side_by_side(network, factories)
    params = from_keras([FORM_RUNS[f"weights_{n}"] for n in range(8)])
    origin = Origin(jax.random.key(0), dict.fromkeys(FORMS, params))
    samples = Samples(jnp.asarray(FORM_RUNS["X"]), jnp.asarray(FORM_RUNS["y"]))
    forms = member(learner, Hyper(tabulate(1.0, 24)), CONTINUE, rules.never(8), origin)
    progress, log = small.finish(learner, forms, Data(samples, samples, samples), 8)
    want = sum(FORM_RUNS[f"{name}/loss"] for name in FORMS)
    np.testing.assert_allclose(log.loss, want, rtol=0, atol=1e-12)
    for name, trained in progress.state.params.items():
        want = FORM_RUNS[f"{name}/weights"]
        np.testing.assert_allclose(flat(trained), want, rtol=0, atol=1e-12, err_msg=name)
