"""Law 3 in its simple form, and what a checkpoint refuses."""

import functools
import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import small
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lstm_sched import monitor, rules
from lstm_sched.checkpoint import steps
from lstm_sched.checkpoint.progress import latest, read, restore, resume, save, set_aside
from lstm_sched.checkpoint.steps import CheckpointWarning, Damaged
from lstm_sched.loop import run
from lstm_sched.members import start
from lstm_sched.population import choose_layout, stack, train
from lstm_sched.presets import CONTINUE, DROP_M, KERAS_LOOP, KERAS_RECOMPILE, SCRATCH, WEIGHTS_ONLY
from lstm_sched.state import TrainState, restart

EPOCHS = 6
DATA = small.data(10)
LEARNER = small.learner(dropout=True)
# One program serves all that is compared, so none need be compiled as a user has it.
run_jit = jax.jit(run, static_argnames=("learner", "epochs"), compiler_options=small.SOON)


def a_member(policy=CONTINUE):
    return small.a_member(LEARNER, DATA, policy=policy, when=rules.at_epochs([4], EPOCHS))


def until(member, end, progress=None):
    progress = start(LEARNER, member.origin) if progress is None else progress
    return run_jit(LEARNER, member, DATA, progress, EPOCHS, end)[0]


CONTINUED = """
import json, sys
sys.path[:0] = sys.path_here
import jax
jax.config.update("jax_num_cpu_devices", 2)
import test_progress as t
from helpers import small
member = t.a_member(t.KERAS_RECOMPILE)
progress, _ = t.restore(sys.argv[1], t.start(t.LEARNER, member.origin))
print(json.dumps({"bits": small.bits(t.until(member, t.EPOCHS, progress)).hex()}))
"""


def test_a_new_process_continues_to_the_same_bits(tmp_path):
    member = a_member(KERAS_RECOMPILE)
    save(tmp_path, until(member, 3))
    code = CONTINUED.replace("sys.path_here", repr([str(Path(__file__).parents[n]) for n in (0, 2)]))
    out = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert json.loads(out.stdout)["bits"] == small.bits(until(member, EPOCHS)).hex()


FULL, FULL_DATA = small.everything(), small.data(12, val=4)


def with_every_component(policy=CONTINUE):
    """A member that has stopped by epoch 5 unless a boundary before epoch 4 forgets."""
    watching = monitor.watch(
        EPOCHS,
        stopping=monitor.stopping(3, min_delta=10.0),
        plateau=monitor.plateau(1, min_delta=10.0),
    )
    return small.a_member(
        FULL,
        FULL_DATA,
        policy=policy,
        when=rules.at_epochs([4], EPOCHS),
        ends=rules.ends(2, EPOCHS),
        watching=watching,
    )


def full_until(member, end, progress=None):
    progress = start(FULL, member.origin) if progress is None else progress
    return run_jit(FULL, member, FULL_DATA, progress, EPOCHS, end)[0]


@pytest.mark.parametrize("policy", [CONTINUE, KERAS_LOOP, KERAS_RECOMPILE, WEIGHTS_ONLY, SCRATCH, DROP_M])
def test_every_component_is_restored_and_continued_bitwise_and_resuming_is_a_restart(policy, tmp_path):
    member = with_every_component(policy)
    half = full_until(member, 3)
    assert all(jax.tree.leaves(component) for component in half.state)
    save(tmp_path, half, {"note": "half way"})
    progress, meta = restore(tmp_path, start(FULL, member.origin))
    assert meta == {"note": "half way"}
    assert jax.tree.structure(progress) == jax.tree.structure(half)
    assert small.bits(progress) == small.bits(half)
    assert small.bits(full_until(member, EPOCHS, progress)) == small.bits(full_until(member, EPOCHS))
    resumed = resume(tmp_path, FULL, member)
    want = restart(FULL, member.policy, member.origin, half.state, half.clock)
    assert small.bits(resumed.state) == small.bits(want)
    assert small.bits(resumed._replace(state=())) == small.bits(half._replace(state=()))


def test_a_member_that_has_stopped_stays_stopped_unless_a_boundary_forgets():
    for policy in (CONTINUE, KERAS_LOOP):
        last = full_until(with_every_component(policy), EPOCHS)
        assert bool(last.log.trained) == (policy is not CONTINUE)


def tamper(step, change):
    """Change the record of a step, and seal it again: what a fault between memory and disk would look like."""
    stored = json.loads((step / steps.RECORD).read_text())
    change(stored["record"])
    (step / steps.RECORD).write_text(json.dumps(stored | {"sha256": steps.seal(stored["record"])}))


def test_bytes_of_any_component_that_are_not_those_saved_are_refused_by_name(tmp_path):
    member = with_every_component()
    save(tmp_path, full_until(member, 3))
    true = (tmp_path / "3" / steps.RECORD).read_text()
    for component in (*TrainState._fields, "clock", "log", "selected"):
        tamper(tmp_path / "3", lambda record, c=component: record["digest"].update({c: "0"}))
        with pytest.raises(Damaged, match=f"step 3: {component} is not what was saved"):
            restore(tmp_path, start(FULL, member.origin))
        with pytest.raises(Damaged, match=f"step 3: {component} is not what was saved"):
            read(tmp_path)
        (tmp_path / "3" / steps.RECORD).write_text(true)


def test_only_what_is_kept_is_read(tmp_path):
    member = a_member(WEIGHTS_ONLY)
    save(tmp_path, until(member, 3))
    moments = small.learner("lion", dropout=True)  # other moments on disk are not looked at
    other = small.a_member(moments, DATA, policy=WEIGHTS_ONLY)
    progress = resume(tmp_path, moments, other)
    assert small.bits(progress.state.params) == small.bits(until(member, 3).state.params)


def test_another_configuration_is_refused_by_component(tmp_path):
    member = a_member()
    save(tmp_path, until(member, 3))
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
    tamper(tmp_path / "3", lambda record: record.update(format=0))
    for look in (lambda: restore(tmp_path, like), lambda: read(tmp_path)):
        with pytest.raises(ValueError, match="checkpoint: its format is 0; allowed: 1"):
            look()


def test_no_step_is_overwritten(tmp_path):
    progress = until(a_member(), 3)
    save(tmp_path, progress)
    with pytest.raises(FileExistsError, match="step 3 is already saved"):
        save(tmp_path, progress, {"first": False})
    with pytest.raises(FileExistsError, match=r"step 3 is already saved in .*; step 2 is not"):
        save(tmp_path, until(a_member(), 2), {"first": False})
    assert restore(tmp_path, progress)[1] == {}, "no meta was saved"


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


# ---- faults


def saved_twice(folder):
    """Steps 2 and 4 of one run; its progress before the first epoch."""
    for end in (2, 4):
        save(folder, until(a_member(), end), {"end": end})
    return start(LEARNER, a_member().origin)


def files_of(step):
    return sorted(file for file in step.rglob("*") if file.is_file())


def flip(file, bit):
    data = bytearray(file.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)


def warned_by(f):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        return f(), warned


DAMAGES = {
    "deleted": Path.unlink,
    "cut": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "emptied": lambda file: file.write_bytes(b""),
    "a bit": lambda file: flip(file, 8 * (file.stat().st_size // 3) + 5),
    "grown": lambda file: file.write_bytes(file.read_bytes() + b"\0"),
}


@pytest.mark.fault
def test_damage_to_any_file_of_the_newest_step_is_skipped_with_one_warning(tmp_path):
    like = saved_twice(tmp_path)
    want = small.bits(until(a_member(), 2))
    for file in files_of(tmp_path / "4"):
        true = file.read_bytes()
        name = file.relative_to(tmp_path / "4").as_posix()
        for damage in DAMAGES.values() if true else (Path.unlink,):  # nothing else happens to an empty file
            file.write_bytes(true)
            damage(file)
            meta, (warned,) = warned_by(lambda: steps.newest(tmp_path, lambda _, r: r["meta"], lambda *_: ""))
            assert meta == {"end": 2}
            assert warned.category is CheckpointWarning
            assert "step 4: " in str(warned.message)
            assert name in str(warned.message)
            assert str(warned.message).endswith("Step 2 is read instead")
        (progress, meta), warned = warned_by(lambda: restore(tmp_path, like))
        assert (small.bits(progress), meta, len(warned)) == (want, {"end": 2}, 1)
        file.write_bytes(true)
    (_, meta), warned = warned_by(lambda: restore(tmp_path, like))
    assert (meta, warned) == ({"end": 4}, [])


@pytest.mark.fault
def test_the_component_of_a_damaged_value_is_named_and_no_other(tmp_path):
    rng = np.random.default_rng(0)
    for end in (2, 4):
        like = until(a_member(), end)
        many = [{"w": jnp.asarray(rng.normal(size=(64, 64)), float)} for _ in range(2)]
        like = like._replace(
            state=like.state._replace(params=many[0]), selected=like.selected._replace(params=many[1])
        )
        save(tmp_path, like, {})
    values = max((tmp_path / "4" / "state").rglob("d/*"), key=lambda file: file.stat().st_size)
    named = set()
    for i, bit in enumerate(range(8_000, 8 * values.stat().st_size - 20_000, 40_007)):
        flip(values, bit)
        _, (warned,) = warned_by(lambda i=i: read(tmp_path) if i % 2 else restore(tmp_path, like))
        components = re.search(r"step 4: .*its SHA-256 differs\): ([a-z, ]+)\. Step 2", str(warned.message))
        assert components, warned.message
        named.add(components[1])
        flip(values, bit)
    assert named == {"params", "selected"}


@pytest.mark.fault
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 2**40))
def test_no_flipped_bit_is_restored(at, tmp_path):
    folder = tmp_path / "run"
    if not folder.exists():
        saved_twice(folder)
    like = start(LEARNER, a_member().origin)
    files = files_of(folder / "4")
    sizes = np.cumsum([8 * file.stat().st_size for file in files])
    bit = at % int(sizes[-1])
    which = int(np.searchsorted(sizes, bit, side="right"))
    flip(files[which], bit % (8 * files[which].stat().st_size))
    (_, meta), warned = warned_by(lambda: restore(folder, like))
    flip(files[which], bit % (8 * files[which].stat().st_size))
    assert (meta, len(warned)) == ({"end": 2}, 1)


@pytest.mark.fault
def test_where_every_step_is_damaged_the_error_has_each_reason_and_nothing_changes(tmp_path):
    like = saved_twice(tmp_path)
    (tmp_path / "2" / steps.RECORD).unlink()
    flip(tmp_path / "4" / "state" / "_METADATA", 9)
    before = {file: file.read_bytes() for file in files_of(tmp_path)}
    for look in (lambda: restore(tmp_path, like), lambda: read(tmp_path)):
        with pytest.raises(
            Damaged,
            match=r"every step in .*: step 4: state/_METADATA is not as .*; step 2: record.json is missing",
        ):
            look()
    assert {file: file.read_bytes() for file in files_of(tmp_path)} == before


@pytest.mark.fault
def test_a_run_that_skipped_a_damaged_step_saves_again_and_the_step_stays_aside(tmp_path):
    like = saved_twice(tmp_path)
    file = tmp_path / "4" / "state" / "_METADATA"
    flip(file, 9)
    true = file.read_bytes()
    with pytest.warns(CheckpointWarning):
        progress = restore(tmp_path, like)[0]
    with pytest.raises(FileExistsError, match="step 4 is already saved"):
        save(tmp_path, until(a_member(), 4, progress), {})
    (aside,) = set_aside(tmp_path, progress)
    assert (aside.name, (aside / "state" / "_METADATA").read_bytes()) == ("damaged-4", true)
    save(tmp_path, until(a_member(), 4, progress), {"again": True})
    again, meta = restore(tmp_path, like)
    assert meta == {"again": True}
    assert small.bits(again) == small.bits(until(a_member(), 4))
    assert latest(tmp_path) == 4
    assert set_aside(tmp_path, again) == []


@pytest.mark.fault
def test_another_version_of_jax_is_one_warning(tmp_path, recwarn):
    like = saved_twice(tmp_path)
    tamper(tmp_path / "4", lambda record: record.update(jax="0.0.1"))
    assert restore(tmp_path, like)[1] == {"end": 4}
    (warned,) = recwarn
    assert f"under jax 0.0.1, and this is {jax.__version__}" in str(warned.message)


@pytest.mark.fault
def test_another_configuration_is_refused_and_no_older_step_is_tried(tmp_path, recwarn):
    saved_twice(tmp_path)
    other = start(small.learner("lion", dropout=True), a_member().origin)
    with pytest.raises(ValueError, match=r"moments holds .*; this configuration has") as refused:
        restore(tmp_path, other)
    assert not isinstance(refused.value, Damaged)
    assert not recwarn.list


@pytest.mark.fault
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(1, EPOCHS - 1), first=st.integers(1, 7), second=st.integers(1, 7))
def test_a_resume_at_any_epoch_and_any_chunks_differ_by_no_bit(cut, first, second, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cut")
    *_, (half, _) = train(LEARNER, LAYOUT, MEMBERS, DATA, cut, None, first)
    save(folder, half, {})
    progress, _ = restore(folder, half)
    *_, (last, _) = train(LEARNER, LAYOUT, MEMBERS, DATA, EPOCHS, progress, second)
    assert small.bits(last) == small.bits(whole())


LAYOUT = choose_layout()
MEMBERS = stack([small.a_member(LEARNER, DATA, seed=s, policy=KERAS_RECOMPILE) for s in range(2)])


@functools.cache
def whole():
    *_, (last, _) = train(LEARNER, LAYOUT, MEMBERS, DATA, EPOCHS)
    return last


@pytest.mark.fault
def test_arrays_whose_names_lead_elsewhere_are_saved_in_the_folder(tmp_path):
    progress = until(a_member(), 2)
    names = ["../../out", "/etc/x", "a/b", "a.b", "<b>", "a\nb", "", "ünï", "]['"]
    odd = {name: jnp.full((2,), i, float) for i, name in enumerate(names)} | {"a": {"b": jnp.ones(1)}}
    odd = progress._replace(state=progress.state._replace(params=odd))
    save(tmp_path / "in" / "run", odd, {})
    assert [file.relative_to(tmp_path).parts[:3] for file in tmp_path.rglob("x")] == []
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == ["run"]
    assert sorted(path.name for path in (tmp_path / "in" / "run").iterdir()) == ["2"]
    assert small.bits(restore(tmp_path / "in" / "run", odd)[0]) == small.bits(odd)
    assert len(read(tmp_path / "in" / "run")["params"]) == len(names) + 1
