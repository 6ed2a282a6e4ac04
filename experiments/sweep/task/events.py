"""The events of a task, one line of events.jsonl each, with their facts.

began   a process took the task up: host, pid
died    that process ended before the task had: how, as the engine saw it
memory  memory did not suffice: why, and into how many slices the trials are cut from then on
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from experiments.harness import run_folder

FILE = "events.jsonl"


def note(path: Path, event: str, **facts: Any) -> None:
    """Append an event. Only a process that works on the task, or an engine that saw one die, writes."""
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    run_folder.append_line(path / FILE, json.dumps({"event": event, "at": now, **facts}))


def read(path: Path) -> list[dict[str, Any]]:
    """All events; a truncated line is left out."""
    return run_folder.read_lines(path / FILE)


def slices(path: Path) -> int:
    """Into how many slices the trials are cut, trained one after another: 1 unless memory did not suffice."""
    return max((row["slices"] for row in read(path) if row["event"] == "memory"), default=1)


def finished(path: Path) -> dict[str, Any] | None:
    """The contents of done.json if the task has finished; None otherwise."""
    file = path / "done.json"
    done = run_folder.read_json(file) if file.exists() else None
    return done if done is not None and done["state"] == "finished" else None


def progress(path: Path) -> int:
    """Epochs that the trials of a task have run so far, by the status of each slice of each rung."""
    total = 0
    for status in path.glob("rungs/*/*/*/status.json"):
        start = int(status.parent.parent.name.partition("-")[0])
        size = int(status.parent.name.partition("-")[2])
        total += size * (run_folder.read_json(status)["epochs"] - start)
    return total
