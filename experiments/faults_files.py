"""Faults of the files of a checkpoint: damaged, or not this run's. And what a resume and a save cost."""

import hashlib
import json
import random
import shutil
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import arms as A
from experiments import faults_run
from experiments.faults_processes import Row
from experiments.plan import Plan
from experiments.setting import SAVE_EVERY
from lstm_sched import checkpoint, population, steps
from lstm_sched.learner import lstm
from lstm_sched.member import Progress, originate
from lstm_sched.optimizers import OPTIMIZERS

Told = tuple[Any, list[str]]


def heard(f: Callable[[], Any]) -> Told:
    """What a call returns, or the ValueError that it raises, and what it warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = f()
        except ValueError as error:
            found = error
    return found, [str(warned.message) for warned in caught]


def files(step: Path) -> list[Path]:
    """Of a step, all that can be damaged."""
    return sorted(path for path in step.rglob("*") if path.is_file() and path.stat().st_size)


def flip(file: Path, bit: int) -> None:
    """One bit of a file."""
    data = bytearray(file.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)


def tamper(step: Path, **facts: Any) -> None:
    """Change a step's record and seal it again, so that it is not damage."""
    path = step / steps.RECORD
    record = json.loads(path.read_text())["record"] | facts
    path.write_text(json.dumps({"sha256": steps.seal(record), "record": record}))


def damage(base: Path, whole: Path, plan: Plan, count: int, seed: int = 0) -> list[Row]:
    """Bits of the newest step flipped, each of its files cut and deleted, and then both steps damaged."""
    store, like, rng = base / "damaged", faults_run.begin(plan), random.Random(seed)
    shutil.copytree(whole / "checkpoint", store)
    older, newest = steps.steps(store)
    shutil.copytree(store / str(older), base / "older" / str(older))
    want = checkpoint.restore(base / "older", like)[0]
    wrong = warned = named = tried = 0

    def look(file: Path, harm: Callable[[], object]) -> None:
        nonlocal wrong, warned, named, tried
        true = file.read_bytes()
        harm()
        found, said = heard(lambda: checkpoint.restore(store, like))
        tried += 1
        wrong += isinstance(found, ValueError) or A.differing(found[0], want) > 0
        one = said[0] if len(said) == 1 else ""
        warned += f"step {newest}: " in one
        named += file.relative_to(store / str(newest)).as_posix() in one
        file.write_bytes(true)

    sizes = {file: 8 * file.stat().st_size for file in files(store / str(newest))}
    for _ in range(count):
        file = rng.choices(list(sizes), list(sizes.values()))[0]
        look(file, lambda f=file: flip(f, rng.randrange(sizes[f])))
    for file in sizes:
        look(file, lambda f=file: f.write_bytes(f.read_bytes()[: sizes[f] // 16]))
        look(file, file.unlink)
    others = f"truncation and deletion of each of {len(sizes)} files"
    rows = [
        Row(
            f"{count} single-bit flips; {others} of the newest step",
            "0 wrong restores; one warning names step, file and component",
            f"{wrong} wrong of {tried} restores; {warned} warnings name the step, {named} what is damaged",
            (wrong, warned, named) == (0, tried, tried),
        )
    ]
    for step in (older, newest):
        flip(files(store / str(step))[-1], 77)
    before = _content(store)
    found, _ = heard(lambda: checkpoint.restore(store, like))
    both = isinstance(found, ValueError) and all(f"step {step}: " in str(found) for step in (older, newest))
    same = _content(store) == before
    rows.append(
        Row(
            "every step damaged",
            "one error lists each step's reason; nothing overwritten",
            f"{'both reasons' if both else 'not both reasons'} told; files {'as before' if same else 'CHANGED'}",
            both and same,
        )
    )
    return rows


def _content(folder: Path) -> dict[str, str]:
    return {
        str(file): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file()
    }


def others(base: Path, whole: Path, plan: Plan) -> list[Row]:
    """A checkpoint read as another configuration, shape, dtype, format; and one of another version of JAX."""
    like, store = faults_run.begin(plan), base / "other"
    shutil.copytree(whole / "checkpoint", store)
    newest, state = max(steps.steps(store)), like.state

    def refused(other: Progress, *words: str) -> bool:
        found, said = heard(lambda: checkpoint.restore(store, other))
        return isinstance(found, ValueError) and not said and all(word in str(found) for word in words)

    narrow = jax.tree.map(lambda x: np.asarray(x, jnp.bfloat16), state.params)
    short = jax.tree.map(lambda x: x[:1], state.params)
    results = {
        "configuration": refused(like._replace(state=state._replace(moments=())), "moments holds"),
        "shape": refused(like._replace(state=state._replace(params=short)), "params holds", "has"),
        "dtype": refused(like._replace(state=state._replace(params=narrow)), "float32", "bfloat16"),
    }
    tamper(store / str(newest), jax="0.0.1")
    found, said = heard(lambda: checkpoint.restore(store, like))
    version = not isinstance(found, ValueError) and len(said) == 1 and "0.0.1" in said[0]
    tamper(store / str(newest), format=0)
    results["version of the format"] = refused(like, "format is 0")
    missed = ", ".join(name for name, right in results.items() if not right)
    return [
        Row(
            "checkpoint of another configuration, shape, dtype or version",
            "refused, naming what differs; another jax version is one warning",
            f"{sum(results.values())} of {len(results)} refused and named{f', not {missed}' * bool(missed)}; "
            f"another jax version: {len(said)} warning",
            all(results.values()) and version,
        )
    ]


def resumes(base: Path, plan: Plan, every: bool, epochs: int = 11) -> list[Row]:
    """A save and a resume at each epoch boundary, with chunks of each length before and after."""
    built = plan.built
    member_M = population.stack(A.members(plan.arms, plan.config, built))

    def until(end: int, progress: Progress | None, chunk: int) -> Progress:
        args = built.learner, built.layout, member_M, built.split.data, end, progress, chunk
        *_, (last, _) = population.train(*args)
        return last

    whole = until(epochs, None, population.SCAN)
    lengths = range(1, population.SCAN + 1)
    cuts = [
        (cut, n) for cut in range(1, epochs) for n in lengths if every or n == 1 + 7 * cut % population.SCAN
    ]
    bits = 0
    for cut, chunk in cuts:
        store = base / "cuts" / f"{cut}-{chunk}"
        half = until(cut, None, chunk)
        checkpoint.save(store, half, {"cut": cut})
        progress = checkpoint.restore(store, half)[0]
        bits += A.differing(until(epochs, progress, chunk), whole)
    return [
        Row(
            "a resume at every epoch boundary and chunk length",
            "0 bits differ",
            f"{bits} numbers differ in {len(cuts)} resumed runs: {epochs - 1} boundaries, "
            f"{len({n for _, n in cuts})} lengths",
            bits == 0,
        )
    ]


def cost(base: Path, members: int = 62, saves: int = 5) -> list[Row]:
    """Seconds in which a save of the default run's population keeps it from training; it saves every SAVE_EVERY."""
    learner = lstm(OPTIMIZERS["keras_adam"], features=1, hidden=50)
    origin_M = population.stack([originate(learner, seed) for seed in range(members)])
    state_M = population.fetch(population.begin_all(learner, origin_M))
    seconds = []
    for clock in range(1, saves + 1):
        now_M = state_M._replace(clock=np.full_like(state_M.clock, clock))
        began = time.monotonic()
        checkpoint.save(base / "cost", now_M, {"saves": saves})
        seconds.append(time.monotonic() - began)
    median = statistics.median(seconds)
    share = 100 * median / SAVE_EVERY
    return [
        Row(
            "cost of a save in refit's default run",
            "below 1 % of the wall time",
            f"{1000 * median:.0f} ms (median of {saves}, {members} members) each {SAVE_EVERY:.0f} s: {share:.2f} %",
            share < 1,
        )
    ]
