"""A member is refused where its data are not what the learner uses; a run begins with nothing done."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from lstm_sched import keras_rules, rules
from lstm_sched.member import Carrying, Hyper, member, originate, start
from lstm_sched.policies import CONTINUE
from lstm_sched.state import begin

VALUES = {
    "watch": keras_rules.watch(3),
    "average": 0.9,
    "carry": Carrying(reset=False, through=True),
    "jitter": small.JITTER,
}
USING = {
    "watch": small.learner(watched=True),
    "average": small.learner(averaged=True),
    "carry": small.learner(stateful=True),
    "jitter": small.learner(jitter=True),
}


def made(learner, **values):
    hp = Hyper(jnp.ones(9))._replace(**values)
    return member(learner, hp, CONTINUE, rules.never(3), originate(learner, 0))


@pytest.mark.parametrize("name", VALUES)
def test_hyper_parameters_are_those_that_the_learner_uses(name):
    assert getattr(made(USING[name], **{name: VALUES[name]}).hp, name) is VALUES[name]
    with pytest.raises(ValueError, match=rf"hp\.{name}: \(\); allowed: a value, as the learner has it"):
        made(USING[name])
    with pytest.raises(ValueError, match=rf"hp\.{name}: .*; allowed: none, as the learner has it"):
        made(small.learner(), **{name: VALUES[name]})


def test_a_number_that_is_0_is_a_value():
    assert made(small.learner(averaged=True), average=0).hp.average == 0


def test_the_policy_is_spread_over_the_leaves_of_the_learners_state():
    learner = small.everything()
    one = made(learner, **VALUES)
    state = start(learner, one.origin).state
    assert jax.tree.structure(one.policy) == jax.tree.structure(state)


def test_a_run_begins_with_the_state_of_its_origin_and_nothing_logged():
    learner = small.everything()
    origin = originate(learner, 4)
    progress = start(learner, origin)
    assert small.bits(progress.state) == small.bits(begin(learner, origin.key, origin.params))
    assert small.bits(progress.selected.params) == small.bits(origin.params)
    assert (int(progress.clock), int(progress.selected.epoch)) == (0, 0)
    assert progress.selected.val == np.inf
    assert np.isnan([progress.log.loss, progress.log.val, progress.log.rate]).all()
    assert not progress.log.trained
