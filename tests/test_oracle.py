"""Law 8: recorded Keras 3.15 runs, from the same weights and batches (tests/oracle)."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_sched import cell, rules
from lstm_sched.data import Data, Samples
from lstm_sched.evaluation import evaluate
from lstm_sched.learner import given, lstm, steps_per_epoch
from lstm_sched.member import Hyper, member, start
from lstm_sched.optimizers import OPTIMIZERS
from lstm_sched.policies import CONTINUE, DROP_M, KERAS_LOOP, KERAS_RECOMPILE
from lstm_sched.schedules import tabulate
from lstm_sched.state import Origin
from lstm_sched.train import run

ORACLE = np.load(Path(__file__).parent / "oracle" / "keras.npz")
EPOCHS = 20
POLICIES = {"continuous": CONTINUE, "loop": KERAS_LOOP, "recompile": KERAS_RECOMPILE, "reset_m": DROP_M}
OPTIMIZER = {"adam": "keras_adam", "sgd": "keras_sgd", "sgdm": "keras_momentum"}
ARMS = [
    f"{optimizer}/{policy}"
    for optimizer in OPTIMIZER
    for policy in POLICIES
    if f"{optimizer}/{policy}/loss" in ORACLE.files
]
run_jit = jax.jit(run, static_argnames=("learner", "epochs"))


def weights():
    w = {
        name: jnp.asarray(ORACLE[f"w_{name}"], float)
        for name in ("kernel", "recurrent", "bias", "dense", "dense_bias")
    }
    head = {"kernel": w["dense"], "bias": w["dense_bias"]}
    return {"lstm_0": cell.from_joint(w["kernel"], w["recurrent"], w["bias"]), "head": head}


def flat(params):
    head = params["head"]
    return np.concatenate(
        [np.asarray(a).ravel() for a in (*cell.to_joint(params["lstm_0"]), head["kernel"], head["bias"])]
    )


@functools.cache
def reproduce(arm, x64):
    """Progress, log and the last validation loss of one recorded arm, through our own state and policy."""
    optimizer, policy = arm.split("/")
    lr_E = ORACLE[f"{'f64:' if x64 else ''}{arm}/lr"]
    assert (lr_E == lr_E[0]).all(), "these arms have a constant rate"
    part = [
        Samples(jnp.asarray(ORACLE[x], float), jnp.asarray(ORACLE[y], float))
        for x, y in (("X", "y"), ("Xv", "yv"))
    ]
    data = Data(train=part[0], val=part[1], test=part[1])
    learner = lstm(
        OPTIMIZERS[OPTIMIZER[optimizer]],
        features=2,
        hidden=50,
        batch=32,
        order=given(jnp.arange(250)[None]),
    )
    no = jnp.zeros((), bool)
    origin = Origin(jax.random.key(0), weights(), redraw=no, reseed=no)
    hp = Hyper(tabulate(float(lr_E[0]), EPOCHS * steps_per_epoch(learner, 250)))
    one = member(learner, hp, POLICIES[policy], rules.every(1, EPOCHS), origin)
    progress, log = run_jit(learner, one, data, start(learner, origin), EPOCHS)
    return progress, log, evaluate(learner, progress.state.params, data.val)


@pytest.mark.parametrize("arm", ARMS)
def test_a_recorded_keras_run_is_reproduced_epoch_by_epoch(arm):
    progress, log, final_val = reproduce(arm, False)
    np.testing.assert_allclose(log.loss, ORACLE[f"{arm}/loss"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(log.val, ORACLE[f"{arm}/val"], rtol=0, atol=1e-6)
    assert float(final_val) == pytest.approx(float(ORACLE[f"{arm}/final_val"]), abs=1e-6)
    assert int(progress.state.step) == int(ORACLE[f"{arm}/it"][-1])
    if f"{arm}/final_w" in ORACLE.files:
        np.testing.assert_allclose(flat(progress.state.params), ORACLE[f"{arm}/final_w"], rtol=0, atol=5e-5)


@pytest.mark.parametrize("arm", ARMS)
def test_a_recorded_keras_run_in_float64_is_reproduced_to_its_twelfth_digit(arm, x64):
    progress, log, final_val = reproduce(arm, True)
    np.testing.assert_allclose(log.loss, ORACLE[f"f64:{arm}/loss"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(log.val, ORACLE[f"f64:{arm}/val"], rtol=0, atol=1e-12)
    assert float(final_val) == pytest.approx(float(ORACLE[f"f64:{arm}/final_val"]), abs=1e-12)
    if f"f64:{arm}/final_w" in ORACLE.files:
        np.testing.assert_allclose(
            flat(progress.state.params), ORACLE[f"f64:{arm}/final_w"], rtol=0, atol=1e-12
        )


def test_every_arm_that_needs_no_rule_is_among_them():
    assert {"adam/continuous", "adam/loop", "adam/recompile", "adam/reset_m"} <= set(ARMS)
    assert {"sgd/continuous", "sgd/loop", "sgd/recompile"} <= set(ARMS)


@pytest.mark.parametrize(
    ("one", "other"),
    [("adam/loop", "adam/continuous"), ("sgd/recompile", "sgd/continuous"), ("sgdm/loop", "sgdm/continuous")],
)
def test_what_is_exactly_equal_in_keras_is_exactly_equal_here(one, other):
    np.testing.assert_array_equal(ORACLE[f"{one}/loss"], ORACLE[f"{other}/loss"])
    (a, log_a, _), (b, log_b, _) = reproduce(one, False), reproduce(other, False)
    np.testing.assert_array_equal(log_a.loss, log_b.loss)
    np.testing.assert_array_equal(flat(a.state.params), flat(b.state.params))
