"""Progress on disk through Orbax: one pytree and its record a step, verified when it is read.

Orbax neither checks payloads nor refuses another dtype, so the record holds, for each component, what its leaves are
and a SHA-256 of their bytes as they were in memory; `steps` adds one of every file. An array is a file of its own, so
that damage has a name.
"""

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding
from orbax.checkpoint import v1 as ocp

from lstm_sched import contents, steps
from lstm_sched.learner import Learner
from lstm_sched.member import Member, Progress, start
from lstm_sched.paths import words
from lstm_sched.state import TrainState, restart
from lstm_sched.steps import CheckpointWarning


def _components(progress: Progress) -> dict[str, Any]:
    return progress.state._asdict() | {name: getattr(progress, name) for name in ("clock", "log", "selected")}


@contextmanager
def _orbax() -> Iterator[None]:
    context = ocp.Context()
    context.array.saving.use_ocdbt = False  # which would put all arrays into one file
    context.pytree.loading.partial_load = True
    absl = logging.getLogger("absl")
    absl.addFilter(_error)
    try:
        with context:
            yield
    finally:
        absl.removeFilter(_error)


def _error(row: logging.LogRecord) -> bool:
    """Orbax warns, at every save and load, of arrays that are files of their own."""
    return row.levelno > logging.WARNING


def save(folder: str | Path, progress: Progress, meta: dict[str, Any]) -> None:
    """Write the progress (of one run or a population) as step `clock`; returns when it is on disk.

    Raises FileExistsError where that step or a later one was saved before: nothing is overwritten; and ValueError
    where the name of an array cannot be that of a file. After any other error (a full disk: OSError) the earlier
    steps are as they were.
    """
    tree = jax.tree.map(jnp.asarray, progress)

    def fill(path: Path) -> None:
        with _orbax():
            ocp.save(str(path.absolute()), tree)

    facts = contents.describe(_components(tree), meta)
    steps.write(Path(folder), int(np.max(progress.clock)), fill, facts)


def latest(folder: str | Path) -> int | None:
    """The newest saved step, or None."""
    return max(steps.steps(Path(folder)), default=None)


def set_aside(folder: str | Path, progress: Progress) -> list[Path]:
    """Rename the steps after `progress`, which `restore` has walked over; `save` then goes on from there."""
    return steps.set_aside(Path(folder), int(np.max(progress.clock)))


def restore(
    folder: str | Path, like: Progress, components: Iterable[str] = TrainState._fields
) -> tuple[Progress, dict[str, Any]]:
    """The newest sound progress and its meta. Parts of the state that are not asked for are `like`'s.

    A damaged step is walked over with a CheckpointWarning that names it and what is damaged; another version of JAX
    is one, too. Raises FileNotFoundError where there is no step, Damaged (a ValueError) with each one's reason where
    all are, and ValueError, walking no further, naming the component whose leaves are of another path, dtype or
    shape than those of `like`.
    """
    wanted = {*components, "clock", "log", "selected"}
    expected = {name: c for name, c in _components(like).items() if name in wanted}
    here = SingleDeviceSharding(jax.devices()[0])
    abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), expected)
    state = {name: abstract.pop(name) for name in TrainState._fields if name in abstract}
    asked = abstract | ({"state": state} if state else {})  # Orbax takes no empty part

    def load(path: Path, record: dict[str, Any]) -> tuple[Progress, dict[str, Any]]:
        contents.check_format(record)
        contents.compare(record, expected)
        with _orbax():
            loaded: Any = ocp.load(str(path.absolute()), asked)
        read = loaded.pop("state", {})
        progress = like._replace(state=like.state._replace(**read), **loaded)
        found = {name: contents.leaves(c) for name, c in _components(progress).items() if name in wanted}
        contents.verify(record, found)
        return progress, record

    progress, record = steps.newest(Path(folder), load)
    if record["jax"] != jax.__version__:
        told = f"checkpoint: {folder} was written under jax {record['jax']}, and this is {jax.__version__}"
        warnings.warn(f"{told}: what follows may differ in its last bits", CheckpointWarning, stacklevel=2)
    return progress, record["meta"]


def read(folder: str | Path) -> dict[str, Any]:
    """Every component of the newest sound progress, whatever the configuration: {name: {path: array}}.

    Paths are written as JAX writes them, `[0].mu['bias']`. Warnings and errors as in `restore`.
    """
    return steps.newest(Path(folder), _read)


def _read(path: Path, record: dict[str, Any]) -> dict[str, Any]:
    contents.check_format(record)
    rows: dict[tuple[str, ...], tuple[str, str, str]] = {
        (name, *words(path)): (name, path, dtype)
        for name, leaves in record["specification"].items()
        for path, dtype, _ in leaves
    }
    here = SingleDeviceSharding(jax.devices()[0])

    def like(path: tuple, leaf: Any) -> jax.ShapeDtypeStruct:
        dtype = rows[_place(path)][2]
        if not dtype.startswith("key<"):
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here)
        # Orbax tells the shape of a key's data, whose last axis is the key's own
        return jax.ShapeDtypeStruct(leaf.shape[:-1], jax.random.key(0).dtype, sharding=here)

    with _orbax():
        stored: Any = ocp.metadata(str(path.absolute())).metadata
        loaded: Any = ocp.load(str(path.absolute()), jax.tree_util.tree_map_with_path(like, dict(stored)))
    found = {_place(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(loaded)}
    components: dict[str, Any] = {name: {} for name in record["specification"]}
    for place, (name, leaf, _) in rows.items():
        components[name][leaf] = found[place]
    contents.verify(record, {name: leaves.items() for name, leaves in components.items()})
    return components


def _place(path: tuple) -> tuple[str, ...]:
    """A leaf's path as Orbax has it, which nests the state and knows only names."""
    found = words(jax.tree_util.keystr(path))
    return found[1:] if found[0] == "state" else found


def resume(folder: str | Path, learner: Learner, member: Member) -> Progress:
    """A run continued from disk under its member's policy: a boundary whose old state is the saved one.

    Only components of which the policy keeps something are read.
    """
    kept = [name for name, f in member.policy._asdict().items() if any(x > 0 for x in jax.tree.leaves(f))]
    progress, _ = restore(folder, start(learner, member.origin), kept)
    state = restart(learner, member.policy, member.origin, progress.state, progress.clock)
    return progress._replace(state=state)
