"""Progress on disk through Orbax: one pytree and its record a step, verified when it is read.

Orbax neither checks payloads nor refuses another dtype, so the record holds, for each component, what its leaves are
and a SHA-256 of their bytes as they were in memory; `steps` adds one of every file.
"""

import contextlib
import hashlib
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding

from lstm_sched.checkpoint import steps
from lstm_sched.checkpoint.steps import CheckpointWarning, Damaged
from lstm_sched.learner import Learner
from lstm_sched.members import Member, Progress, start
from lstm_sched.state import TrainState, restart

# What a checkpoint's record says of the arrays beside it, and whether they, or a configuration, agree with
# it.


FORMAT = 1  # of the record

Leaves = Iterable[tuple[str, Any]]  # path as JAX writes it, array


def leaves(component: Any) -> list[tuple[str, Any]]:
    """The arrays of a component by their paths."""
    return [
        (jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(component)
    ]


def specification(component: Any) -> list[list[Any]]:
    """[path, dtype, shape] of every leaf."""
    return [[path, str(leaf.dtype), list(leaf.shape)] for path, leaf in leaves(component)]


def plain(leaf: Any) -> Any:
    """An array as it is stored: of a PRNG key, its data."""
    return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def plain_type(dtype: str, shape: list[int]) -> tuple[tuple[int, ...], Any]:
    """Shape and dtype as stored of an array that is specified so."""
    if not dtype.startswith("key<"):
        return tuple(shape), jnp.dtype(dtype)
    data = jax.random.key_data(jax.random.key(0))
    return (*shape, *data.shape), data.dtype


def typed(dtype: str, stored: Any) -> Any:
    """`plain` undone."""
    return jax.random.wrap_key_data(stored) if dtype.startswith("key<") else stored


def digest(component: Any) -> str:
    """SHA-256 over path and bytes of every leaf."""
    return _sha(leaves(component))


def _sha(named: Leaves) -> str:
    sha = hashlib.sha256()
    for path, leaf in named:
        sha.update(path.encode())
        sha.update(np.ascontiguousarray(plain(leaf)).tobytes())
    return sha.hexdigest()


def describe(components: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    """The record of components about to be saved."""
    return {
        "format": FORMAT,
        "jax": jax.__version__,
        "meta": meta,
        "specification": {name: specification(component) for name, component in components.items()},
        "digest": {name: digest(component) for name, component in components.items()},
    }


def check_format(record: dict[str, Any]) -> None:
    """ValueError where the record is of another version than is read here."""
    if record["format"] != FORMAT:
        raise ValueError(f"checkpoint: its format is {record['format']}; allowed: {FORMAT}")


def compare(record: dict[str, Any], components: dict[str, Any]) -> None:
    """ValueError naming the first leaf of another path, dtype or shape than was saved."""
    for name, component in components.items():
        saved, asked = record["specification"].get(name, []), specification(component)
        for old, new in zip(saved, asked, strict=False):
            if old != new:
                raise ValueError(f"checkpoint: {name} holds {old}; this configuration has {new}")
        if len(saved) != len(asked):
            raise ValueError(
                f"checkpoint: {name} holds {len(saved)} arrays; this configuration has {len(asked)}"
            )


def verify(record: dict[str, Any], components: Mapping[str, Leaves]) -> None:
    """Damaged naming the first component whose bytes are not those that were in memory when it was saved."""
    for name, named in components.items():
        if _sha(named) != record["digest"][name]:
            raise Damaged(f"{name} is not what was saved (its SHA-256 differs)")


def _components(progress: Progress) -> dict[str, Any]:
    return progress.state._asdict() | {name: getattr(progress, name) for name in ("clock", "log", "selected")}


@contextlib.contextmanager
def _orbax() -> Iterator[Any]:
    """Orbax as it is used here; its import takes long, so a run has begun before its first save waits for it."""
    from orbax.checkpoint import v1

    context = v1.Context()
    context.pytree.loading.partial_load = True
    context.array.saving.array_metadata_store = None  # it leaves a coroutine unawaited where a load fails
    with context:
        yield v1


def save(folder: str | Path, progress: Progress, meta: dict[str, Any]) -> None:
    """Write the progress (of one run or a population) as step `clock`; returns when it is on disk.

    Raises FileExistsError where that step or a later one was saved before: nothing is overwritten. After any other
    error (a full disk: OSError) the earlier steps are as they were.
    """
    components = _components(jax.tree.map(jnp.asarray, progress))
    arrays = {name + path: plain(leaf) for name, c in components.items() for path, leaf in leaves(c)}

    def fill(path: Path) -> None:
        with _orbax() as ocp:
            ocp.save(str(path.absolute()), arrays)

    steps.write(Path(folder), int(np.max(progress.clock)), fill, describe(components, meta))


def _load(path: Path, specification: dict[str, list[list[Any]]]) -> dict[str, dict[str, Any]]:
    """{name: {path: array}} as specified."""
    rows = [(name, *row) for name, rows in specification.items() for row in rows]
    here = SingleDeviceSharding(jax.devices()[0])
    asked = {
        name + leaf: jax.ShapeDtypeStruct(*plain_type(dtype, shape), sharding=here)
        for name, leaf, dtype, shape in rows
    }
    with _orbax() as ocp:
        loaded: Any = ocp.load(str(path.absolute()), asked)
    found: dict[str, dict[str, Any]] = {name: {} for name in specification}
    for name, leaf, dtype, _ in rows:
        found[name][leaf] = typed(dtype, loaded[name + leaf])
    return found


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

    def load(path: Path, record: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        check_format(record)
        compare(record, expected)
        return _verified(path, record, expected), record

    found, record = steps.newest(Path(folder), load, _blame)
    for name, component in expected.items():
        found[name] = jax.tree.unflatten(jax.tree.structure(component), found[name].values())
    state = like.state._replace(**{name: found.pop(name) for name in TrainState._fields if name in found})
    if record["jax"] != jax.__version__:
        told = f"checkpoint: {folder} was written under jax {record['jax']}, and this is {jax.__version__}"
        warnings.warn(f"{told}: what follows may differ in its last bits", CheckpointWarning, stacklevel=2)
    return like._replace(state=state, **found), record["meta"]


def read(folder: str | Path) -> dict[str, Any]:
    """Every component of the newest sound progress, whatever the configuration: {name: {path: array}}.

    Paths are written as JAX writes them, `[0].mu['bias']`. Warnings and errors as in `restore`.
    """
    return steps.newest(Path(folder), _read, _blame)


def _read(path: Path, record: dict[str, Any]) -> dict[str, Any]:
    check_format(record)
    return _verified(path, record, record["specification"])


def _verified(path: Path, record: dict[str, Any], names: Iterable[str]) -> dict[str, dict[str, Any]]:
    found = _load(path, {name: record["specification"][name] for name in names})
    verify(record, {name: leaves.items() for name, leaves in found.items()})
    return found


def _blame(path: Path, record: dict[str, Any], wrong: str) -> str:
    """The components that are not what was saved, where a file that holds values is `wrong`."""
    if "/d/" not in wrong:
        return ""
    found = [name for name, rows in record["specification"].items() if not _sound(path, record, name, rows)]
    return f": {', '.join(found) or 'no component'}"


def _sound(path: Path, record: dict[str, Any], name: str, rows: list[Any]) -> bool:
    try:  # one by one: of several loads that fail together, Orbax leaves all but the first to complain by themselves
        leaves = [pair for row in rows for pair in _load(path, {name: [row]})[name].items()]
        verify(record, {name: leaves})
    except Exception:  # whatever Orbax makes of damage
        return False
    return True


def resume(folder: str | Path, learner: Learner, member: Member) -> Progress:
    """A run continued from disk under its member's policy: a boundary whose old state is the saved one.

    Only components of which the policy keeps something are read.
    """
    kept = [name for name, f in member.policy._asdict().items() if any(x > 0 for x in jax.tree.leaves(f))]
    progress, _ = restore(folder, start(learner, member.origin), kept)
    state = restart(learner, member.policy, member.origin, progress.state, progress.clock)
    return progress._replace(state=state)
