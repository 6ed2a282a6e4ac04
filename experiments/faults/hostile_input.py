"""Malicious files, each read as a user's own file would be, in a process of its own.

python -m experiments.faults.hostile_input DIR
"""

import io
import json
import os
import pickle
import re
import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.tree_util import tree_leaves

from experiments.faults.processes import PATIENCE, ROOT, Row
from experiments.harness import html_page, run_folder
from experiments.harness.document import Section, Table
from lstm_sched import checkpoint
from lstm_sched.auditing.leaves import leaves
from lstm_sched.checkpoint import steps
from lstm_sched.data.tables import read_table
from lstm_sched.members import make_origin, start
from lstm_sched.nn.network import lstm
from lstm_sched.optimizers import OPTIMIZERS

SPARSE = 10 * 2**30  # bytes
BOUND = 300  # megabytes above what an empty process holds
NAME = "<img src=x onerror=alert(1)>"
MARK = "executed"


class Trap:
    """An object whose pickle creates the file `path` when it is loaded."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


def sparse(path: Path, head: bytes = b"") -> Path:
    """Make a file of SPARSE bytes, of which only `head` takes space on disk."""
    path.write_bytes(head)
    os.truncate(path, SPARSE)
    return path


def refused(f: Callable[[], Any]) -> bool:
    """Whether a call raises ValueError or TypeError."""
    try:
        f()
    except (ValueError, TypeError):
        return True
    return False


def table(path: Path) -> Callable[[], Any]:
    """A call that reads a column as a user would."""
    return lambda: read_table(path, target="a")


def npz(path: Path, **arrays: Any) -> Path:
    """Write arrays, including those of objects, to an .npz file."""
    with path.open("wb") as file:
        np.savez(file, **arrays)
    return path


def attacks(base: Path) -> dict[str, bool]:
    """Whether each attack was refused, or did no harm."""
    inside = base / "inside"
    inside.mkdir()
    trap = np.empty(1, object)
    trap[0] = Trap(base / MARK)
    objects = npz(inside / "objects.npz", a=trap)
    pickled = inside / "pickled.npz"
    pickled.write_bytes(pickle.dumps(trap[0]))
    found = {
        "object arrays": refused(table(objects)) and refused(lambda: leaves(objects)),
        "a pickle": refused(table(pickled)) and refused(lambda: leaves(pickled)),
        "names with paths": _paths(base, inside),
    }
    head = b"a,b\n" + b"1,2\n" * 2**19
    for kind, begin in (("a.csv", b""), ("b.csv", head), ("c.parquet", b"PAR1"), ("d.npz", b"PK\x03\x04")):
        path = sparse(inside / kind, begin)
        found[f"a 10 GB sparse {path.suffix}{' after 2 MB of rows' * (begin == head)}"] = refused(table(path))
    found["a 10 GB sparse file in a checkpoint"] = _sparse_checkpoint(inside / "checkpoint")
    wide = inside / "wide.csv"
    wide.write_text(",".join(map(str, range(1_000_000))) + "\n" + ",".join("1" * 1_000_000) + "\n")
    found["a CSV of a million columns"] = refused(lambda: read_table(wide, target="7"))
    found["HTML in a name"] = _html(inside)
    return found


def _paths(base: Path, inside: Path) -> bool:
    """Whether arrays called ../../x, in an .npz file and in a checkpoint, write no file outside."""
    names = ("../../outside", "/tmp/../outside", "..\\outside")
    path, buffer = inside / "names.npz", io.BytesIO()
    np.save(buffer, np.zeros(1))
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(f"{name}.npy", buffer.getvalue())
    read = refused(lambda: leaves(path)) or len(leaves(path)) == len(names)
    learner = lstm(OPTIMIZERS["keras_sgd"], features=1, hidden=1)
    progress = start(learner, make_origin(learner, 0))
    odd = progress._replace(
        state=progress.state._replace(params={name: jnp.ones(1) for name in names}, moments=())
    )
    checkpoint.save(inside / "named", odd, {"note": ""})
    back = tree_leaves(checkpoint.restore(inside / "named", odd)[0].state.params)
    safe = run_folder.safe_names(names)
    outside = [p for p in base.parent.rglob("*outside*") if inside not in p.parents]
    return read and len(back) == len(names) and not outside and not any(set("/\\") & set(s) for s in safe)


def _sparse_checkpoint(folder: Path) -> bool:
    """Whether a checkpoint is refused if sparse files replace an array file and a record."""
    for step in (1, 2):
        steps.write(folder, step, lambda path: (path.mkdir(), (path / "a").write_bytes(b"a"))[0], {"n": step})
    sparse(folder / "2" / "a")
    sparse(folder / "1" / steps.RECORD, b"{")
    return refused(lambda: steps.newest(folder, lambda path, found: found, lambda path, found, wrong: ""))


def _html(inside: Path) -> bool:
    """Whether NAME, as the name of a column, is escaped in a page."""
    block = Table(title=NAME, columns=("", NAME), rows=[[NAME, NAME]])
    text = html_page.page([Section(title=NAME, blocks=[NAME, block])], inside)
    return "<img" not in text and text.count("&lt;img") >= 5


def peak() -> int:
    """The peak memory of this process, in megabytes."""
    status = Path("/proc/self/status")
    if status.exists():  # elsewhere the parent's peak may be counted in
        found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text())
        if found:
            return int(found[1]) // 2**10
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // scale


def hostile(base: Path) -> list[Row]:
    """Run all attacks in another process, and report their results and its peak memory."""
    folder = base / "hostile"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "experiments.faults.hostile_input", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    if done.returncode:
        raise RuntimeError(f"hostile_input ended with {done.returncode}: {done.stderr[-2000:]}")
    said = json.loads(done.stdout.splitlines()[-1])
    ran = (folder / MARK).exists()
    left = sorted(path.name for path in folder.iterdir())
    missed = ", ".join(name for name, right in said["found"].items() if not right)
    more = said["after"] - said["before"]
    return [
        Row(
            f"hostile input: {', '.join(said['found'])}",
            f"refused or escaped; no code runs; nothing written outside; under {BOUND} MB more memory",
            f"{sum(said['found'].values())} of {len(said['found'])}{f', not {missed}' * bool(missed)}; "
            f"code {'RAN' if ran else 'did not run'}; {len(left) - 1} files outside; {more} MB more",
            not missed and left == ["inside"] and more < BOUND,
        )
    ]


def main(base: Path) -> None:
    """Print the result of each attack, and the peak memory before and after."""
    before = peak()
    found = attacks(base)
    print(json.dumps({"found": found, "before": before, "after": peak()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
