"""Processes of packages that are none: they answer at once, and may be missing, end, or be stopped by a signal."""

import contextlib
from typing import Any

from experiments.harness.peers import measure, process
from experiments.harness.peers.jobs import Shape

TINY = Shape(hidden=3, batch=2, window=4, features=2, windows=4)


def pretend(monkeypatch, absent=(), ends=None, stopped_at=None) -> list[tuple[str, dict[str, Any]]]:
    """Replace all processes.

    Args:
        monkeypatch: pytest's.
        absent: packages that are not installed.
        ends: package and number of its task at which its process ends.
        stopped_at: number of the task, of all packages, at which Ctrl-C arrives.

    Returns:
        A list to which every task is added, with its package.
    """
    asked: list[tuple[str, dict[str, Any]]] = []

    @contextlib.contextmanager
    def opened(package, python, log, cores=(), platform="cpu"):
        if package in absent:
            raise process.Lost(f"{package} is not installed")
        nobody: Any = None
        yield process.Process(package=package, popen=nobody, log=log, version=f"{package} on {platform}")

    def answer(package, task):
        if len(asked) + 1 == stopped_at:
            raise KeyboardInterrupt
        asked.append((package, task))
        if ends == (package, sum(name == package for name, _ in asked)):
            raise process.Lost("no answer; killed")
        if task["arm"] == "memory":
            return {"bytes": 1000 * len(task["members"])}
        kept = {"recompile": 0.1, "scratch": 0.0}.get(task["arm"], 0.01) * task["epochs"]
        losses = [1 + kept + member for member, _ in task["members"]]
        return {"seconds": 1.0 + len(asked) % 7, "loss": losses} | (
            {"flops": 1e9, "loss": []} if task["arm"] == "product" else {}
        )

    monkeypatch.setattr(process, "opened", opened)

    def ask(processes, tasks):
        return [answer(process.package, task) for process, task in zip(processes, tasks, strict=True)]

    monkeypatch.setattr(process, "ask", ask)
    monkeypatch.setattr(measure, "_file", lambda place, shape, members: place.data / "nothing")
    return asked
