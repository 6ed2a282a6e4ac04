"""Progress on disk through Orbax: one pytree and its JSON record a step, verified when it is read.

Orbax neither checks payloads nor refuses another dtype, so the record holds, for each component, what its leaves are
and a SHA-256 of their bytes.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding
from orbax.checkpoint import v1 as ocp

from lstm_sched.learner import Learner
from lstm_sched.member import Member, Progress, start
from lstm_sched.paths import words
from lstm_sched.state import TrainState, restart

KEPT = 2  # newest steps that stay on disk


def _components(progress: Progress) -> dict[str, Any]:
    return progress.state._asdict() | {name: getattr(progress, name) for name in ("clock", "log", "selected")}


def _leaves(component: Any) -> list[tuple[str, Any]]:
    return [
        (jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(component)
    ]


def specification(component: Any) -> list[list[Any]]:
    """[path, dtype, shape] of every leaf."""
    return [[path, str(leaf.dtype), list(leaf.shape)] for path, leaf in _leaves(component)]


def digest(component: Any) -> str:
    """SHA-256 over path and bytes of every leaf."""
    return _sha(_leaves(component))


def _sha(leaves: Iterable[tuple[str, Any]]) -> str:
    sha = hashlib.sha256()
    for path, leaf in leaves:
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        sha.update(path.encode())
        sha.update(np.ascontiguousarray(jax.random.key_data(leaf) if is_key else leaf).tobytes())
    return sha.hexdigest()


def _open(folder: Path, writing: bool = False) -> ocp.training.Checkpointer:
    context = ocp.Context()
    context.pytree.loading.partial_load = True
    return ocp.training.Checkpointer(
        str(folder.absolute()),
        context=context,
        # Orbax's own policy does not match the protocol that it declares
        preservation_policy=ocp.training.preservation_policies.LatestN(KEPT) if writing else None,  # pyright: ignore[reportArgumentType]
        cleanup_tmp_directories=writing,  # what a killed process left half written
    )


def save(folder: str | Path, progress: Progress, meta: dict[str, Any]) -> None:
    """Write the progress (of one run or a population) as step `clock`; returns when it is on disk.

    Raises FileExistsError where that step was saved before: nothing is overwritten.
    """
    step = int(np.max(progress.clock))
    tree = jax.tree.map(jnp.asarray, progress)
    record = {
        "meta": meta,
        "specification": {name: specification(c) for name, c in _components(tree).items()},
        "digest": {name: digest(c) for name, c in _components(tree).items()},
    }
    with _open(Path(folder), writing=True) as checkpointer:
        if any(c.step == step for c in checkpointer.checkpoints):
            raise FileExistsError(f"checkpoint: step {step} is already saved in {folder}")
        if not checkpointer.save(step, tree, force=True, custom_metadata=record):
            raise OSError(f"checkpoint: step {step} was not saved in {folder}")


def latest(folder: str | Path) -> int | None:
    """The newest saved step, or None."""
    if not Path(folder).is_dir():
        return None
    with _open(Path(folder)) as checkpointer:
        return checkpointer.latest.step if checkpointer.latest else None


def restore(
    folder: str | Path, like: Progress, components: Iterable[str] = TrainState._fields
) -> tuple[Progress, dict[str, Any]]:
    """The newest saved progress and its meta. Parts of the state that are not asked for are `like`'s.

    Raises FileNotFoundError where there is none, and ValueError naming the component whose leaves are of another
    path, dtype or shape than those of `like`, or whose bytes are not those that were saved.
    """
    if latest(folder) is None:
        raise FileNotFoundError(f"checkpoint: none in {folder}")
    wanted = {*components, "clock", "log", "selected"}
    expected = {name: c for name, c in _components(like).items() if name in wanted}
    with _open(Path(folder)) as checkpointer:
        record: Any = checkpointer.metadata().custom_metadata
        for name, component in expected.items():
            _compare(name, record["specification"][name], specification(component))
        here = SingleDeviceSharding(jax.devices()[0])
        abstract = {
            name: jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), component)
            for name, component in expected.items()
        }
        state = {name: abstract.pop(name) for name in TrainState._fields if name in abstract}
        asked = abstract | ({"state": state} if state else {})  # Orbax takes no empty part
        loaded: Any = checkpointer.load(None, asked)
    read = loaded.pop("state", {})
    progress = like._replace(state=like.state._replace(**read), **loaded)
    for name, component in _components(progress).items():
        if name in wanted and digest(component) != record["digest"][name]:
            raise ValueError(f"checkpoint: {name} in {folder} is damaged (its SHA-256 differs)")
    return progress, record["meta"]


def read(folder: str | Path) -> dict[str, Any]:
    """Every component of the newest saved progress, whatever the configuration: {name: {path: array}}.

    Paths are written as JAX writes them, `[0].mu['bias']`. Raises FileNotFoundError where there is none, and
    ValueError naming a component whose bytes are not those that were saved.
    """
    if latest(folder) is None:
        raise FileNotFoundError(f"checkpoint: none in {folder}")
    with _open(Path(folder)) as checkpointer:
        metadata: Any = checkpointer.metadata()
        record = metadata.custom_metadata
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

        abstract = jax.tree_util.tree_map_with_path(like, dict(metadata.metadata))
        loaded: Any = checkpointer.load(None, abstract)
    found = {_place(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(loaded)}
    components: dict[str, Any] = {name: {} for name in record["specification"]}
    for place, (name, path, _) in rows.items():
        components[name][path] = found[place]
    for name, leaves in components.items():
        if _sha(leaves.items()) != record["digest"][name]:
            raise ValueError(f"checkpoint: {name} in {folder} is damaged (its SHA-256 differs)")
    return components


def _place(path: tuple) -> tuple[str, ...]:
    """A leaf's path as Orbax has it, which nests the state and knows only names."""
    found = words(jax.tree_util.keystr(path))
    return found[1:] if found[0] == "state" else found


def _compare(name: str, saved: list[list[Any]], asked: list[list[Any]]) -> None:
    for old, new in zip(saved, asked, strict=False):
        if list(old) != new:
            raise ValueError(f"checkpoint: {name} holds {old}; this configuration has {new}")
    if len(saved) != len(asked):
        raise ValueError(f"checkpoint: {name} holds {len(saved)} arrays; this configuration has {len(asked)}")


def resume(folder: str | Path, learner: Learner, member: Member) -> Progress:
    """A run continued from disk under its member's policy: a boundary whose old state is the saved one.

    Only components of which the policy keeps something are read.
    """
    kept = [name for name, f in member.policy._asdict().items() if any(x > 0 for x in jax.tree.leaves(f))]
    progress, _ = restore(folder, start(learner, member.origin), kept)
    state = restart(learner, member.policy, member.origin, progress.state, progress.clock)
    return progress._replace(state=state)
