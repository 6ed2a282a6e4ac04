"""Faults of the files of a checkpoint: damaged, or not this run's."""

import hashlib
import json
import random
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.faults import victim
from experiments.faults.processes import Row
from experiments.harness import arms
from experiments.harness.plan import Plan
from lstm_sched import checkpoint
from lstm_sched.checkpoint import steps
from lstm_sched.members import Progress

Told = tuple[Any, list[str]]


def heard(f: Callable[[], Any]) -> Told:
    """The result of a call, or the ValueError that it raises, and the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = f()
        except ValueError as error:
            found = error
    return found, [str(warned.message) for warned in caught]


def files(step: Path) -> list[Path]:
    """The files of a step that can be damaged: all that are not empty."""
    return sorted(path for path in step.rglob("*") if path.is_file() and path.stat().st_size)


def flip(file: Path, bit: int) -> None:
    """Flip one bit of a file."""
    data = bytearray(file.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)


def tamper(step: Path, **facts: Any) -> None:
    """Change a step's record and seal it again, so that it does not count as damaged."""
    path = step / steps.RECORD
    record = json.loads(path.read_text())["record"] | facts
    path.write_text(json.dumps({"sha256": steps.seal(record), "record": record}))


def damage(base: Path, whole: Path, plan: Plan, count: int, seed: int = 0) -> list[Row]:
    """Flip bits of the newest step, cut and delete each of its files, and then damage both steps."""
    store, like, rng = base / "damaged", victim.begin(plan), random.Random(seed)
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
        wrong += isinstance(found, ValueError) or arms.differing(found[0], want) > 0
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
    """Read a checkpoint as another configuration, shape, dtype or format, and one of another JAX version."""
    like, store = victim.begin(plan), base / "other"
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
