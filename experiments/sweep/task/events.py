"""What happened to a task: lines of attempts.jsonl, each an event and its facts.

began   a process took the task up: host, pid
died    it ended, and the task had not: how, as the engine saw it
memory  it did not suffice: why, and into how many slices the cells are cut from then on
"""

import contextlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any


def note(path: Path, event: str, **facts: Any) -> None:
    """A line of attempts.jsonl. Only who works on the task, or saw it die, writes one."""
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    with (path / "attempts.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"event": event, "at": now, **facts}) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of attempts.jsonl; one that was cut off is left out."""
    file = path / "attempts.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    found = []
    for line in lines:
        with contextlib.suppress(json.JSONDecodeError):
            found.append(json.loads(line))
    return found


def parts(path: Path) -> int:
    """Into how many slices the cells are cut, one after another: 1 unless memory did not suffice."""
    return max((row["parts"] for row in read(path) if row["event"] == "memory"), default=1)
