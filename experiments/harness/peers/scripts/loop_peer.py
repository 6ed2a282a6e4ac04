"""A process that trains what it is asked to, line by line, for a Python that has a package and need not have this one.

A line on stdin is a task {"data", "arm", "hidden", "batch", "epochs", "members", "device"}; the answer on stdout is
{"seconds", "loss"}: the time of the epochs alone, and the last epoch's loss of each member. Members are pairs of a
number and a learning rate.

one_call    all epochs in one call            calls    one call per epoch
recompile   a new optimizer before each call  scratch  a new network with the first weights, too
"""

import importlib
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

Task = dict[str, Any]
if cores := os.environ.get("PEER_CORES"):  # before a package is imported and starts its threads
    os.sched_setaffinity(0, map(int, cores.split(",")))


def introduce(*packages: str) -> dict[str, str]:
    """{"version"} of all packages; {"why_not"} where one of them is not installed."""
    for name in packages:
        if importlib.util.find_spec(name) is None:
            return {"why_not": f"{name} is not installed"}
    versions = (f"{name} {importlib.import_module(name).__version__}" for name in packages)
    return {"version": ", ".join(versions)}


def serve(greeting: dict[str, str], train: Callable[[Task], dict[str, Any]]) -> None:
    """Write the greeting, then answer every task until stdin ends.

    What packages print is moved to stderr. An error in a training ends the process.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def write(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    write(greeting)
    if "version" in greeting:
        for line in sys.stdin:
            write(train(json.loads(line)))


def train(
    network: Callable[[Task, int], Any],
    optimizer: Callable[[Any, float], Any],
    fit: Callable[[Task, Any, Any, int], tuple[Any, Any, float]],
    begin: Callable[[Task, int, float], tuple[Any, Any]],
    task: Task,
) -> dict[str, Any]:
    """Train each member in turn.

    Args:
        network: task and member to a new network with the member's first weights.
        optimizer: network and learning rate to a new optimizer.
        fit: task, network, optimizer and epochs to both after these epochs, and the last one's loss.
        begin: task, member and learning rate to a network and an optimizer; not timed.
    """
    seconds, losses, whole = 0.0, [], task["arm"] == "one_call"
    for member, rate in task["members"]:
        model, rule = begin(task, member, rate)
        loss, began = float("nan"), time.perf_counter()
        for call in range(1 if whole else task["epochs"]):
            if task["arm"] == "scratch" and call:
                model = network(task, member)
            if task["arm"] in ("recompile", "scratch"):
                rule = optimizer(model, rate)
            model, rule, loss = fit(task, model, rule, task["epochs"] if whole else 1)
        seconds += time.perf_counter() - began
        losses.append(loss)
    return {"seconds": seconds, "loss": losses}
