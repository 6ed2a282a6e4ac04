"""Lists the experiments: `python -m experiments`.

What it says comes from the docstring of each package, which is read and not imported, so that the list needs no JAX.
"""

import ast
import difflib
import sys
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
USAGE = "python -m experiments.NAME runs one of them, and --help explains its flags."


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One experiment as the list shows it."""

    name: str
    question: str
    runtime: str
    page: str  # its published results, relative to the repository; "" where there are none

    @property
    def command(self) -> str:
        return f"python -m experiments.{self.name}"


def entries() -> list[Entry]:
    """All experiments by name: the packages that can be run."""
    return [_entry(path.parent) for path in sorted(FOLDER.glob("*/__main__.py"))]


def _entry(package: Path) -> Entry:
    tree = ast.parse((package / "__init__.py").read_text(encoding="utf-8"))
    question, *lines = (ast.get_docstring(tree) or "").splitlines() or [""]
    facts = {
        key: value.strip() for key, separator, value in (line.partition(": ") for line in lines) if separator
    }
    return Entry(
        name=package.name,
        question=question,
        runtime=facts.get("Runtime", ""),
        page=facts.get("Page", ""),
    )


def unknown(name: str) -> str:
    """What to say to somebody who asks for an experiment that does not exist."""
    names = [entry.name for entry in entries()]
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    guess = f"; did you mean {nearest[0]}?" if nearest else ";"
    text = f"experiments: there is no experiment {name!r}{guess} allowed: {', '.join(names)}"
    here = Path.cwd() / FOLDER.name
    if here.is_dir() and not here.samefile(FOLDER):
        text += (
            f"\n{here} has no __init__.py, so Python passes it over and takes the experiments of lstm_sched"
        )
    return text


def main(arguments: list[str]) -> int:
    """Print the list, or say what is wrong with the arguments. Returns the exit code."""
    names = [entry.name for entry in entries()]
    if arguments and arguments[0] in names:
        command = " ".join([f"python -m experiments.{arguments[0]}", *arguments[1:]])
        print(f"experiments: an experiment is run as a module: {command}", file=sys.stderr)
        return 2
    if arguments and arguments[0] not in ("-h", "--help"):
        print(unknown(arguments[0]), file=sys.stderr)
        return 2
    for entry in entries():
        print(f"{entry.command}\n    {entry.question}\n    Runtime: {entry.runtime}.\n")
    print(USAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
