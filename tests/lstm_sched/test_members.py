"""A member is refused where its data are not what the learner uses; a run begins with nothing done."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import small

from lstm_sched import monitor, rules
from lstm_sched.members import Carrying, Hyper, make_origin, member, start
from lstm_sched.nn.interop import from_keras
from lstm_sched.nn.network import lstm
from lstm_sched.optimizers import keras_adam
from lstm_sched.presets import CONTINUE
from lstm_sched.state import begin

VALUES = {
    "watch": monitor.watch(3),
    "average": 0.9,
    "carry": Carrying(reset=False, through=True),
    "noise": small.NOISE,
}
USING = {
    "watch": small.learner(watched=True),
    "average": small.learner(averaged=True),
    "carry": small.learner(stateful=True),
    "noise": small.learner(noise=True),
}


def made(learner, **values):
    hp = Hyper(jnp.ones(9))._replace(**values)
    return member(learner, hp, CONTINUE, rules.never(3), make_origin(learner, 0))


@pytest.mark.parametrize("name", VALUES)
def test_hyper_parameters_are_those_that_the_learner_uses(name):
    assert getattr(made(USING[name], **{name: VALUES[name]}).hp, name) is VALUES[name]
    with pytest.raises(ValueError, match=rf"hp\.{name}: \(\); allowed: a value, as the learner has it"):
        made(USING[name])
    with pytest.raises(ValueError, match=rf"hp\.{name}: .*; allowed: none, as the learner has it"):
        made(small.learner(), **{name: VALUES[name]})


def test_all_members_of_a_learner_are_checked_by_one_trace():
    traced, plain = [], small.learner()
    learner = plain._replace(init=lambda key: traced.append(key) or plain.init(key))
    origins = [make_origin(learner, seed) for seed in range(4)]
    before = len(traced)
    made = [member(learner, Hyper(jnp.ones(9)), CONTINUE, rules.never(3), origin) for origin in origins]
    assert len(traced) <= before + 1
    assert [small.bits(m.origin) for m in made] == [small.bits(origin) for origin in origins]


def test_a_number_that_is_0_is_a_value():
    assert made(small.learner(averaged=True), average=0).hp.average == 0


@pytest.mark.parametrize("average", [-0.1, 1.1, np.float64(np.nan), jnp.asarray(2.0)])
def test_the_momentum_of_an_average_is_within_0_and_1(average):
    with pytest.raises(ValueError, match=r"hp\.average: .*; allowed: 0 to 1"):
        made(small.learner(averaged=True), average=average)


def test_weights_that_a_boundary_could_not_draw_anew_are_refused_by_name_and_size():
    """Layers of 3 and 4 units, as Keras may have them: they predict, but no learner has them."""
    shapes = [(2, 12), (3, 12), (12,), (3, 16), (4, 16), (16,), (4, 1), (1,)]
    unequal = from_keras([np.ones(shape, np.float32) for shape in shapes])
    learner, rates = lstm(keras_adam, features=2, hidden=3, layers=2), Hyper(jnp.ones(9))
    origin = make_origin(learner, 0)
    message = r"params\['head'\]\['kernel'\]: shape \(4, 1\); allowed: \(3, 1\), as the learner has it"
    with pytest.raises(ValueError, match=message):
        member(learner, rates, CONTINUE, rules.never(3), origin._replace(params=unequal))
    one_layer = {name: layer for name, layer in origin.params.items() if name != "lstm_1"}
    with pytest.raises(ValueError, match=r"params\['lstm_1'\].*: shape None; allowed"):
        member(learner, rates, CONTINUE, rules.never(3), origin._replace(params=one_layer))


def test_the_policy_is_spread_over_the_leaves_of_the_learners_state():
    learner = small.everything()
    one = made(learner, **VALUES)
    state = start(learner, one.origin).state
    assert jax.tree.structure(one.policy) == jax.tree.structure(state)


def test_a_run_begins_with_the_state_of_its_origin_and_nothing_logged():
    learner = small.everything()
    origin = make_origin(learner, 4)
    progress = start(learner, origin)
    assert small.bits(progress.state) == small.bits(begin(learner, origin.key, origin.params))
    assert small.bits(progress.selected.params) == small.bits(origin.params)
    assert (int(progress.clock), int(progress.selected.epoch)) == (0, 0)
    assert progress.selected.val == np.inf
    assert np.isnan([progress.log.loss, progress.log.val, progress.log.rate]).all()
    assert not progress.log.trained
