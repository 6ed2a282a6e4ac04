"""Other packages, each in a process of its own that trains what it is told (peers_loop.py) and waits in between.

They are asked one at a time, so that none takes another's cores, and all in every repetition.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.harness.exits import Refused

LIMIT = 600.0  # seconds for an answer


class Peer(NamedTuple):
    """How a package is started."""

    script: str
    words: tuple[str, ...] = ()  # after the script
    backend: str = ""  # of Keras
    own: bool = False  # it is run by this Python, which has it


OURS, DIVIDED = "ours", "ours, batches divided"
STEP, EPOCH = "Flax, jitted step", "Flax, scanned epoch"
OWN = {
    OURS: Peer("ours", own=True),
    DIVIDED: Peer("ours", ("divided",), own=True),
    STEP: Peer("flax", ("step",), own=True),
    EPOCH: Peer("flax", ("epoch",), own=True),
}
PEERS = {
    "Keras on TensorFlow": Peer("keras", backend="tensorflow"),
    "Keras on JAX": Peer("keras", backend="jax"),
    "Keras on Torch": Peer("keras", backend="torch"),
    "PyTorch": Peer("torch", ("eager", "0")),
    "PyTorch, one thread": Peer("torch", ("eager", "1")),
    "PyTorch compiled": Peer("torch", ("compiled", "0")),
    "PyTorch compiled, one thread": Peer("torch", ("compiled", "1")),
    "Flax NNX": Peer("nnx", own=True),
    "Equinox": Peer("equinox"),
}


def check_python(field: str, python: str | None) -> None:
    """ValueError where the field names a Python that is no file; None, for this one, is allowed."""
    if python is not None and not Path(python).is_file():
        raise ValueError(f"{field}: {python} is no file; allowed: the path of a Python")


class Lost(Refused):
    """A package's process ended, or did not answer."""

    def __init__(self, message: str):
        super().__init__(message, code=1)


class Process(NamedTuple):
    """A package that can be asked, or `why_not`."""

    popen: subprocess.Popen
    version: str = ""
    why_not: str = ""


@contextlib.contextmanager
def opened(
    python: str | None,
    name: str,
    errors: Path,
    cores: Sequence[int] | None = None,
    platform: str = "cpu",
) -> Iterator[Process]:
    """The package of that name while the block lasts, on these cores, by default on all; `platform` is JAX'. What it
    prints goes to the file `errors`. Raises Lost where it does not start."""
    peer = (OWN | PEERS)[name]
    script = Path(__file__).parent / "scripts" / f"{peer.script}_peer.py"
    command = [
        sys.executable if peer.own or python is None else python,
        "-W",
        "ignore",
        str(script),
        *peer.words,
    ]
    mine = {"JAX_PLATFORMS": platform, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": peer.backend}
    mine |= {"PEER_CORES": ",".join(map(str, cores or ()))}
    if platform != "cpu":  # several share the card; float32 and not TF32, in which losses differ by 1e-3
        mine |= {"JAX_DEFAULT_MATMUL_PRECISION": "highest", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    if peer.own:
        mine |= {"PYTHONPATH": str(script.parent.parent)}
    with errors.open("a", encoding="utf-8") as said:
        popen = subprocess.Popen(
            command,
            env=os.environ | mine,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        )
        try:
            yield Process(popen, **_answer(popen, name, errors))
        finally:
            popen.kill()
            popen.communicate()


def ask(process: Process, name: str, errors: Path, told: dict[str, Any]) -> dict[str, Any]:
    """{"seconds", "loss"} of a training. Raises Lost where there is no answer."""
    assert process.popen.stdin
    try:
        process.popen.stdin.write(json.dumps(told) + "\n")
        process.popen.stdin.flush()
    except BrokenPipeError as e:
        raise Lost(f"{name}: its process has ended; see {errors}") from e
    return _answer(process.popen, name, errors)


def _answer(popen: subprocess.Popen, name: str, errors: Path) -> dict[str, Any]:
    assert popen.stdout
    late = threading.Timer(LIMIT, popen.kill)
    late.start()
    try:
        line = popen.stdout.readline()
    finally:
        late.cancel()
    if not line:
        said = errors.read_text(encoding="utf-8", errors="replace").splitlines()
        raise Lost(f"{name}: no answer; {said[-1] if said else 'it said nothing'}")
    return json.loads(line)
