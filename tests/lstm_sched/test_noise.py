"""What a draw of noise is, when it changes, and that no noise is none to the last bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import small

from lstm_sched import noise, rules
from lstm_sched.members import start
from lstm_sched.noise import DRAWN, Noise, gaussian_noise
from lstm_sched.presets import WEIGHTS_ONLY

KEY = jax.random.key(4)
EPOCHS = 6
DATA = small.data(8)
LEARNER = small.learner(dropout=True, noise=True)
SILENT = gaussian_noise()


def finish(inputs, grads):
    return small.finish(LEARNER, small.a_member(LEARNER, DATA, noise=Noise(inputs, grads)), DATA, EPOCHS)


def test_noise_on_inputs_is_gaussian_of_its_scale_and_a_samples_own_in_any_batch():
    x_BTF, index_B = jnp.zeros((2000, 3, 1)), jnp.arange(2000)
    noise_BTF = np.asarray(noise.on_inputs(gaussian_noise(0.7), KEY, index_B, x_BTF))
    assert noise_BTF.std() == pytest.approx(0.7, rel=0.03)
    assert abs(noise_BTF.mean()) < 0.03
    some = np.array([17, 3, 999])
    of_some = noise.on_inputs(gaussian_noise(0.7), KEY, some, x_BTF[:3])
    np.testing.assert_array_equal(of_some, noise_BTF[some])


def test_noise_on_gradients_is_gaussian_and_another_for_every_weight():
    grads = {"a": jnp.zeros(3000), "b": jnp.zeros((3000, 1))}
    push = noise.on_grads(gaussian_noise(0.2), KEY, grads)
    for leaf in push.values():
        assert np.std(leaf) == pytest.approx(0.2, rel=0.05)
    assert abs(np.corrcoef(push["a"], push["b"][:, 0])[0, 1]) < 0.06


@pytest.mark.parametrize("drawn", DRAWN)
def test_a_draw_changes_as_often_as_it_is_said_to(drawn):
    both = Noise(gaussian_noise(1.0, drawn), gaussian_noise(1.0, "once"))
    keys, draws = noise.begin(KEY, dropout=False, noise=True), []
    for _ in range(3):
        keys = noise.advance(both, keys, "epoch")
        for _ in range(2):
            keys = noise.advance(both, keys, "step")
            draws.append(small.bits(keys.inputs))
            assert small.bits(keys.grads) == small.bits(noise.begin(KEY, False, True).grads)
    assert len(set(draws)) == {"once": 1, "epoch": 3, "step": 6}[drawn]
    if drawn == "epoch":
        assert draws[0::2] == draws[1::2]


@pytest.mark.parametrize("inputs", DRAWN)
@pytest.mark.parametrize("grads", DRAWN)
def test_no_noise_is_none_to_the_last_bit_however_often_it_is_drawn(inputs, grads):
    plain, log = finish(gaussian_noise(0.0, "once"), gaussian_noise(0.0, "once"))
    silent, silent_log = finish(gaussian_noise(0.0, inputs), gaussian_noise(0.0, grads))
    assert small.bits(silent.state.params) == small.bits(plain.state.params)
    assert small.bits(silent.state.noise.dropout) == small.bits(plain.state.noise.dropout)
    assert small.bits(silent_log) == small.bits(log)


def test_each_noise_is_another_run_on_streams_of_its_own_by_one_compiled_program():
    traced = []
    signature = jax.jit(lambda member: traced.append(member))
    plain, _ = finish(SILENT, SILENT)
    weights = {small.bits(plain.state.params)}
    for drawn in DRAWN:
        for both in ((gaussian_noise(0.1, drawn), SILENT), (SILENT, gaussian_noise(0.1, drawn))):
            signature(small.a_member(LEARNER, DATA, noise=Noise(*both)))
            state = finish(*both)[0].state
            weights.add(small.bits(state.params))
            assert small.bits(state.noise.dropout) == small.bits(plain.state.noise.dropout)
            assert small.bits(state.order) == small.bits(plain.state.order)
    assert len(weights) == 1 + 2 * len(DRAWN)
    assert len(traced) == 1


def test_streams_that_a_boundary_drops_begin_again():
    learner = small.learner(batch=8, noise=True)
    both = Noise(gaussian_noise(0.3, "epoch"), gaussian_noise(0.1, "step"))
    member = small.a_member(learner, DATA, policy=WEIGHTS_ONLY, when=rules.every(1, EPOCHS), noise=both)
    progress, _ = small.finish(learner, member, DATA, EPOCHS)
    begun = start(learner, member.origin).state.noise
    first = noise.advance(both, noise.advance(both, begun, "epoch"), "step")
    assert small.bits(progress.state.noise) == small.bits(first)


@pytest.mark.parametrize("scale", [-0.1, float("nan"), float("inf")])
def test_a_scale_that_cannot_be_is_refused(scale):
    with pytest.raises(ValueError, match=r"scale: .*; allowed: finite and 0 or more"):
        gaussian_noise(scale)
    with pytest.raises(ValueError, match="drawn: unknown 'fit'; allowed: once, epoch, step"):
        gaussian_noise(0.1, "fit")
