"""A Ray cluster of several node processes on this host, each of which can be killed with all that it runs."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator


def start(environment, *flags):
    """A node in a session of its own, once it has said that it runs."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1"]
    node = subprocess.Popen(
        [*command, "--object-store-memory=80000000", *flags],
        env=environment,
        start_new_session=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert node.stdout is not None
    for line in node.stdout:
        if "Ray runtime started" in line:
            return node
    raise RuntimeError(f"a node ended with {node.wait()}")


def kill(node):
    """As a host that loses its power: all of the node's processes at once, and theirs."""
    for group in {node.pid, *map(os.getpgid, below(node.pid))}:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    node.communicate()


def below(pid):
    """The processes that it started, and theirs."""
    with contextlib.suppress(FileNotFoundError), open(f"/proc/{pid}/task/{pid}/children") as file:
        for child in map(int, file.read().split()):
            yield child
            yield from below(child)


@contextlib.contextmanager
def cluster() -> Iterator[tuple[str, dict[str, str], list[subprocess.Popen[str]]]]:
    """Address, environment of whoever connects, and two nodes of one core each."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    environment = os.environ | token | {"RAY_USAGE_STATS_ENABLED": "0"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nodes = [start(environment, "--head", f"--port={port}", "--include-dashboard=false")]
    try:
        nodes.append(start(environment, f"--address=127.0.0.1:{port}"))
        yield f"127.0.0.1:{port}", environment, nodes
    finally:
        for node in nodes:
            kill(node)
