"""Compiled programs kept from run to run, so that a second start does not wait for the compiler.

They lie in the user's cache folder (on Linux $XDG_CACHE_HOME or ~/.cache, then lstm_sched/jax), each kind of machine
and version of jaxlib in a folder of its own: a program made for one processor may end a process on another.
LSTM_SCHED_CACHE=FOLDER puts them elsewhere, LSTM_SCHED_CACHE=off compiles anew. What JAX was told itself
(JAX_COMPILATION_CACHE_DIR) stands. A program read back is the one that was written, so no bit of a result depends on
it; one that cannot be read is compiled again. The folder may be deleted at any time.
"""

import hashlib
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

import jax
import jaxlib.version

SWITCH, OFF = "LSTM_SCHED_CACHE", "off"
# Seconds of compilation that are worth a file: the many small programs take as long as the one large.
LEAST = 0.0


def folder(environment: Mapping[str, str], system: str = sys.platform) -> Path | None:
    """Where compiled programs are kept; None where they are not. ValueError where the switch is no absolute path."""
    told = environment.get(SWITCH, "")
    if told == OFF:
        return None
    if told and not Path(told).is_absolute():
        raise ValueError(f"{SWITCH}: {told!r}; allowed: {OFF}, or a folder's absolute path")
    return (Path(told) if told else _user(environment, system) / "lstm_sched" / "jax") / _machine()


def _user(environment: Mapping[str, str], system: str) -> Path:
    """The platform's folder for what can be made again."""
    home = Path(environment.get("HOME") or Path.home())
    if system == "darwin":
        return home / "Library" / "Caches"
    if system == "win32":
        return Path(environment.get("LOCALAPPDATA") or home / "AppData" / "Local")
    xdg = environment.get("XDG_CACHE_HOME", "")
    return Path(xdg) if Path(xdg).is_absolute() else home / ".cache"  # a relative one is to be ignored


def _machine() -> str:
    """The version of jaxlib, and a digest of what the processor can do."""
    lines = _told()
    can = sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))})
    words = "\n".join([platform.machine(), platform.processor(), *can])
    return f"{jaxlib.version.__version__}-{hashlib.sha256(words.encode()).hexdigest()[:12]}"


def processor() -> str:
    """Its model, as far as the system says: what was compiled for another one may round otherwise."""
    models = [line.partition(":")[2].strip() for line in _told() if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _told() -> list[str]:
    told = Path("/proc/cpuinfo")
    return told.read_text(encoding="utf-8", errors="replace").splitlines() if told.exists() else []


def use() -> None:
    """Keep what this process compiles from now on, and read what was kept. Only before its first compilation."""
    if jax.config.values["jax_compilation_cache_dir"] is not None:
        return
    where = folder(os.environ)
    if where is None:
        return
    try:
        where.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        print(f"compiled programs are not kept: {e}", file=sys.stderr)
        return
    jax.config.update("jax_compilation_cache_dir", str(where))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", LEAST)
