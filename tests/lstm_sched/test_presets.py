"""Each preset is what its framework does between two fits, done by hand in a plain loop over optax."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import small
from helpers.hand import by_hand, first
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_sched import rules
from lstm_sched.loop import run
from lstm_sched.members import Hyper, make_origin, member, start
from lstm_sched.monitor import stopping, watch
from lstm_sched.optimizers import OPTIMIZERS
from lstm_sched.presets import DIALECTS, POLICIES, REDRAWN
from lstm_sched.schedules import TABLES, rates
from lstm_sched.state import init_params

EPOCHS, FIT, STEPS, LR = 8, 2, 3, 0.02  # of data(9) in batches of 3
TOTAL = EPOCHS * STEPS
run_jit = jax.jit(run, static_argnames=("learner", "epochs"), compiler_options=small.SOON)


def learner_of(name):
    optimizer = "keras_adam_reinit_v" if name == "v_from_gradient" else "adam"
    return small.learner(optimizer, batch=3, dropout=True, averaged=True, watched=True)


def member_of(learner, name):
    watching = watch(EPOCHS, stopping=stopping(patience=2))
    hp = Hyper(rates(name, "linear", LR, TOTAL, FIT * STEPS), watching, jnp.asarray(0.8))
    origin = make_origin(learner, 1)._replace(redraw=np.bool_(True) if name in REDRAWN else ())
    return member(learner, hp, POLICIES[name], rules.every(FIT, EPOCHS), origin)


# ---- what happens between two fits: each takes (learner, member, now, epoch)


def new_optimizer(learner, member, now, e):
    now.moments = learner.optimizer(0.0).init(now.params)


def new_scheduler(learner, member, now, e):
    now.t = 0


def new_callbacks(learner, member, now, e):
    now.stopping.best, now.stopping.wait, now.stopping.stopped = np.inf, 0, False


def new_average(learner, member, now, e):
    now.average = now.params


def seed_order(learner, member, now, e):
    now.order = first(learner, member, now.params).order


def seed_noise(learner, member, now, e):
    now.dropout = first(learner, member, now.params).dropout


def new_weights(learner, member, now, e):
    now.params = init_params(learner, member.origin.key, e)


def shrink(learner, member, now, e):
    fresh = init_params(learner, member.origin.key, e)
    now.params = jax.tree.map(lambda old, new: 0.6 * old + 0.4 * new, now.params, fresh)


def scale_moments(factor, learner, member, now, e):
    inner, *rest = now.moments
    mu, nu = (jax.tree.map(lambda x: factor * x, x) for x in (inner.mu, inner.nu))
    now.moments = (inner._replace(mu=mu, nu=nu), *rest)


def forget_v(learner, member, now, e):
    """Until the next gradient; `fresh` is how the optimizer is told."""
    inner = now.moments.inner
    zero = jax.tree.map(jnp.zeros_like, inner.nu)
    now.moments = now.moments._replace(inner=inner._replace(nu=zero), fresh=jnp.ones((), bool))


BUILT = (new_optimizer, new_scheduler, new_average)  # what a function that builds its optimizer builds
BETWEEN = {
    "sklearn_warm_start": (*BUILT, seed_order, seed_noise),
    "sklearn_partial_fit": (seed_order, seed_noise),
    "skorch_fit": (new_weights, *BUILT, new_callbacks),
    "skorch_partial_fit": (new_callbacks,),
    "hugging_face_train": (new_scheduler, new_callbacks, seed_order),
    "lightning_new_trainer": BUILT,
    "lightning_ckpt_path": (seed_order, seed_noise),
    "composer_fit": (),
    "composer_reset_time": (new_scheduler,),
    "fastai_one_cycle": (new_scheduler, new_callbacks),
    "optimizer_in_train": (*BUILT, new_callbacks),
    "sgdr": (new_scheduler,),
    "spam": (partial(scale_moments, 0.0),),
    "relora": (partial(scale_moments, 0.01),),
    "shrink_and_perturb": (shrink, *BUILT, new_callbacks),
    "v_from_gradient": (forget_v,),
}


@pytest.mark.parametrize("name", DIALECTS)
def test_a_preset_is_what_its_framework_does_between_two_fits(name, x64):
    learner, data = learner_of(name), small.data(9)
    one = member_of(learner, name)

    def boundary(e, now):
        if e and e % FIT == 0:
            for happens in BETWEEN[name]:
                happens(learner, one, now, e)

    progress, log = run_jit(learner, one, data, start(learner, one.origin), EPOCHS)
    with jax.numpy_dtype_promotion("standard"):
        now, losses, vals = by_hand(learner, one, data, EPOCHS, boundary)
    ran = [v is not None for v in vals]
    assert log.trained.tolist() == ran
    close = partial(np.testing.assert_allclose, rtol=1e-8, atol=1e-12)
    close(log.val[np.array(ran)], [v for v in vals if v is not None])
    close(log.loss[np.array(ran)], [v for v in losses if v is not None])
    jax.tree.map(close, progress.state.params, now.params)
    jax.tree.map(close, progress.state.average, now.average)


# ---- the learning rates that some of them bring along


def linear(k, length):
    return LR * (1 - k / length)


def cosine(k, length):
    return LR * (1 + math.cos(math.pi * k / length)) / 2


def one_cycle(k, length):
    """fastai's: cosines from a 25th to the peak in a quarter of the steps, and down to its 100,000th."""
    up = 0.25 * length
    a, b, part = (LR / 25, LR, k / up) if k < up else (LR, LR / 1e5, (k - up) / (length - up))
    return b + (a - b) * (1 + math.cos(math.pi * part)) / 2


LONG = 20  # steps a fit: 6 of SPAM's warm-up, 2 of ReLoRA's


def spam(t, k):
    return (
        linear(t, 80)
        if t < LONG or k >= 6
        else linear(t - k, 80) * (1 - 0.495 * (1 + math.cos(math.pi * k / 6)))
    )


def relora(t, k):
    return linear(t, 80) if t < LONG or k >= 2 else linear(t - k, 80) * k / 2


BY_HAND = {
    "hugging_face_train": lambda t, k: linear(k, LONG),
    "composer_fit": lambda t, k: linear(t, t - k + LONG),
    "composer_reset_time": lambda t, k: linear(k, LONG),
    "fastai_one_cycle": lambda t, k: one_cycle(k, LONG),
    "sgdr": lambda t, k: cosine(k, LONG),
    "spam": spam,
    "relora": relora,
    "one_fit": lambda t, k: linear(t, 80),
    "keras_recompile": lambda t, k: linear(t, 80),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_table_is_the_rate_of_every_step_by_hand(name, x64):
    assert set(TABLES) < set(BY_HAND)
    want_S = [BY_HAND[name](t, t % LONG) for t in range(80)]
    np.testing.assert_allclose(rates(name, "linear", LR, 80, LONG), want_S, rtol=1e-6, atol=1e-12)


@given(name=st.sampled_from([*TABLES, "one_fit"]), fit=st.integers(4, 30), fits=st.integers(1, 5))
@settings(deadline=None, max_examples=20)
def test_a_table_has_a_finite_rate_for_every_step_and_never_exceeds_the_peak(name, fit, fits):
    rates_S = np.asarray(rates(name, "cosine", LR, fit * fits, fit))
    assert rates_S.shape == (fit * fits,)
    assert np.isfinite(rates_S).all()
    assert rates_S.min() >= 0
    assert rates_S.max() <= LR * (1 + 1e-6)


# ---- v from the first gradient


def test_v_begins_with_the_square_of_the_first_gradient_after_it_was_dropped():
    plain: Any = OPTIMIZERS["keras_adam"](0.1)
    reinit_v_from_gradient: Any = OPTIMIZERS["keras_adam_reinit_v"](0.1)
    w, grads = (
        {"a": jnp.ones(3)},
        [{"a": jnp.asarray(g, float)} for g in np.random.default_rng(0).normal(size=(4, 3))],
    )
    one, other = plain.init(w), reinit_v_from_gradient.init(w)
    for g in grads[:2]:
        want, one = plain.update(g, one, w)
        got, other = reinit_v_from_gradient.update(g, other, w)
        np.testing.assert_array_equal(got["a"], want["a"])  # at the beginning there is nothing to change
    other = other._replace(inner=other.inner._replace(nu={"a": jnp.zeros(3)}), fresh=jnp.ones((), bool))
    one = one._replace(nu={"a": grads[2]["a"] ** 2})
    for g in grads[2:]:
        want, one = plain.update(g, one, w)
        got, other = reinit_v_from_gradient.update(g, other, w)
        np.testing.assert_allclose(got["a"], want["a"], rtol=1e-6)
        assert not other.fresh
