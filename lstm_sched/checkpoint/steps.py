"""Numbered steps in a folder. A step is written whole or not at all, and read only if every byte is intact.

4/record.json   the contents of step 4, and the size and SHA-256 of each of its other files
4/…             those files
saving-…        a step half written or half deleted: it is ignored, and the next save deletes it
damaged-4       a damaged step, moved away when the run continued from an older one
"""

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

KEPT = 2  # steps that stay on disk: the newest, and one in case it is damaged
RECORD = "record.json"
LARGEST = 2**26  # at most this many bytes of a record are read
UNFINISHED = "saving-"
ASIDE = "damaged-"

T = TypeVar("T")


class Damaged(ValueError):
    """A step differs from the one that was saved; the message says how."""


class CheckpointWarning(UserWarning):
    """The step that was read is intact, but not the newest, or written by another version of JAX."""


def steps(folder: Path) -> list[int]:
    """The numbers of the steps on disk, oldest first, including damaged ones."""
    paths = folder.iterdir() if folder.is_dir() else ()
    return sorted(int(path.name) for path in paths if path.name.isdecimal() and path.name.isascii())


def write(folder: Path, step: int, fill: Callable[[Path], None], facts: dict[str, Any]) -> None:
    """Let `fill` write a new folder, seal it together with `facts`, and make it the newest step.

    Raises FileExistsError if that step or a later one exists: nothing is overwritten. Whatever goes wrong,
    earlier steps stay as they are; old ones are deleted only when the new one is complete.
    """
    later = [old for old in steps(folder) if old >= step]
    if later:
        raise FileExistsError(f"checkpoint: step {later[0]} is already saved in {folder}; step {step} is not")
    folder.mkdir(parents=True, exist_ok=True)
    _clear(folder)
    part = folder / f"{UNFINISHED}{step}"
    try:
        fill(part)
        record = json.loads(json.dumps(facts | {"files": _files(part)}))
        with (part / RECORD).open("x", encoding="utf-8") as file:
            json.dump({"sha256": seal(record), "record": record}, file)
            file.flush()
            os.fsync(file.fileno())
        part.rename(folder / str(step))
    except BaseException:
        _clear(folder)  # a full disk needs the space
        raise
    _sync(folder)
    for old in steps(folder)[:-KEPT]:
        (folder / str(old)).rename(folder / f"{UNFINISHED}{old}")
    _clear(folder)


def newest(
    folder: Path,
    load: Callable[[Path, dict[str, Any]], T],
    detail: Callable[[Path, dict[str, Any], str], str],
) -> T:
    """Return `load(folder of the step, its record)` for the newest step that is not damaged.

    One warning names the damaged steps that were skipped; `detail` may add to the description of a damage.
    Raises FileNotFoundError if there is no step, Damaged if all are damaged, and whatever `load` raises.
    """
    reasons: list[str] = []
    for step in reversed(steps(folder)):
        path = folder / str(step)
        try:
            record = _record(path)
            damage = _damage(path, record["files"])
            if damage:
                raise Damaged(f"{damage}{detail(path, record, damage)}")
            loaded = load(path, record)
        except Damaged as error:
            reasons.append(f"step {step}: {error}")
            continue
        if reasons:
            message = f"checkpoint: damaged in {folder}: {'; '.join(reasons)}. Step {step} is read instead"
            warnings.warn(message, CheckpointWarning, stacklevel=3)
        return loaded
    if not reasons:
        raise FileNotFoundError(f"checkpoint: none in {folder}")
    raise Damaged(f"checkpoint: every step in {folder} is damaged: {'; '.join(reasons)}")


def set_aside(folder: Path, step: int) -> list[Path]:
    """Rename the damaged steps after `step`, so that a run can continue from it and save again."""
    moved = []
    for later in (s for s in steps(folder) if s > step):
        names = (f"{ASIDE}{later}{suffix}" for suffix in ("", *(f"-{i}" for i in range(2, 1000))))
        moved.append(next(folder / name for name in names if not (folder / name).exists()))
        (folder / str(later)).rename(moved[-1])
    return moved


def _record(path: Path) -> dict[str, Any]:
    try:
        with (path / RECORD).open("rb") as file:
            stored = json.loads(file.read(LARGEST))
        record, sealed = stored["record"], stored["sha256"]
    except FileNotFoundError:
        raise Damaged(f"{RECORD} is missing") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Damaged(f"{RECORD} cannot be read") from None
    if sealed != seal(record) or "files" not in record:
        raise Damaged(f"{RECORD} is not as it was written")
    return record


def _damage(path: Path, written: dict[str, list[Any]]) -> str:
    """Describe the first file that is not as it was written; "" if there is none."""
    sizes = {_name(path, file): file.stat().st_size for file in _paths(path)}
    for name in sorted(written.keys() | sizes.keys()):
        if name not in sizes:
            return f"{name} is missing"
        if name not in written:
            return f"{name} was not written by the save"
        size, sha = written[name]
        if sizes[name] != size:
            return f"{name} has {sizes[name]} bytes, not {size}"
        if _sha(path / name) != sha:
            return f"{name} is not as it was written (its SHA-256 differs)"
    return ""


def _paths(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if file.is_file() and file != path / RECORD]


def _files(path: Path) -> dict[str, list[Any]]:
    return {_name(path, file): [file.stat().st_size, _sha(file)] for file in _paths(path)}


def _name(path: Path, file: Path) -> str:
    return file.relative_to(path).as_posix()


def _sha(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(record: Any) -> str:
    """SHA-256 of a record, as JSON."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _clear(folder: Path) -> None:
    for path in folder.glob(f"{UNFINISHED}*"):
        shutil.rmtree(path, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Wait until the names in the folder are on the disk, too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
