"""A learner and data small enough for laws to be tried hundreds of times, and the policies to try."""

import contextlib
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import strategies as st

from lstm_sched import population, rules
from lstm_sched.data.windows import Data, Samples
from lstm_sched.learner import Learner, steps_per_epoch
from lstm_sched.loop import run
from lstm_sched.members import Carrying, Hyper, make_origin, member, start
from lstm_sched.monitor import watch
from lstm_sched.noise import Noise, gaussian_noise
from lstm_sched.optimizers import OPTIMIZERS
from lstm_sched.orders import SHUFFLED
from lstm_sched.policy import keep
from lstm_sched.population import run as population_run
from lstm_sched.presets import CONTINUE, POLICIES
from lstm_sched.schedules import tabulate
from lstm_sched.state import Moments, TrainState

# A third of the time to compile. For tests of formulas, which hold to a tolerance, and for those that compare runs of
# one program; where two programs must agree to the bit they are compiled as a user has them.
SOON: dict[str, Any] = {"xla_backend_optimization_level": 0}
if jax.__version_info__ < (0, 11):  # later ones have no other emitters
    SOON["xla_cpu_use_fusion_emitters"] = False
run_jit = jax.jit(run, static_argnames=("learner", "epochs"))
run_soon = jax.jit(run, static_argnames=("learner", "epochs"), compiler_options=SOON)


def finish(learner, member, data, epochs, end=None, compiled: Any = run_soon):
    """A run from its beginning: progress and log."""
    return compiled(learner, member, data, start(learner, member.origin), epochs, end)


@contextlib.contextmanager
def populations_soon():
    """Populations are compiled as SOON says while the block lasts."""
    original: Any = population.run_all
    static = {"static_argnames": ("learner", "layout"), "donate_argnames": "progress_M"}
    program = jax.jit(original.__wrapped__, **static, compiler_options=SOON)
    with pytest.MonkeyPatch.context() as patch:
        for module in (population, population_run):
            patch.setattr(module, "run_all", program)
        yield


def _init(key):
    a, b = jax.random.split(key)
    return {
        "hidden": jax.random.normal(a, (3, 4), float),
        "out": jax.random.normal(b, (4, 1), float),
        "bias": jnp.zeros((1,), float),
    }


def _loss(params, carry, x_BTF, y_BO, key):
    h_BH = x_BTF[:, :, 0] @ params["hidden"]
    h_BH = jnp.tanh(h_BH if isinstance(carry, tuple) else h_BH + carry)
    after = carry if isinstance(carry, tuple) else h_BH
    if key is not None:
        h_BH = jnp.where(jax.random.bernoulli(key, 0.8, h_BH.shape), h_BH, 0)
    return jnp.mean((h_BH @ params["out"] + params["bias"][None] - y_BO) ** 2, axis=1), after


def _rest(params, batch):
    return jnp.zeros((batch, 4), float)


def learner(
    optimizer: Any = "keras_adam",
    batch=4,
    drop_last=False,
    order=SHUFFLED,
    dropout=False,
    steps=None,
    accumulate=1,
    averaged=False,
    watched=False,
    stateful=False,
    noise=False,
):
    factory = OPTIMIZERS[optimizer] if isinstance(optimizer, str) else optimizer
    carry = _rest if stateful else None
    return Learner(
        _init,
        _loss,
        factory,
        order,
        batch,
        drop_last,
        dropout,
        noise,
        steps,
        accumulate,
        averaged,
        watched,
        carry,
    )


def side_by_side(learner, factories):
    """A copy of the network for each of some optimizers, all trained on the same batches by one program."""

    def init(key):
        return {name: learner.init(key) for name in factories}

    def loss(params, carry, x_BTF, y_BO, key):
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *params.values())
        loss_MB, _ = jax.vmap(learner.loss, (0, None, None, None, None))(stacked, carry, x_BTF, y_BO, key)
        return jnp.sum(loss_MB, axis=0), carry

    def optimizer(rate):
        optimizers: Any = {name: factory(rate) for name, factory in factories.items()}

        def update(updates: Any, state: Any, params: Any = None) -> Any:
            pairs = {n: o.update(updates[n], state[n], params[n]) for n, o in optimizers.items()}
            return tuple({name: pair[i] for name, pair in pairs.items()} for i in (0, 1))

        def begin(params: Any) -> Any:
            return {name: o.init(params[name]) for name, o in optimizers.items()}

        return optax.GradientTransformation(begin, update)

    return learner._replace(init=init, loss=loss, optimizer=optimizer)


@functools.cache  # the same arguments are the same learner, and so the same compiled program
def of_every_optimizer(batch=4, dropout=False):
    return side_by_side(learner(batch=batch, dropout=dropout), OPTIMIZERS)


def everything(steps=4):
    """A learner that uses every component, for `data(12, val=4)`: 6 batches a pass, an update every 3."""
    return learner(
        batch=2,
        dropout=True,
        steps=steps,
        accumulate=3,
        averaged=True,
        watched=True,
        stateful=True,
        noise=True,
    )


def data(size=10, seed=0, val=5):
    rng = np.random.default_rng(seed)

    def part(n):
        x_NTF = rng.normal(size=(n, 3, 1))
        return Samples(jnp.asarray(x_NTF, float), jnp.asarray(np.sin(x_NTF.sum((1, 2)))[:, None], float))

    return Data(part(size), part(val), part(val))


KERAS = Carrying(reset=False, through=True)
NOISE = Noise(inputs=gaussian_noise(0.1, "epoch"), grads=gaussian_noise(0.05, "step"))


def a_member(
    learner,
    data,
    epochs=6,
    seed=0,
    rate: Any = 0.01,
    policy=CONTINUE,
    when=None,
    ends=(),
    watching=None,
    average=0.9,
    carry=KERAS,
    noise=NOISE,
    within=(),
):
    """Of watching, average, carry and noise, those that the learner uses."""
    steps = epochs * steps_per_epoch(learner, data.train.size)
    when = rules.never(epochs) if when is None else when
    hp = Hyper(
        tabulate(rate, steps),
        (watch(epochs) if watching is None else watching) if learner.watched else (),
        np.float64(average) if learner.averaged else (),
        jax.tree.map(np.bool_, carry) if learner.carry else (),
        noise if learner.noise else (),
    )
    return member(learner, hp, policy, when, make_origin(learner, seed), ends, within)


def of_every_policy(learner, data, epochs):
    """Members that differ in policy, rule, seed and rate."""
    whens = [rules.never(epochs), rules.every(1, epochs), rules.at_epochs([3], epochs)]
    return [
        a_member(learner, data, epochs, seed=i, rate=0.003 * (i + 1), policy=policy, when=whens[i % 3])
        for i, policy in enumerate(POLICIES.values())
    ]


def bits(tree):
    """All bytes of a tree, keys included."""
    leaves = [
        jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
        for x in jax.tree.leaves(tree)
    ]
    return b"".join(np.asarray(x).tobytes() for x in leaves)


def flat(tree):
    """All numbers of a tree in a row: to compare them one by one takes NumPy's testing functions long."""
    return np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)])


# ---- policies: any, and those that keep each component whole or not at all

_fraction = st.one_of(st.sampled_from([0, 1]), st.floats(1e-6, 1 - 1e-6))
_flag = st.sampled_from([0, 1])
_moments = st.one_of(_fraction, st.builds(Moments, mu=_fraction, nu=_fraction, count=_flag, other=_flag))
_whole = st.one_of(_flag, st.builds(Moments, mu=_flag, nu=_flag, count=_flag, other=_flag))
_partial = {"params": _fraction, "moments": _moments, "average": _fraction}
policies = st.builds(keep, **{name: _partial.get(name, _flag) for name in TrainState._fields})
whole_policies = st.builds(
    keep, **{name: _whole if name == "moments" else _flag for name in TrainState._fields}
)
