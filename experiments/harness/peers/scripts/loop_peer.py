"""A process that trains what it is told, line by line, for a Python that has a package and need not have this one.

A line on stdin is {"data", "arm", "hidden", "batch", "rate", "epochs", "members"}, the answer on stdout
{"seconds", "loss"}: the time of the epochs alone, and the last epoch's loss of each member.

one_call    all epochs in one call        calls    a call for each
recompile   each after a new optimizer    scratch  each from a new network with the first weights, and a new optimizer
"""

import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable
from typing import Any

ARMS = ("one_call", "calls", "recompile", "scratch")
if cores := os.environ.get("PEER_CORES"):  # before a package is imported and starts its threads
    os.sched_setaffinity(0, map(int, cores.split(",")))


def introduce(*packages: str) -> dict[str, str]:
    """{"version"} of them all; {"why_not"} where one is not installed."""
    for name in packages:
        if importlib.util.find_spec(name) is None:
            return {"why_not": f"{name} is not installed"}
    said = (f"{name} {importlib.import_module(name).__version__}" for name in packages)
    return {"version": ", ".join(said)}


def serve(said: dict[str, Any], train: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Say who this is, or why it cannot be asked, then answer until the end of stdin. What packages print is moved to
    stderr; an error of a training ends the process."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    say(said)
    if "version" in said:
        for line in sys.stdin:
            say(train(json.loads(line)))
