"""Gaussian: what a draw is, when it changes, and that none is none to the last bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import small
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_sched import noise, rules
from lstm_sched.loop import run
from lstm_sched.members import start
from lstm_sched.presets import WEIGHTS_ONLY

KEY = jax.random.key(4)
EPOCHS = 6
DATA = small.data(8)
LEARNER = small.learner(batch=4, dropout=True, noise=True)
run_jit = jax.jit(run, static_argnames=("learner", "epochs"))


def finish(inputs, grads, learner=LEARNER, seed=0):
    member = small.a_member(learner, DATA, seed=seed, noise=noise.Noise(inputs, grads))
    return run_jit(learner, member, DATA, start(learner, member.origin), EPOCHS)


def test_noise_on_inputs_is_gaussian_of_its_scale_and_a_samples_own_in_any_batch():
    x_BTF = jnp.zeros((2000, 3, 1))
    index_B = jnp.arange(2000)
    noise_BTF = np.asarray(noise.on_inputs(noise.gaussian_noise(0.7), KEY, index_B, x_BTF))
    assert noise_BTF.std() == pytest.approx(0.7, rel=0.03)
    assert abs(noise_BTF.mean()) < 0.03
    some = np.array([17, 3, 999])
    np.testing.assert_array_equal(
        noise.on_inputs(noise.gaussian_noise(0.7), KEY, some, x_BTF[:3]), noise_BTF[some]
    )


def test_noise_on_gradients_is_gaussian_and_another_for_every_weight():
    grads = {"a": jnp.zeros(3000), "b": jnp.zeros((3000, 1))}
    push = noise.on_grads(noise.gaussian_noise(0.2), KEY, grads)
    for leaf in push.values():
        assert np.std(leaf) == pytest.approx(0.2, rel=0.05)
    assert abs(np.corrcoef(push["a"], push["b"][:, 0])[0, 1]) < 0.06


@pytest.mark.parametrize("drawn", noise.DRAWN)
def test_a_draw_changes_as_often_as_it_is_said_to(drawn):
    both = noise.Noise(noise.gaussian_noise(1.0, drawn), noise.gaussian_noise(1.0, "once"))
    streams, draws = noise.begin(KEY, dropout=False, noise=True), []
    for _ in range(3):
        streams = noise.advance(both, streams, "epoch")
        for _ in range(2):
            streams = noise.advance(both, streams, "step")
            draws.append(small.bits(streams.inputs))
            assert small.bits(streams.grads) == small.bits(noise.begin(KEY, False, True).grads)
    assert len(set(draws)) == {"once": 1, "epoch": 3, "step": 6}[drawn]
    if drawn == "epoch":
        assert draws[0::2] == draws[1::2]


@given(one=st.sampled_from([*noise.DRAWN]), other=st.sampled_from([*noise.DRAWN]), seed=st.integers(0, 5))
@settings(deadline=None, max_examples=6)
def test_no_noise_is_none_to_the_last_bit_however_often_it_is_drawn(one, other, seed):
    plain, log = finish(noise.gaussian_noise(0.0, "once"), noise.gaussian_noise(0.0, "once"), seed=seed)
    got, got_log = finish(noise.gaussian_noise(0.0, one), noise.gaussian_noise(0.0, other), seed=seed)
    assert small.bits(got.state.params) == small.bits(plain.state.params)
    assert small.bits(got.state.noise.dropout) == small.bits(plain.state.noise.dropout)
    assert small.bits(got_log) == small.bits(log)


def test_each_noise_has_a_stream_of_its_own():
    silent = noise.gaussian_noise()
    plain, _ = finish(silent, silent)
    for both in ((noise.gaussian_noise(0.1), silent), (silent, noise.gaussian_noise(0.1))):
        dropout, _ = finish(*both)
        assert small.bits(dropout.state.params) != small.bits(plain.state.params)
        assert small.bits(dropout.state.noise.dropout) == small.bits(plain.state.noise.dropout)
        assert small.bits(dropout.state.order) == small.bits(plain.state.order)


def test_one_compilation_serves_all_noise():
    traced = []

    @jax.jit
    def whole(member, progress):
        traced.append(1)
        return run(LEARNER, member, DATA, progress, EPOCHS)

    ends = set()
    for scale in (0.0, 0.1):
        for drawn in noise.DRAWN:
            for both in (
                noise.Noise(noise.gaussian_noise(scale, drawn), noise.gaussian_noise()),
                noise.Noise(noise.gaussian_noise(), noise.gaussian_noise(scale, drawn)),
            ):
                member = small.a_member(LEARNER, DATA, noise=both)
                ends.add(small.bits(whole(member, start(LEARNER, member.origin))[0].state.params))
    assert len(traced) == 1
    assert len(ends) == 1 + 2 * len(noise.DRAWN)


def test_streams_that_a_boundary_drops_begin_again():
    learner = small.learner(batch=8, noise=True)
    member = small.a_member(
        learner,
        DATA,
        policy=WEIGHTS_ONLY,
        when=rules.every(1, EPOCHS),
        noise=noise.Noise(noise.gaussian_noise(0.3, "epoch"), noise.gaussian_noise(0.1, "step")),
    )
    progress, _ = run_jit(learner, member, DATA, start(learner, member.origin), EPOCHS)
    first = noise.advance(
        member.hp.noise,
        noise.advance(member.hp.noise, start(learner, member.origin).state.noise, "epoch"),
        "step",
    )
    assert small.bits(progress.state.noise) == small.bits(first)


@pytest.mark.parametrize("scale", [-0.1, float("nan"), float("inf")])
def test_a_scale_that_cannot_be_is_refused(scale):
    with pytest.raises(ValueError, match=r"scale: .*; allowed: finite and 0 or more"):
        noise.gaussian_noise(scale)
    with pytest.raises(ValueError, match="drawn: unknown 'fit'; allowed: once, epoch, step"):
        noise.gaussian_noise(0.1, "fit")
