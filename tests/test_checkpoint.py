"""Law 3 in its simple form, and what a checkpoint refuses."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from lstm_sched import keras_rules, rules
from lstm_sched.checkpoint import digest, latest, read, restore, resume, save
from lstm_sched.member import start
from lstm_sched.policies import CONTINUE, DROP_M, KERAS_LOOP, KERAS_RECOMPILE, SCRATCH, WEIGHTS_ONLY
from lstm_sched.population import layout, stack, train
from lstm_sched.state import TrainState, restart
from lstm_sched.train import run

EPOCHS = 6
DATA = small.data(10)
LEARNER = small.learner(noisy=True)
run_jit = jax.jit(run, static_argnames=("learner", "epochs"))


def a_member(policy=CONTINUE):
    return small.a_member(LEARNER, DATA, policy=policy, when=rules.at([4], EPOCHS))


def until(member, end, progress=None):
    progress = start(LEARNER, member.origin) if progress is None else progress
    return run_jit(LEARNER, member, DATA, progress, EPOCHS, end)[0]


@pytest.mark.parametrize(
    "policy", [CONTINUE, KERAS_RECOMPILE, SCRATCH], ids=["continue", "recompile", "scratch"]
)
def test_saved_and_restored_is_the_uninterrupted_run_bitwise(policy, tmp_path):
    member = a_member(policy)
    half = until(member, 3)
    save(tmp_path, half, {"note": "half way"})
    progress, meta = restore(tmp_path, start(LEARNER, member.origin))
    assert meta == {"note": "half way"}
    assert type(progress.state.moments) is type(half.state.moments)
    assert small.bits(progress) == small.bits(half)
    assert small.bits(until(member, EPOCHS, progress)) == small.bits(until(member, EPOCHS))


CONTINUED = """
import json, sys
sys.path[:0] = sys.path_here
import jax
jax.config.update("jax_num_cpu_devices", 2)
import small, test_checkpoint as t
member = t.a_member(t.KERAS_RECOMPILE)
progress, _ = t.restore(sys.argv[1], t.start(t.LEARNER, member.origin))
print(json.dumps({"bits": small.bits(t.until(member, t.EPOCHS, progress)).hex()}))
"""


def test_a_new_process_continues_to_the_same_bits(tmp_path):
    member = a_member(KERAS_RECOMPILE)
    save(tmp_path, until(member, 3), {})
    code = CONTINUED.replace("sys.path_here", repr([str(Path(__file__).parent)]))
    out = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert json.loads(out.stdout)["bits"] == small.bits(until(member, EPOCHS)).hex()


def test_a_population_comes_back_bitwise(tmp_path):
    members = stack([small.a_member(LEARNER, DATA, seed=s) for s in range(3)])
    chunks = list(train(LEARNER, layout(), members, DATA, EPOCHS, chunk=2))
    save(tmp_path, chunks[0][0], {})
    progress, _ = restore(tmp_path, chunks[0][0])
    *_, (last, _) = train(LEARNER, layout(), members, DATA, EPOCHS, progress)
    assert small.bits(last) == small.bits(chunks[-1][0])


@pytest.mark.parametrize("policy", [CONTINUE, KERAS_RECOMPILE, WEIGHTS_ONLY, SCRATCH, DROP_M])
def test_restoring_under_a_policy_is_a_restart_whose_old_state_comes_from_disk(policy, tmp_path):
    member = a_member(policy)
    half = until(member, 3)
    save(tmp_path, half, {})
    got = resume(tmp_path, LEARNER, member)
    want = restart(LEARNER, member.policy, member.origin, half.state, half.clock)
    assert small.bits(got.state) == small.bits(want)
    assert small.bits(got._replace(state=())) == small.bits(half._replace(state=()))


FULL, FULL_DATA = small.everything(), small.data(12, val=4)


def with_every_component(policy=CONTINUE):
    """A member that has stopped by epoch 5 unless a boundary before epoch 4 forgets."""
    watching = keras_rules.watch(
        EPOCHS,
        stopping=keras_rules.stopping(3, min_delta=10.0),
        plateau=keras_rules.plateau(1, min_delta=10.0),
    )
    return small.a_member(
        FULL,
        FULL_DATA,
        policy=policy,
        when=rules.at([4], EPOCHS),
        ends=rules.ends(2, EPOCHS),
        watching=watching,
    )


def full_until(member, end, progress=None):
    progress = start(FULL, member.origin) if progress is None else progress
    return run_jit(FULL, member, FULL_DATA, progress, EPOCHS, end)[0]


@pytest.mark.parametrize("policy", [CONTINUE, KERAS_LOOP, KERAS_RECOMPILE, SCRATCH])
def test_every_component_is_saved_restored_and_continued_bitwise(policy, tmp_path):
    member = with_every_component(policy)
    half = full_until(member, 3)
    assert all(jax.tree.leaves(component) for component in half.state)
    save(tmp_path, half, {})
    progress, _ = restore(tmp_path, start(FULL, member.origin))
    assert jax.tree.structure(progress) == jax.tree.structure(half)
    assert small.bits(progress) == small.bits(half)
    for saved, restored in zip(half.state, progress.state, strict=True):
        assert digest(saved) == digest(restored)
    last = full_until(member, EPOCHS, progress)
    assert small.bits(last) == small.bits(full_until(member, EPOCHS))
    assert bool(last.log.trained) == (policy is not CONTINUE)
    resumed = resume(tmp_path, FULL, member)
    want = restart(FULL, member.policy, member.origin, half.state, half.clock)
    assert small.bits(resumed.state) == small.bits(want)


def test_bytes_of_any_component_that_are_not_those_saved_are_refused_by_name(tmp_path):
    member = with_every_component()
    save(tmp_path, full_until(member, 3), {})
    file = tmp_path / "3" / "_CHECKPOINT_METADATA"
    true = file.read_text()
    for component in (*TrainState._fields, "clock", "log", "selected"):
        record = json.loads(true)
        digests = record["custom_metadata"]["digest"]
        digests[component] = digests[component][::-1]
        file.write_text(json.dumps(record))
        with pytest.raises(ValueError, match=f"{component} in .* is damaged"):
            restore(tmp_path, start(FULL, member.origin))


def test_only_what_is_kept_is_read(tmp_path):
    member = a_member(WEIGHTS_ONLY)
    save(tmp_path, until(member, 3), {})
    moments = small.learner("lion", noisy=True)  # other moments on disk are not looked at
    other = small.a_member(moments, DATA, policy=WEIGHTS_ONLY)
    progress = resume(tmp_path, moments, other)
    assert small.bits(progress.state.params) == small.bits(until(member, 3).state.params)


def test_another_configuration_is_refused_by_component(tmp_path):
    member = a_member()
    save(tmp_path, until(member, 3), {})
    like = start(LEARNER, member.origin)
    wide = like._replace(state=like.state._replace(params=like.state.params | {"bias": jnp.zeros((2,))}))
    with pytest.raises(
        ValueError, match=r"checkpoint: params holds .*\[1\].*; this configuration has .*\[2\]"
    ):
        restore(tmp_path, wide)
    half = like._replace(state=like.state._replace(step=jnp.zeros((), jnp.int16)))
    with pytest.raises(ValueError, match=r"checkpoint: step holds .*int32.*int16"):
        restore(tmp_path, half)
    quiet = like._replace(state=like.state._replace(noise=()))
    with pytest.raises(ValueError, match="checkpoint: noise holds 1 arrays; this configuration has 0"):
        restore(tmp_path, quiet)


def test_no_step_is_overwritten(tmp_path):
    progress = until(a_member(), 3)
    save(tmp_path, progress, {"first": True})
    with pytest.raises(FileExistsError, match="step 3"):
        save(tmp_path, progress, {"first": False})
    assert restore(tmp_path, progress)[1] == {"first": True}


def test_the_newest_step_is_the_one_restored_and_an_older_one_stays(tmp_path):
    for end in (2, 3, 5):
        save(tmp_path, until(a_member(), end), {"end": end})
    assert latest(tmp_path) == 5
    assert restore(tmp_path, start(LEARNER, a_member().origin))[1] == {"end": 5}
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == ["3", "5"]


def test_an_empty_or_missing_folder_has_no_checkpoint(tmp_path):
    assert latest(tmp_path / "nowhere") is None
    with pytest.raises(FileNotFoundError, match="none in"):
        restore(tmp_path, start(LEARNER, a_member().origin))


def test_a_digest_tells_every_bit():
    tree = {"a": jnp.asarray([1.0, -0.0]), "k": jax.random.key(1)}
    assert digest(tree) == digest({"a": np.array([1.0, -0.0], np.float32), "k": jax.random.key(1)})
    assert digest(tree) != digest(tree | {"a": jnp.asarray([1.0, 0.0])})
    assert digest(tree) != digest(tree | {"k": jax.random.key(2)})


def test_everything_is_read_without_the_configuration(tmp_path):
    half = until(a_member(), 3)
    save(tmp_path, half, {"end": 3})
    found = read(tmp_path)
    assert small.bits([*found["params"].values()]) == small.bits(half.state.params)
    assert list(found["moments"])[:2] == [".count", ".mu['bias']"]
    assert small.bits([*found["moments"].values()]) == small.bits(half.state.moments)
    assert small.bits([found["order"][""], found["clock"][""]]) == small.bits([half.state.order, half.clock])
    with pytest.raises(FileNotFoundError, match="none in"):
        read(tmp_path / "nowhere")


def test_damage_is_seen_when_everything_is_read(tmp_path):
    save(tmp_path, until(a_member(), 3), {"end": 3})
    file = tmp_path / "3" / "_CHECKPOINT_METADATA"
    saved = json.loads(file.read_text())
    saved["custom_metadata"]["digest"]["order"] = "0"
    file.write_text(json.dumps(saved))
    with pytest.raises(ValueError, match=r"order in .* is damaged"):
        read(tmp_path)
