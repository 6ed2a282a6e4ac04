"""Keeps compiled programs from run to run, so that a second start does not wait for the compiler.

They lie in the user's cache folder (~/.cache/lstm_sched/jax on Linux). Each version of jaxlib and each kind of machine
has a folder of its own there, since a program made for one processor may end a process on another.
LSTM_SCHED_CACHE=FOLDER puts them elsewhere, and LSTM_SCHED_CACHE=off keeps none. JAX's own JAX_COMPILATION_CACHE_DIR
has precedence. No bit of a result depends on the cache: a program that is read back is the one that was written, and
one that cannot be read is compiled again. The folder may be deleted at any time.
"""

import hashlib
import os
import platform
import sys
from pathlib import Path

import jaxlib.version
import platformdirs

SWITCH, OFF = "LSTM_SCHED_CACHE", "off"
# The shortest compilation that is cached: 0, as the many small programs together take as long as the large.
MIN_SECONDS = 0.0


def folder() -> Path | None:
    """Where compiled programs are kept; None if they are not. ValueError if the switch is no absolute path."""
    switch = os.environ.get(SWITCH, "")
    if switch == OFF:
        return None
    if switch and not Path(switch).is_absolute():
        raise ValueError(f"{SWITCH}: {switch!r}; allowed: {OFF}, or the absolute path of a folder")
    return (
        Path(switch) if switch else platformdirs.user_cache_path("lstm_sched", False) / "jax"
    ) / _machine()


def _machine() -> str:
    """The version of jaxlib, and a digest of what the processor can do."""
    flags = sorted({line for line in _cpu_info() if line.startswith(("flags", "Features", "model name"))})
    text = "\n".join([platform.machine(), platform.processor(), *flags])
    return f"{jaxlib.version.__version__}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def processor() -> str:
    """The processor's model if the system names it; programs for another one may round differently."""
    models = [line.partition(":")[2].strip() for line in _cpu_info() if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _cpu_info() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []


def use() -> None:
    """Cache compiled programs and reuse cached ones. Call this before the first compilation."""
    import jax  # --help must not wait for it

    if jax.config.values["jax_compilation_cache_dir"] is not None:
        return
    path = folder()
    if path is None:
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        print(f"compiled programs are not kept: {e}", file=sys.stderr)
        return
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", MIN_SECONDS)
