"""The progress of a run on disk: saved through Orbax, verified when it is read, restored under a restart policy.

Checkpoints are written atomically, with checksums, and only the newest two are kept. A damaged one is skipped
with a warning, and the one before it is read.
"""

import contextlib
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding

from lstm_sched.checkpoint import steps
from lstm_sched.checkpoint.arrays import (
    check_format,
    compare,
    describe,
    leaves,
    plain,
    plain_type,
    typed,
    verify,
)
from lstm_sched.checkpoint.steps import CheckpointWarning
from lstm_sched.learner import Learner
from lstm_sched.members import Member, Progress, start
from lstm_sched.state import TrainState, restart


def _components(progress: Progress) -> dict[str, Any]:
    return progress.state._asdict() | {name: getattr(progress, name) for name in ("clock", "log", "selected")}


@contextlib.contextmanager
def _orbax() -> Iterator[Any]:
    """Orbax with the settings used here. Its import is slow, so it waits for the first use."""
    from orbax.checkpoint import v1

    context = v1.Context()
    context.pytree.loading.partial_load = True
    context.array.saving.array_metadata_store = None  # otherwise a failed load leaves a coroutine unawaited
    with context:
        yield v1


def save(folder: str | Path, progress: Progress, meta: dict[str, Any] | None = None) -> None:
    """Save the progress of a run or a population, and return when it is on disk.

    Only the last two steps are kept: older ones are deleted once the new one is whole.

    Args:
        folder: the folder of this run; it is made if it does not exist.
        progress: the progress from `run` or `train`. It is saved as step number `progress.clock`, in epochs.
        meta: values that JSON can hold, for example the configuration; `restore` returns them.

    Raises:
        FileExistsError: that step or a later one was saved before; nothing is overwritten.
        OSError: the disk is full, for example. Earlier steps stay as they were.
    """
    components = _components(jax.tree.map(jnp.asarray, progress))
    arrays = {name + path: plain(leaf) for name, c in components.items() for path, leaf in leaves(c)}

    def fill(path: Path) -> None:
        with _orbax() as ocp:
            ocp.save(str(path.absolute()), arrays)

    steps.write(Path(folder), int(np.max(progress.clock)), fill, describe(components, meta or {}))


def _load(path: Path, specification: dict[str, list[list[Any]]]) -> dict[str, dict[str, Any]]:
    """Load the specified leaves as {component: {path: array}}."""
    rows = [(name, *row) for name, rows in specification.items() for row in rows]
    here = SingleDeviceSharding(jax.devices()[0])
    types = {
        name + leaf: jax.ShapeDtypeStruct(*plain_type(dtype, shape), sharding=here)
        for name, leaf, dtype, shape in rows
    }
    with _orbax() as ocp:
        loaded: Any = ocp.load(str(path.absolute()), types)
    arrays: dict[str, dict[str, Any]] = {name: {} for name in specification}
    for name, leaf, dtype, _ in rows:
        arrays[name][leaf] = typed(dtype, loaded[name + leaf])
    return arrays


def latest(folder: str | Path) -> int | None:
    """The number of the newest saved step, or None where there is none."""
    return max(steps.steps(Path(folder)), default=None)


def set_aside(folder: str | Path, progress: Progress) -> list[Path]:
    """Move away the damaged steps that `restore` has skipped, so that `save` can go on from `progress`.

    Args:
        folder: the folder of the run.
        progress: the progress from `restore`; steps after its clock are renamed to `damaged-…`.

    Returns:
        The new paths.
    """
    return steps.set_aside(Path(folder), int(np.max(progress.clock)))


def restore(
    folder: str | Path, like: Progress, components: Iterable[str] = TrainState._fields
) -> tuple[Progress, dict[str, Any]]:
    """Read the newest checkpoint that is not damaged.

    A CheckpointWarning names each damaged step with its damage, and another names a different version of JAX.

    Args:
        folder: the folder of the run.
        like: a progress of the same configuration, for example `start(learner, origin)`.
        components: the components of the state to read. The others are taken from `like`.

    Returns:
        The progress, and the meta that was saved with it.

    Raises:
        FileNotFoundError: there is no step.
        ValueError: all steps are damaged (as `Damaged`, with the reason for each); or the leaves of a
            component, which the message names, differ from those of `like` in path, dtype or shape.
    """
    wanted = {*components, "clock", "log", "selected"}
    expected = {name: c for name, c in _components(like).items() if name in wanted}

    def load(path: Path, record: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        check_format(record)
        compare(record, expected)
        return _verified(path, record, expected), record

    loaded, record = steps.newest(Path(folder), load, _damaged_components)
    for name, component in expected.items():
        loaded[name] = jax.tree.unflatten(jax.tree.structure(component), loaded[name].values())
    state = like.state._replace(**{name: loaded.pop(name) for name in TrainState._fields if name in loaded})
    if record["jax"] != jax.__version__:
        versions = f"was written under jax {record['jax']}, and this is {jax.__version__}"
        message = f"checkpoint: {folder} {versions}: what follows may differ in its last bits"
        warnings.warn(message, CheckpointWarning, stacklevel=2)
    return like._replace(state=state, **loaded), record["meta"]


def read(folder: str | Path) -> dict[str, Any]:
    """Read the arrays of the newest checkpoint that is not damaged, whatever its configuration.

    Args:
        folder: the folder of the run.

    Returns:
        {component: {path: array}}, with paths as JAX writes them, for example `[0].mu['bias']`.

    Raises:
        FileNotFoundError, ValueError: as in `restore`, which also lists the warnings.
    """
    return steps.newest(Path(folder), _read, _damaged_components)


def _read(path: Path, record: dict[str, Any]) -> dict[str, Any]:
    check_format(record)
    return _verified(path, record, record["specification"])


def _verified(path: Path, record: dict[str, Any], names: Iterable[str]) -> dict[str, dict[str, Any]]:
    loaded = _load(path, {name: record["specification"][name] for name in names})
    verify(record, {name: arrays.items() for name, arrays in loaded.items()})
    return loaded


def _damaged_components(path: Path, record: dict[str, Any], damage: str) -> str:
    """List the damaged components, if the damage is in a file that holds values."""
    if "/d/" not in damage:
        return ""
    names = [name for name, rows in record["specification"].items() if not _sound(path, record, name, rows)]
    return f": {', '.join(names) or 'no component'}"


def _sound(path: Path, record: dict[str, Any], name: str, rows: list[Any]) -> bool:
    try:  # leaf by leaf: when several loads fail together, Orbax prints the errors of all but the first
        arrays = [pair for row in rows for pair in _load(path, {name: [row]})[name].items()]
        verify(record, {name: arrays})
    except Exception:  # whatever Orbax raises for damage
        return False
    return True


def resume(folder: str | Path, learner: Learner, member: Member) -> Progress:
    """Continue a run from disk under its member's policy: a boundary whose old state is the saved one.

    Components that the policy drops entirely are not read.

    Args:
        folder: the folder of the run.
        learner: what is trained.
        member: the training to continue, with its policy.

    Returns:
        The progress after the boundary.

    Raises:
        FileNotFoundError, ValueError: as in `restore`.
    """
    kept = [name for name, f in member.policy._asdict().items() if any(x > 0 for x in jax.tree.leaves(f))]
    progress, _ = restore(folder, start(learner, member.origin), kept)
    state = restart(learner, member.policy, member.origin, progress.state, progress.clock)
    return progress._replace(state=state)
