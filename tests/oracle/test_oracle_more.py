"""Law 8, what a loop of fits makes of callbacks, shorter epochs, averages, carried states and files: Keras 3.15 runs
recorded by oracle/record.py, from the same weights and batches. Names of arms are those of the recording."""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.small import finish

from lstm_sched import rules
from lstm_sched.data.windows import Data, Samples
from lstm_sched.learner import Learner
from lstm_sched.members import Carrying, Hyper, member
from lstm_sched.monitor import absolute, compounding, plateau, stopping, watch
from lstm_sched.nn.gates import variable_of
from lstm_sched.nn.interop import from_keras, to_keras
from lstm_sched.nn.network import lstm
from lstm_sched.optimizers import clipped, keras_adam, keras_adamw, keras_rmsprop, keras_sgd
from lstm_sched.orders import SEQUENTIAL
from lstm_sched.presets import (
    CONTINUE,
    KERAS_INITIAL_EPOCH,
    KERAS_LOOP,
    KERAS_RECOMPILE,
    KERAS_RELOAD,
    KERAS_RELOAD_H5,
    KERAS_RELOAD_WEIGHTS,
    KERAS_RESET_STATES,
)
from lstm_sched.schedules import tabulate
from lstm_sched.state import Origin, TrainState

ORACLE = np.load(Path(__file__).parent / "keras_more.npz")
EPOCHS, LR = 12, 0.06
LOW = 0.02  # where rounding would grow too far
ABSOLUTE, COMPOUNDING = absolute(ORACLE["factors"]), compounding(ORACLE["factors"])
COSINE, LOW_COSINE = (optax.cosine_decay_schedule(lr, 84) for lr in (LR, LOW))
KEPT, THROUGH = Carrying(np.False_, np.False_), Carrying(np.False_, np.True_)


class Arm(NamedTuple):
    """A recorded run as it is written here."""

    learner: Learner
    policy: TrainState = CONTINUE
    every: int = EPOCHS  # epochs of a fit
    rates: Any = LR
    average: float = 0.0  # by default the average is the weights
    carry: Any = ()
    weighted: bool = False
    rate: Any = None  # from here on what `watch` takes
    stopping: Any = None
    plateau: Any = None
    validation_freq: Any = 1


# All use an average, so that few programs are compiled.
small = partial(lstm, features=2, hidden=8, batch=16, order=SEQUENTIAL, watched=True, averaged=True)
adam = partial(small, keras_adam)
decaying = clipped(partial(keras_adamw, weight_decay=0.1), clipnorm=0.1, variable_of=variable_of)
nesterov = partial(keras_sgd, momentum=0.9, nesterov=True)
rmsprop = partial(keras_rmsprop, momentum=0.5, centered=True)
plain = partial(Arm, adam())
averaging = partial(plain, average=0.9)
accumulating = partial(Arm, adam(accumulate=3), rates=LOW)
both = partial(accumulating, average=0.9)
stateful = partial(Arm, adam(stateful=True), rates=LOW, carry=THROUGH)
best = partial(stopping, restore=True)
flat = partial(plateau, 1, 0.5, 0.01)

ARMS = {
    "stop/patience0": plain(stopping=stopping(0)),
    "stop/patience1": plain(stopping=best(1)),
    "stop/patience3": plain(stopping=best(3)),
    "stop/min_delta": plain(stopping=best(2, 0.02)),
    "stop/baseline": plain(stopping=best(5, baseline=0.6)),
    "stop/start_from": plain(stopping=best(2, start_from=5)),
    "stop/not_restored": plain(stopping=stopping(99)),
    "stop/restored": plain(stopping=best(99)),
    "stop/loop": plain(KERAS_LOOP, 3, stopping=stopping(0)),
    "stop/loop_restored": plain(KERAS_LOOP, 3, stopping=best(1)),
    "stop/initial_epoch": plain(KERAS_INITIAL_EPOCH, 3, stopping=stopping(0), rate=ABSOLUTE),
    "stop/start_from_initial_epoch": plain(KERAS_INITIAL_EPOCH, 3, stopping=best(0, start_from=4)),
    "plateau/cooldown": plain(plateau=flat(cooldown=2)),
    "plateau/min_rate": plain(plateau=flat(min_rate=0.02)),
    "plateau/loop": plain(KERAS_LOOP, 3, plateau=flat()),
    "plateau/initial_epoch": plain(KERAS_INITIAL_EPOCH, 6, plateau=flat(cooldown=2)),
    "plateau/recompile": plain(KERAS_RECOMPILE, 3, plateau=flat()),
    "plateau/stop": plain(plateau=flat(), stopping=best(4)),
    "plateau/compounding": plain(plateau=flat(), rate=COMPOUNDING),
    "plateau/absolute": plain(plateau=flat(cooldown=2, min_rate=0.02), rate=ABSOLUTE),
    "rates/loop": plain(KERAS_LOOP, 3, rate=ABSOLUTE),
    "rates/loop_compounding": plain(KERAS_LOOP, 3, rate=COMPOUNDING),
    "rates/initial_epoch": plain(KERAS_INITIAL_EPOCH, 3, rate=COMPOUNDING),
    "rates/recompile": plain(KERAS_RECOMPILE, 3, rate=COMPOUNDING),
    "freq/2_stop": plain(stopping=best(1), validation_freq=2),
    "freq/3_stop": plain(stopping=stopping(0), validation_freq=3),
    "freq/1_4_stop": plain(stopping=best(0, 0.4), validation_freq=[1, 4]),
    "freq/2_plateau": plain(plateau=flat(cooldown=1), validation_freq=2),
    "freq/2_loop": plain(KERAS_LOOP, 1, stopping=best(0), validation_freq=2),
    "freq/2_initial_epoch": plain(
        KERAS_INITIAL_EPOCH, 1, stopping=best(0), plateau=flat(), validation_freq=2
    ),
    "freq/2_loop_of_3": plain(KERAS_LOOP, 3, stopping=best(0), plateau=flat(), validation_freq=2),
    "average/fit": averaging(),
    "average/stop": averaging(stopping=stopping(1)),
    "average/stop_restored": averaging(stopping=best(1)),
    "average/loop": averaging(KERAS_LOOP, 3),
    "average/recompile": averaging(KERAS_RECOMPILE, 3),
    "average/reload": averaging(KERAS_RELOAD, 3),
    "average/loop_stop": averaging(KERAS_LOOP, 3, stopping=stopping(0)),
    "average/loop_stop_restored": averaging(KERAS_LOOP, 3, stopping=best(0)),
    "average/accumulate": both(),
    "average/accumulate_loop": both(KERAS_LOOP, 2),
    "average/accumulate_recompile": both(KERAS_RECOMPILE, 4),
    "accumulate/loop": accumulating(KERAS_LOOP, 2),
    "accumulate/recompile": accumulating(KERAS_RECOMPILE, 5),
    "accumulate/reload": accumulating(KERAS_RELOAD, 2),
    "accumulate/cosine": accumulating(rates=LOW_COSINE),
    "accumulate/cosine_recompile": accumulating(KERAS_RECOMPILE, 4, rates=LOW_COSINE),
    "accumulate/adamw_clipnorm": Arm(small(decaying, accumulate=3), KERAS_RECOMPILE, 4, LOW),
    "steps/3": Arm(adam(steps=3)),
    "steps/3_loop": Arm(adam(steps=3), KERAS_LOOP, 2),
    "steps/3_recompile": Arm(adam(steps=3), KERAS_RECOMPILE, 4),
    "steps/10": Arm(adam(steps=10)),
    "steps/10_loop": Arm(adam(steps=10), KERAS_LOOP, 2),
    "weighted/stop": plain(stopping=best(1), weighted=True),
    "nesterov/rates": Arm(small(nesterov), KERAS_RECOMPILE, 3, rate=ABSOLUTE),
    "rmsprop/rates": Arm(small(rmsprop), KERAS_RECOMPILE, 3, 0.1 * LR, rate=COMPOUNDING),
    "adamw/clipnorm": Arm(small(decaying), KERAS_LOOP, 3, plateau=flat()),
    "adamw/clipnorm_recompile": Arm(small(decaying), KERAS_RECOMPILE, 6, plateau=flat()),
    "cosine/loop": plain(KERAS_LOOP, 3, COSINE),
    "cosine/recompile": plain(KERAS_RECOMPILE, 3, COSINE),
    "cosine/reload": plain(KERAS_RELOAD, 3, COSINE),
    "files/compile_same": plain(KERAS_LOOP, 3, plateau=flat()),
    "files/reload": plain(KERAS_RELOAD, 3, plateau=flat()),
    "files/reload_weights": plain(KERAS_RELOAD_WEIGHTS, 3, plateau=flat()),
    "files/reload_weights_built": plain(KERAS_RELOAD, 3, plateau=flat()),
    "files/reload_h5": plain(KERAS_RELOAD_H5, 3, plateau=flat()),
    "stateful/fit": stateful(),
    "stateful/unvalidated": stateful(carry=KEPT),
    "stateful/freq_2": stateful(validation_freq=2),
    "stateful/reset": stateful(carry=Carrying(np.True_, np.True_)),
    "stateful/loop": stateful(KERAS_LOOP, 3),
    "stateful/loop_reset": stateful(KERAS_RESET_STATES, 3),
    "stateful/recompile": stateful(KERAS_RECOMPILE, 3),
    "stateful/reload": stateful(KERAS_RELOAD, 3),
    "stateful/reload_weights": stateful(KERAS_RELOAD_WEIGHTS, 3),
    "stateful/stop_restored": stateful(KERAS_LOOP, 3, stopping=best(0)),
}


def part(x, y, size, weight_N):
    """Samples with weights, all 1 where the arm has none: so that it is one compiled program for all."""
    return Samples(*(jnp.asarray(a[:size], float) for a in (ORACLE[x], ORACLE[y], weight_N)))


def reproduce(arm):
    train, size = (96, 32) if arm.learner.carry else (100, 40)
    val = part("Xv", "yv", size, ORACLE["wv"] if arm.weighted else np.ones(size))
    data = Data(part("X", "y", train, np.ones(train)), val, val)
    params = from_keras([jnp.asarray(ORACLE[f"weights_{n}"], float) for n in range(5)])
    origin = Origin(jax.random.key(0), params)
    rules_E = watch(EPOCHS, arm.rate, arm.stopping, arm.plateau, arm.validation_freq)
    hp = Hyper(tabulate(arm.rates, 7 * EPOCHS), rules_E, arm.average, arm.carry)
    when = rules.every(arm.every, EPOCHS)
    recorded = member(arm.learner, hp, arm.policy, when, origin, rules.ends(arm.every, EPOCHS))
    return finish(arm.learner, recorded, data, EPOCHS)


@pytest.mark.parametrize("name", ARMS)
def test_a_recorded_loop_of_fits_is_reproduced_epoch_by_epoch(name):
    progress, log = reproduce(ARMS[name])
    loss_E, val_E, rate_E = ORACLE[f"{name}/log"].T
    trained = ~np.isnan(loss_E)
    np.testing.assert_array_equal(log.trained, trained)
    np.testing.assert_allclose(log.loss[trained], loss_E[trained], rtol=0, atol=1e-6)
    np.testing.assert_allclose(log.rate[trained], rate_E[trained], rtol=1e-6)
    seen = ~np.isnan(val_E)
    np.testing.assert_allclose(log.val[seen], val_E[seen], rtol=0, atol=1e-6)
    weights = np.concatenate([array.ravel() for array in to_keras(progress.state.params)])
    np.testing.assert_allclose(weights, ORACLE[f"{name}/weights"], rtol=0, atol=5e-5)


def test_every_recorded_arm_is_among_them():
    assert set(ARMS) == {name.removesuffix("/log") for name in ORACLE.files if name.endswith("/log")}
