"""Law 8, callbacks: what Keras' own made of random losses, in fits of some epochs (recorded by oracle/callbacks.py)."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from helpers.small import SOON

from lstm_sched import rules
from lstm_sched.data.windows import Data, Samples
from lstm_sched.learner import Learner
from lstm_sched.loop import run
from lstm_sched.members import Hyper, member, start
from lstm_sched.monitor import absolute, compounding, plateau, stopping, watch
from lstm_sched.orders import SEQUENTIAL
from lstm_sched.population import stack, take
from lstm_sched.presets import KERAS_INITIAL_EPOCH, KERAS_LOOP
from lstm_sched.schedules import tabulate
from lstm_sched.state import Origin

ORACLE = np.load(Path(__file__).parent / "callbacks.npz")
CASES, EPOCHS = ORACLE["log"].shape[:2]
LR = 0.1


def looked_up(weight, carry, x_BTF, y_BO, key):
    """The loss that the case has for this many epochs trained."""
    return x_BTF[:, jax.lax.stop_gradient(weight).astype(int), 0], carry


def counting(rate):
    """Each update adds 1, whatever the rate."""
    return optax.stateless(lambda updates, params: jax.tree.map(jnp.ones_like, updates))


LEARNER = Learner(lambda key: jnp.zeros(()), looked_up, counting, SEQUENTIAL, batch=1, watched=True)


def member_of(case):
    rate = (compounding if case["compounding"] else absolute)(case["factors"])
    baseline = case["baseline"] if np.isfinite(case["baseline"]) else None
    stops = stopping(case["patience"], case["min_delta"], case["start_from"], baseline, case["restore"])
    plateaus = [
        case[name] for name in ("plateau_patience", "factor", "plateau_min_delta", "cooldown", "min_rate")
    ]
    rules_E = watch(EPOCHS, rate, stops, plateau(*plateaus), np.flatnonzero(case["validated"]) + 1)
    policy = KERAS_INITIAL_EPOCH if case["counted"] else KERAS_LOOP
    origin = Origin(jax.random.key(0), jnp.zeros(()))
    n = int(case["every"])
    hp = Hyper(tabulate(LR, EPOCHS), rules_E)
    return member(LEARNER, hp, policy, rules.every(n, EPOCHS), origin, rules.ends(n, EPOCHS))


def test_callbacks_do_what_keras_own_did_to_random_losses_in_every_way_to_cut_a_run_into_fits():
    member_N = stack([member_of(take(dict(ORACLE), n)) for n in range(CASES)])

    def weights_and_log(member, loss_T):
        samples = Samples(loss_T[None, :, None], jnp.zeros((1, 1)))
        data = Data(samples, samples, samples)

        def one_epoch(progress, _):
            progress, log = run(LEARNER, member, data, progress, 1)
            return progress, (progress.state.params, log)

        _, (weights, log) = jax.lax.scan(one_epoch, start(LEARNER, member.origin), length=EPOCHS)
        return weights, jax.tree.map(lambda leaf: leaf[:, 0], log)

    weight_NE, log = jax.jit(jax.vmap(weights_and_log), compiler_options=SOON)(
        member_N, jnp.asarray(ORACLE["losses"])
    )
    rate_NE, want_NE = ORACLE["log"][..., 0], ORACLE["log"][..., 1]
    trained_NE = ~np.isnan(want_NE)
    np.testing.assert_array_equal(log.trained, trained_NE)
    np.testing.assert_array_equal(np.asarray(weight_NE)[trained_NE], want_NE[trained_NE])
    np.testing.assert_allclose(np.asarray(log.rate)[trained_NE], rate_NE[trained_NE], rtol=1e-6)
