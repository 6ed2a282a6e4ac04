"""Other packages, each in a process of its own that trains what it is asked to (loop_peer.py) and waits in between.

Packages are asked one at a time, so that none takes another's cores.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.harness.exits import Refused

LIMIT = 600.0  # seconds for an answer
SCRIPTS = Path(__file__).parent / "scripts"
SOURCE = Path(__file__).parents[3]  # holds the packages `experiments` and `lstm_sched`


@dataclass(frozen=True, kw_only=True)
class Peer:
    """How the process of a package is started."""

    script: str
    arguments: tuple[str, ...] = ()
    backend: str = ""  # of Keras
    this_python: bool = False  # needs this project, and with it this Python


OURS, DIVIDED, CUDNN = "ours", "ours, batches divided", "ours, cuDNN"
STEP, EPOCH = "Flax, jitted step", "Flax, scanned epoch"
OWN = {
    OURS: Peer(script="ours", this_python=True),
    DIVIDED: Peer(script="ours", arguments=("divided",), this_python=True),
    CUDNN: Peer(script="ours", arguments=("cudnn",), this_python=True),
    STEP: Peer(script="flax", arguments=("step",), this_python=True),
    EPOCH: Peer(script="flax", arguments=("epoch",), this_python=True),
}
PEERS = {
    "Keras on TensorFlow": Peer(script="keras", backend="tensorflow"),
    "Keras on JAX": Peer(script="keras", backend="jax"),
    "Keras on Torch": Peer(script="keras", backend="torch"),
    "PyTorch": Peer(script="torch", arguments=("eager", "0")),
    "PyTorch, one thread": Peer(script="torch", arguments=("eager", "1")),
    "PyTorch compiled": Peer(script="torch", arguments=("compiled", "0")),
    "PyTorch compiled, one thread": Peer(script="torch", arguments=("compiled", "1")),
    "Flax NNX": Peer(script="flax", arguments=("nnx",), this_python=True),
    "Equinox": Peer(script="equinox"),
}
PACKAGES = OWN | PEERS


def check_python(field: str, python: str | None) -> None:
    """ValueError where the field names a Python that is no file; None, for this one, is allowed."""
    if python is not None and not Path(python).is_file():
        raise ValueError(f"{field}: {python} is no file; allowed: the path of a Python")


class Lost(Refused):
    """A package cannot be used: it is not installed, its process ended, or it did not answer in time."""

    def __init__(self, message: str):
        super().__init__(message, code=1)


@dataclass(frozen=True, kw_only=True)
class Process:
    """A package that can be asked; what it prints goes to the file `log`."""

    package: str
    popen: subprocess.Popen[str]
    log: Path
    version: str


@contextlib.contextmanager
def opened(
    package: str, python: str | None, log: Path, cores: Sequence[int] = (), platform: str = "cpu"
) -> Iterator[Process]:
    """The process of a package while the block lasts; `platform` is that of JAX, and no cores are all.

    Raises Lost where the package is not installed, or does not start.
    """
    peer = PACKAGES[package]
    command = [sys.executable if peer.this_python or python is None else python, "-W", "ignore"]
    command += [str(SCRIPTS / f"{peer.script}_peer.py"), *peer.arguments]
    with log.open("a", encoding="utf-8") as errors:
        popen = subprocess.Popen(
            command,
            env=os.environ | _environment(peer, cores, platform),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the other
        )
    try:
        greeting = _answer(popen, log)
        if "why_not" in greeting:
            raise Lost(greeting["why_not"])
        yield Process(package=package, popen=popen, log=log, version=greeting["version"])
    finally:
        popen.kill()
        popen.communicate()


def _environment(peer: Peer, cores: Sequence[int], platform: str) -> dict[str, str]:
    variables = {"JAX_PLATFORMS": platform, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": peer.backend}
    variables |= {"PEER_CORES": ",".join(map(str, cores))}
    if platform != "cpu":  # several share the card; float32 and not TF32, in which losses differ by 1e-3
        variables |= {"JAX_DEFAULT_MATMUL_PRECISION": "highest", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    if peer.this_python:
        paths = [str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])]
        variables |= {"PYTHONPATH": os.pathsep.join(paths)}
    return variables


def ask(processes: Sequence[Process], tasks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What each process of a package answers to its task (loop_peer.py); all of them work at the same time.

    Raises Lost where there is no answer.
    """
    for process, task in zip(processes, tasks, strict=True):
        assert process.popen.stdin
        with contextlib.suppress(BrokenPipeError):  # it has ended, and thus does not answer
            process.popen.stdin.write(json.dumps(task) + "\n")
            process.popen.stdin.flush()
    return [_answer(process.popen, process.log) for process in processes]


def _answer(popen: subprocess.Popen[str], log: Path) -> dict[str, Any]:
    assert popen.stdout
    late = threading.Timer(LIMIT, popen.kill)
    late.start()
    try:
        line = popen.stdout.readline()
    finally:
        late.cancel()
    if not line:
        printed = log.read_text(encoding="utf-8", errors="replace").splitlines()
        raise Lost(f"no answer; {printed[-1] if printed else 'it printed nothing'}")
    return json.loads(line)
