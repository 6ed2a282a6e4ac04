"""Presets are exhaustive constants, and each is what its framework does between two fits, done by hand."""

import ast
import inspect
import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import small
from helpers.hand import agree, first, new_moments

from lstm_sched import presets, rules
from lstm_sched.members import Hyper, make_origin, member
from lstm_sched.monitor import stopping, watch
from lstm_sched.optimizers import OPTIMIZERS
from lstm_sched.policy import fates, keep
from lstm_sched.presets import ALIASES, CONTINUE, DIALECTS, POLICIES, REDRAWN, SCRATCH, fate_table
from lstm_sched.schedules import TABLES, rates
from lstm_sched.state import Moments, TrainState, init_params

EPOCHS, FIT, STEPS, LR = 8, 2, 3, 0.02  # of data(9) in batches of 3
TOTAL = EPOCHS * STEPS

# ---- the constants

CALLS = {
    node.targets[0].id: node.value
    for node in ast.parse(inspect.getsource(presets)).body
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Call)
}  # fmt: skip


def test_every_policy_is_a_preset_under_its_constants_name_in_lower_case():
    constants = {"one_fit" if name == "CONTINUE" else name.lower(): getattr(presets, name) for name in CALLS}
    assert constants == POLICIES
    assert set(ALIASES.values()) <= set(POLICIES)
    assert not set(ALIASES) & set(POLICIES)
    assert {*REDRAWN, *TABLES} <= set(POLICIES)


@pytest.mark.parametrize("name", CALLS)
def test_a_new_component_breaks_every_preset_until_its_fate_is_decided(name):
    call = CALLS[name]
    assert not call.args
    assert [keyword.arg for keyword in call.keywords] == list(TrainState._fields)

    def demanding(*, hidden_component, **known):
        return keep(**known)

    source = compile(ast.Expression(call), "a preset", "eval")
    assert eval(source, {"keep": keep, "Moments": Moments}) == getattr(presets, name)
    with pytest.raises(TypeError, match="hidden_component"):
        eval(source, {"keep": demanding, "Moments": Moments})


def test_no_two_presets_are_the_same():
    """In their fractions, whether weights are drawn again, and what they make of the learning rate."""
    kinds = {(policy, name in REDRAWN, TABLES.get(name)) for name, policy in POLICIES.items()}
    assert len(kinds) == len(POLICIES)


def test_a_fate_table_has_one_row_per_policy_and_one_mark_per_component():
    table = fate_table({"all": CONTINUE, "none": SCRATCH, "half": CONTINUE._replace(params=0.5)})
    head, _, *rows = [line.split("|")[1:-1] for line in table.splitlines()]
    assert [cell.strip() for cell in head[1:]] == list(fates(CONTINUE))
    assert len(head) == 1 + len(TrainState._fields) + len(Moments._fields) - 1
    marks = [{cell.strip() for cell in row[1:]} for row in rows]
    assert marks == [{"✓"}, {"✗"}, {"0.5", "✓"}]


# ---- what happens between two fits: each takes (learner, member, now, epoch)


def new_optimizer(learner, member, now, e):
    now.moments = new_moments(learner, now.params)


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
    """Until the next gradient; the optimizer sees it by `fresh`."""
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
    optimizer = "keras_adam_reinit_v" if name == "v_from_gradient" else "adam"
    learner = small.learner(optimizer, batch=3, dropout=True, averaged=True, watched=True)
    watching = watch(EPOCHS, stopping=stopping(patience=2))
    hp = Hyper(rates(name, "linear", LR, TOTAL, FIT * STEPS), watching, jnp.asarray(0.8))
    origin = make_origin(learner, 1)._replace(redraw=np.bool_(name in REDRAWN))
    preset = member(learner, hp, POLICIES[name], rules.every(FIT, EPOCHS), origin)

    def boundary(e, now):
        if e and e % FIT == 0:
            for happens in BETWEEN[name]:
                happens(learner, preset, now, e)

    agree(learner, preset, small.data(9), EPOCHS, boundary)


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


LONG = 20  # steps per fit: 6 of SPAM's warm-up, 2 of ReLoRA's


def spam(t, k):
    if t < LONG or k >= 6:
        return linear(t, 80)
    return linear(t - k, 80) * (1 - 0.495 * (1 + math.cos(math.pi * k / 6)))


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


@pytest.mark.parametrize(("fit", "fits"), [(4, 1), (5, 3), (30, 2)])
@pytest.mark.parametrize("name", [*TABLES, "one_fit"])
def test_a_table_has_a_finite_rate_for_every_step_and_never_exceeds_the_peak(name, fit, fits):
    rates_S = np.asarray(rates(name, "cosine", LR, fit * fits, fit))
    assert rates_S.shape == (fit * fits,)
    assert np.isfinite(rates_S).all()
    assert 0 <= rates_S.min() <= rates_S.max() <= LR * (1 + 1e-6)


# ---- v from the first gradient


def test_v_begins_with_the_square_of_the_first_gradient_after_it_was_dropped():
    plain: Any = OPTIMIZERS["keras_adam"](0.1)
    reinit: Any = OPTIMIZERS["keras_adam_reinit_v"](0.1)
    params = {"a": jnp.ones(3)}
    grads = [{"a": jnp.asarray(g, float)} for g in np.random.default_rng(0).normal(size=(4, 3))]
    state, reinit_state = plain.init(params), reinit.init(params)
    for g in grads[:2]:
        want, state = plain.update(g, state, params)
        update, reinit_state = reinit.update(g, reinit_state, params)
        np.testing.assert_array_equal(update["a"], want["a"])  # at the beginning there is nothing to change
    dropped = reinit_state.inner._replace(nu={"a": jnp.zeros(3)})
    reinit_state = reinit_state._replace(inner=dropped, fresh=jnp.ones((), bool))
    state = state._replace(nu={"a": grads[2]["a"] ** 2})
    for g in grads[2:]:
        want, state = plain.update(g, state, params)
        update, reinit_state = reinit.update(g, reinit_state, params)
        np.testing.assert_allclose(update["a"], want["a"], rtol=1e-6)
        assert not reinit_state.fresh
