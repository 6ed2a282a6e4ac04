"""Boundaries made by every named policy, and by hand with plain optax, are called by their names."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import small

from lstm_sched import checkpoint, loop, rules
from lstm_sched.auditing.audit import audit, describe, differences, seen
from lstm_sched.auditing.components import components
from lstm_sched.auditing.leaves import leaves
from lstm_sched.members import Hyper, make_origin, member, start
from lstm_sched.monitor import plateau, stopping, watch
from lstm_sched.optimizers import OPTIMIZERS
from lstm_sched.policy import FATE_OF_MOMENT, fates, moment_of, spread
from lstm_sched.presets import POLICIES
from lstm_sched.schedules import tabulate
from lstm_sched.state import Moments, begin, restart

DATA = small.data(10)
LEARNER = small.learner("amsgrad", dropout=True)._replace(averaged=True, watched=True, steps=2, accumulate=2)
PARAMS = {"w": jnp.arange(1.0, 5.0), "b": jnp.ones(2)}
WITHOUT_FIRST = ("keras_loop", "keras_recompile", "weights_only", "keras_reseed", "drop_moments")

run_soon = jax.jit(loop.run, static_argnames=("learner", "epochs"), compiler_options=small.SOON)
restart_soon = jax.jit(restart, static_argnums=0, compiler_options=small.SOON)


@pytest.fixture(scope="module")
def middle():
    """The progress of a run in which every component that a configuration can use (but the carry) has moved."""
    origin = make_origin(LEARNER, 0)
    watching = watch(3, stopping=stopping(patience=5), plateau=plateau(patience=5))
    hp = Hyper(tabulate(0.01, 12), watching, jnp.asarray(0.9))
    trained = member(LEARNER, hp, POLICIES["one_fit"], rules.never(3), origin)
    return run_soon(LEARNER, trained, DATA, start(LEARNER, origin), 3)[0], origin


def across(progress, origin, policy):
    state = restart_soon(LEARNER, spread(policy, progress.state), origin, progress.state, progress.clock)
    return progress._replace(state=state)


def by_name(boundary):
    return {row.component: row for row in boundary.rows}


@pytest.mark.parametrize("name", list(POLICIES))
def test_a_boundary_under_a_named_policy_is_called_by_its_name(name, middle):
    progress, origin = middle
    after = across(progress, origin, POLICIES[name])
    boundary = audit(progress, after, start(LEARNER, origin))
    assert name in boundary.policies
    policy, kept = fates(POLICIES[name]), seen(boundary.rows)
    for component, fraction in kept.items():
        expected = policy.get(component, policy["other moments"] if component == "accumulator" else 1)
        assert fraction == (expected if expected in (0, 1) else pytest.approx(expected, rel=1e-4))
    assert [p for p in boundary.policies if differences(p, kept)] == []
    if name in WITHOUT_FIRST:
        assert name in audit(progress, after).policies


def test_fractions_and_blends_are_named(middle):
    progress, origin = middle
    policy = POLICIES["one_fit"]._replace(params=0.6, moments=Moments(mu=0.1, nu=0.5, count=1, other=1))
    row_of = by_name(audit(progress, across(progress, origin, policy), start(LEARNER, origin)))
    assert row_of["weights"].fate == "blended"
    assert row_of["weights"].fraction == pytest.approx(0.6, abs=1e-5)
    assert row_of["m"].fate == row_of["v"].fate == "scaled"
    assert row_of["m"].fraction == pytest.approx(0.1, rel=1e-6)
    assert row_of["count"].fate == "kept"


def test_checkpoints_are_audited_without_their_configuration(middle, tmp_path):
    progress, origin = middle
    changed = across(progress, origin, POLICIES["drop_count"])
    checkpoint.save(tmp_path / "a", progress, {"x": 1})
    checkpoint.save(tmp_path / "b", changed, {"x": 1})
    stored, here = audit(tmp_path / "a", tmp_path / "b"), audit(progress, changed)
    assert stored.policies[0] == "drop_count"
    assert [dataclasses.replace(row, first="") for row in stored.rows] == [
        dataclasses.replace(row, first="") for row in here.rows
    ]
    assert by_name(stored)["count"].first == ".moments.inner_opt_state[1][0].count"


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_components_of_our_optimizers_are_those_that_policies_address(name):
    """A policy's spread and an audit must mean the same leaves."""
    learner = small.learner(name)
    state = jax.eval_shape(lambda: begin(learner, jax.random.key(0), learner.init(jax.random.key(1))))
    weights = {p: x.shape for p, x in jax.tree_util.tree_leaves_with_path(state.params)}
    moments = jax.tree_util.tree_leaves_with_path(state.moments)
    zeros = leaves(jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), state._replace(order=(), noise=())))
    named = [c for leaf, c in zip(zeros, components(zeros), strict=True) if leaf.path[0] == "moments"]
    assert named == [FATE_OF_MOMENT[moment_of(path, x.shape, weights)] for path, x in moments]


CHAIN = optax.chain(optax.clip(1.0), optax.adam(optax.cosine_decay_schedule(0.1, 50)))
WRAPPED = {
    "chain": CHAIN,
    "multi_steps": optax.MultiSteps(CHAIN, 2),
    "inject": optax.inject_hyperparams(optax.adam)(optax.cosine_decay_schedule(0.1, 50)),
    "masked": optax.masked(optax.adamw(0.1), {"w": True, "b": True}),
    "partition": optax.partition({"weights": CHAIN}, {"w": "weights", "b": "weights"}),
}


@pytest.fixture(autouse=True)
def lenient():
    """Optax mixes dtypes, which our tests forbid."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def trained(tx, steps=5):
    @partial(jax.jit, compiler_options=small.SOON)
    def step(params, opt, i):
        updates, opt = tx.update(jax.tree.map(lambda p: p * i, params), opt, params)
        return optax.apply_updates(params, updates), opt

    params, opt = PARAMS, tx.init(PARAMS)
    for i in range(steps):
        params, opt = step(params, opt, i + 1.0)
    return {"params": params, "opt_state": opt}


@pytest.mark.parametrize("name", list(WRAPPED))
def test_opt_init_in_the_loop_is_a_recompile_and_a_new_optimizer_object(name):
    tx = WRAPPED[name]
    state = trained(tx)
    boundary = audit(state, state | {"opt_state": tx.init(state["params"])}, trained(tx, 0))
    assert boundary.policies[0] == "keras_recompile"
    assert "weights_only" in boundary.policies
    assert "a new optimizer object" in str(boundary)
    parts = {"m", "v", "count"} | ({"schedule clock"} if name != "masked" else set())
    assert parts <= {row.component for row in boundary.rows if row.fate == "reset"}


def test_the_parts_of_wrapped_optimizers_are_found():
    names = {name: set(components(leaves(trained(WRAPPED[name])))) for name in ("multi_steps", "inject")}
    assert names["multi_steps"] == {"weights", "m", "v", "count", "schedule clock", "accumulator"}
    assert names["inject"] == {"weights", "m", "v", "count", "schedule clock", "rate"}
    free = optax.contrib.schedule_free_sgd(0.1).init(PARAMS)
    assert "schedule-free" in components(leaves(free))
    assert set(components(leaves(optax.contrib.reduce_on_plateau().init(PARAMS)))) == {"rate", "monitor"}


def test_named_policies_begin_with_the_one_that_supposes_least_and_the_nearest_is_named_where_none_fits():
    state = trained(CHAIN)
    clip, (adam, clock) = state["opt_state"]

    def with_adam(**fields):
        return audit(state, state | {"opt_state": (clip, (adam._replace(**fields), clock))})

    assert audit(state, state).policies[0] == "one_fit"
    zeros = jax.tree.map(jnp.zeros_like, adam)
    assert with_adam(mu=zeros.mu, nu=zeros.nu).policies[:1] == ("drop_moments",)
    assert with_adam(count=zeros.count).policies == ("drop_count",)
    state |= {"epoch": np.int32(3)}
    boundary = audit(state, state | {"opt_state": CHAIN.init(state["params"])})
    assert boundary.policies == ()
    assert describe(seen(boundary.rows)).endswith("the nearest is keras_recompile, which differs in epoch.")


def test_a_component_that_still_has_its_initial_value_says_nothing():
    state = trained(CHAIN, 0)
    boundary = audit(state, state, state)
    assert not any(row.tells for row in boundary.rows)
    assert boundary.policies == ()
    assert "Nothing can be said" in str(boundary)


def test_an_audit_prints_as_its_table():
    before = {"params": {"w": np.ones(2)}, "opt_state": {"mu": np.ones(2), "count": np.int32(7)}}
    boundary = audit(before, before | {"opt_state": {"mu": np.ones(2), "count": np.int32(0)}})
    head, *rows, words = str(boundary).splitlines()
    assert head.split("  ")[0] == "component"
    assert [row.split()[:2] for row in rows] == [["weights", "kept"], ["m", "kept"], ["count", "reset"]]
    assert len({row.index("1 of 1") for row in rows if "1 of 1" in row} | {head.index("numbers")}) == 1
    assert "drop_count" in words and repr(boundary) == str(boundary)


def torch_like(count=7):
    slots = {
        i: {"step": np.float32(count), "exp_avg": np.full(3, 0.5), "exp_avg_sq": np.ones(3)} for i in (0, 1)
    }
    groups = [{"lr": 1e-3, "betas": (0.9, 0.999), "amsgrad": False, "params": [0, 1]}]
    model = {"lstm.weight_ih_l0": np.arange(3.0), "lstm.bias_ih_l0": np.arange(3.0)}
    return {"model": model, "optimizer": {"state": slots, "param_groups": groups}, "epoch": 3}


def test_a_state_dict_as_pytorch_has_it():
    old, new = torch_like(), torch_like()
    assert set(by_name(audit(old, new))) == {"weights", "m", "v", "count", "epoch", "rate"}
    for slot in new["optimizer"]["state"].values():
        slot["step"] = np.float32(0)
    assert audit(old, new).policies == ("drop_count",)
    new["optimizer"]["state"] = {}
    row_of = by_name(audit(old, new))
    assert row_of["m"].fate == row_of["count"].fate == "gone"
    assert components(leaves({"optimizer": {"state": {0: {"momentum_buffer": np.ones(3)}}}})) == ["m"]


@pytest.mark.parametrize("endings", [("momentum", "velocity"), ("m", "v")])
def test_the_variables_of_a_keras_optimizer(endings, tmp_path):
    slots = {f"adam/lstm_kernel_{end}": np.full(4, 2.0, np.float32) for end in endings}
    arrays = {"weights/lstm/kernel": np.ones(4), "adam/iteration": np.int64(9), **slots}
    assert components(leaves(arrays | {"adam/learning_rate": np.float32(1e-3)})) == [
        *("count", "rate", "m", "v", "weights")  # JAX sorts the keys of a dict
    ]
    np.savez(tmp_path / "before.npz", **arrays)
    np.savez(tmp_path / "after.npz", **{k: x if "weights" in k else 0 * x for k, x in arrays.items()})
    assert audit(tmp_path / "before.npz", tmp_path / "after.npz").policies[0] == "keras_recompile"


def test_streams_are_reseeded_to_the_first_key_or_another():
    first, old, new = ({"key": jax.random.key(i), "dropout": jax.random.key(i)} for i in range(3))
    again = by_name(audit(old, first | {"dropout": old["dropout"]}, first))
    assert (again["order"].fate, again["order"].note) == ("re-seeded", "the first key again")
    assert again["noise"].fate == "kept"
    assert by_name(audit(old, new, first))["order"].note == "another key"


def test_shrunk_perturbed_reset_and_new_weights_are_told_apart():
    rng = np.random.default_rng(0)
    w_N, noise_N = rng.normal(size=(2, 200)).astype(np.float32)

    def row(after_N, fresh=None):
        return audit({"w": w_N}, {"w": after_N}, fresh).rows[0]

    shrunk = row(w_N * np.float32(0.6))
    assert (shrunk.fate, shrunk.fraction) == ("scaled", pytest.approx(0.6))
    assert row(w_N * np.float32(0.6) + np.float32(0.01) * noise_N).fate == "perturbed"
    assert row(noise_N).fate == "changed"
    assert row(noise_N, {"w": noise_N}).fate == "reset"
    moved = w_N.copy()
    moved[[3, 7]] = np.nextafter(np.nextafter(w_N[[3, 7]], np.float32(9)), np.float32(9))
    nudged = row(moved)
    assert (nudged.ulp, nudged.differing, nudged.numbers, nudged.first) == (2, 2, 200, "['w']")


def test_one_layer_reset_is_partly_reset():
    state = trained(optax.adam(0.1))
    adam = state["opt_state"][0]
    half = adam._replace(mu=adam.mu | {"w": jnp.zeros(4)})
    row = by_name(audit(state, state | {"opt_state": (half, *state["opt_state"][1:])}))["m"]
    assert (row.fate, row.first) == ("partly reset", "['opt_state'][0].mu['w']")


def test_a_bit_is_a_difference_and_an_empty_array_is_kept():
    assert audit({"w": np.zeros(2)}, {"w": -np.zeros(2)}).rows[0].differing == 2
    assert audit({"w": np.array([np.nan, 1])}, {"w": np.array([np.nan, 1])}).rows[0].fate == "kept"
    row = audit({"w": np.ones(2)}, {"w": np.ones(2, np.float32)}).rows[0]
    assert (row.fate, row.differing, row.ulp) == ("changed", 2, None)
    before = {"params": {"w": np.ones(3), "none": np.zeros((0, 4))}}
    (row,) = audit(before, before).rows
    assert (row.fate, row.differing, row.numbers) == ("kept", 0, 3)


def test_states_without_a_common_leaf_and_leaves_that_are_no_arrays_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"after: .*before has \['a'\], after has \['b'\]"):
        audit({"a": np.ones(1)}, {"b": np.ones(1)})
    with pytest.raises(TypeError, match=r"\['rng'\]: Generator; allowed: arrays"):
        audit({"rng": np.random.default_rng(0)}, {"rng": 1})
    np.savez(tmp_path / "pickled.npz", w=np.array([{}], object))
    with pytest.raises(ValueError, match=r"cannot be read as \.npz: Object arrays"):
        audit(tmp_path / "pickled.npz", {"w": 1})
    with pytest.raises(FileNotFoundError, match="no such file"):
        audit(tmp_path / "none.npz", {})
