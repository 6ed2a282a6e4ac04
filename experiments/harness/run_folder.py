"""The files of a run's folder; only this module writes them.

config.json    the whole configuration, what was decided before the first step, and the command
env.json       versions, devices, flags, state of the source
status.json    running, interrupted, failed or finished; seconds spent on what
measured.jsonl one line per measurement so far, in experiments that measure one value after another
metrics.jsonl  one row per epoch of each training: the raw curves
results.csv    one row per training: the losses that are compared
effects.csv    one row per arm and metric: the conclusions
table.md       the same in words; figure.svg and figure.png are next to it
report.html    all of it as one page that needs no network
tuning/        how each arm's best rate was found, and best_rate/ the comparison at it, where that was asked for
checkpoint/    what --resume continues from
resumed.jsonl  one row per resumption: from which epoch, under which versions, and what was printed
lock.part      the process that works in the folder, if any
"""

import contextlib
import csv
import dataclasses
import hashlib
import json
import math
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = ("lstm_sched", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy")
CURVES = ("loss", "val", "rate", "boundary", "trained")


def new_folder(out: str | None, experiment: str) -> Path:
    """Make a folder, or take an empty one; ValueError if it holds anything."""
    if out is None:
        stem = Path("runs") / experiment / datetime.now().strftime("%Y-%m-%dT%H-%M-%S")
        names = (
            stem.with_name(f"{stem.name}{suffix}") for suffix in ("", *(f"-{i}" for i in range(2, 1000)))
        )
        for folder in names:
            with contextlib.suppress(FileExistsError):  # another run made it in the same second
                folder.mkdir(parents=True)
                return folder
    folder = Path(str(out))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"out: {folder} is in use; allowed: a new or empty folder (or --resume {folder})")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def safe_names(names: Sequence[str]) -> list[str]:
    """Unique folder names that lead nowhere else: letters, digits, dot, dash and underscore."""
    safe: list[str] = []
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip(".") or "series"
        safe.append(plain if plain not in safe else f"{plain}-{len(safe)}")
    return safe


def write_text(path: Path, text: str) -> None:
    """Write the text atomically."""
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8", newline="\n")
    part.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write the value as JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def digest(value: Any) -> str:
    """A hash of the value, in twelve hexadecimal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def command(experiment: str) -> str:
    """The command line as the user typed it, quoted for a shell."""
    return shlex.join(["python", "-m", f"experiments.{experiment}", *sys.argv[1:]])


def environment() -> dict[str, Any]:
    """Versions, devices, flags and the state of the source."""
    import jax  # --help must not wait for it

    from experiments.harness import compile_cache

    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "processor": compile_cache.processor(),
        "cores": os.cpu_count(),
        "devices": [str(device.device_kind) for device in jax.devices()],
        "flags": {name: os.environ[name] for name in sorted(os.environ) if name.startswith(("JAX_", "XLA_"))},
        "x64": jax.config.read("jax_enable_x64"),
        "git": {"commit": _git("rev-parse", "HEAD"), "changed": bool(_git("status", "--porcelain"))},
    }


def _version(package: str) -> str | None:
    """The version of an installed package; None if it runs from a folder that was never installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git(*words: str) -> str | None:
    """The output of a git command on the source; None if the source is no checkout."""
    try:
        done = subprocess.run(
            ["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def decisions(experiment: str, config: Any, command: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The contents of config.json: experiment, command, configuration (a dataclass), and further facts."""
    asked = {"experiment": experiment, "command": command, "config": dataclasses.asdict(config)}
    return asked | dict(facts)


def config_of(config: type, fields: dict[str, Any]) -> Any:
    """A configuration from its JSON, with tuples for lists. ValueError if another version wrote it."""
    known = {f.name: f.default for f in dataclasses.fields(config)}
    if set(fields) != set(known):
        raise ValueError(
            f"config: fields {sorted(set(fields) ^ set(known))} differ; this version has {sorted(known)}"
        )
    nested = {name: type(value) for name, value in known.items() if dataclasses.is_dataclass(value)}
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    return config(**values | {name: config_of(kind, fields[name]) for name, kind in nested.items()})


def append_line(path: Path, line: str) -> None:
    """Append a line and flush it to disk; a truncated line before it is dropped."""
    if path.exists() and not path.read_bytes().endswith(b"\n"):
        whole = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)[:-1]
        write_text(path, "".join(whole))
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: Path) -> list[Any]:
    """The JSON of every complete line; empty if there is no file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.endswith("\n")]


def read_status(folder: Path) -> dict[str, Any]:
    """The contents of status.json; empty if there is none."""
    path = folder / "status.json"
    return read_json(path) if path.exists() else {}


def write_status(folder: Path, state: str, **facts: Any) -> None:
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    write_json(folder / "status.json", {"state": state, "updated": now, **facts})


def note_status(folder: Path, state: str, **facts: Any) -> None:
    """Write a new state and these facts to status.json; its other entries stay."""
    known = {name: value for name, value in read_status(folder).items() if name not in ("state", "updated")}
    write_status(folder, state, **known | facts)


def append_resumed(folder: Path, epoch: int, told: list[str]) -> None:
    """Record that a run was resumed, under which versions, and the messages that its user saw."""
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    row = {"at": now, "epoch": epoch, "told": told, "packages": {name: _version(name) for name in PACKAGES}}
    with (folder / "resumed.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def append_metrics(folder: Path, labels: Sequence[tuple[str, int]], clock: int, log_M: Any) -> None:
    """Append rows for the epochs after `clock`, from a Log of [M, n]; non-finite values become null."""
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
        for e in range(log_M.loss.shape[1]):
            for m, (arm, seed) in enumerate(labels):
                row: dict[str, Any] = {"arm": arm, "seed": seed, "epoch": clock + e + 1}
                for name in CURVES:
                    value = getattr(log_M, name)[m, e].item()
                    row[name] = value if math.isfinite(value) else None
                file.write(json.dumps(row) + "\n")


def cut_metrics(folder: Path, clock: int) -> None:
    """Delete the rows of epochs after the checkpoint, since these epochs are run again."""
    path = folder / "metrics.jsonl"
    part = path.with_suffix(".part")
    with path.open(encoding="utf-8") as rows, part.open("w", encoding="utf-8") as kept:
        for row in rows:
            if row.endswith("\n") and json.loads(row)["epoch"] <= clock:
                kept.write(row)
    part.replace(path)


def read_curves(
    folder: Path, labels: Sequence[tuple[str, int]], epochs: int, first: int = 0
) -> dict[str, np.ndarray]:
    """Each of CURVES as [M, E] from metrics.jsonl, of the epochs after `first`; NaN where it was not finite.

    ValueError where a row is missing.
    """
    place = {label: m for m, label in enumerate(labels)}
    curves = {name: np.full((len(labels), epochs - first), np.nan) for name in CURVES}
    seen = np.zeros((len(labels), epochs - first), bool)
    with (folder / "metrics.jsonl").open(encoding="utf-8") as rows:
        for line in rows:
            row = json.loads(line)
            at = place[row["arm"], row["seed"]], row["epoch"] - 1 - first
            seen[at] = True
            for name in CURVES:
                curves[name][at] = np.nan if row[name] is None else row[name]
    if not seen.all():
        raise ValueError(f"{folder / 'metrics.jsonl'}: {np.sum(~seen)} rows are missing")
    return curves


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a CSV file atomically, with the columns of the first row; without rows it is empty."""
    rows = list(rows)
    part = path.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    part.replace(path)
