"""Is a run ever lost?

    python -m experiments.faults           each fault a few times
    python -m experiments.faults --full    25 kills, 40 flipped bits, every chunk length, and the default run of refit

Real trainings on sunspots are killed, signalled, starved of disk and doubled; their checkpoints are damaged in every
file, and read as what they are not; files that mean harm are read. Runtime: about a minute on two quiet cores, 15 with
--full. Expected: every figure of the table is reached; where one is not, it says so and the exit code is 1.
"""

import dataclasses
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.faults import disk, files, hostile_input, processes, saves, victim
from experiments.faults.processes import Row
from experiments.harness.document import EVERYWHERE, Document, Lead, Section, Table
from experiments.harness.experiment import Decisions, Experiment, Workplace, carry_out
from experiments.harness.workers import two_workers


@dataclass(frozen=True)
class Config:
    """How much is tried."""

    full: bool = False
    """25 kills, 40 flipped bits, every length of chunk, and what saving costs in refit's default run"""
    seed: int | None = None
    """of the moments of kills and the places of flipped bits; by default another each time, and recorded"""
    out: str | None = None
    """folder for the results, new or empty; by default a new one under runs/"""
    resume: str | None = None
    """folder of an interrupted run: continue it, with the configuration stored in it"""


def decide(config: Config, stored: Mapping[str, Any]) -> list[Decisions]:
    """The seed, and the training that is disturbed."""
    drawn = random.randrange(2**31) if config.seed is None else config.seed
    facts = {"seed": stored.get("seed", drawn), "run": dataclasses.asdict(victim.Config())}
    return [Decisions(config=config, facts=facts)]


# Each fault, the folders that it makes, and its function: (base, undisturbed run, full, seed) -> rows.
Fault = Callable[[Path, Path, bool, int], list[Row]]
FAULTS: dict[str, tuple[tuple[str, ...], Fault]] = {
    "kills": (
        ("killed-*", "second*"),
        lambda base, whole, full, seed: processes.kills(base, whole, 25 if full else 2, seed),
    ),
    "signals": (("signalled*",), lambda base, whole, full, seed: processes.signals(base, whole)),
    "disk": (("disk*", "elsewhere*"), lambda base, whole, full, seed: disk.full_disk(base, whole)),
    "damage": (
        ("damaged", "older"),
        lambda base, whole, full, seed: files.damage(base, whole, _plan(), 40 if full else 8, seed),
    ),
    "others": (("other",), lambda base, whole, full, seed: files.others(base, whole, _plan())),
    "resumes": (("cuts",), lambda base, whole, full, seed: saves.resumes(base, _plan(), full)),
    "hostile": (("hostile",), lambda base, whole, full, seed: hostile_input.hostile(base)),
    "saving": (
        ("cost", "refit*"),
        lambda base, whole, full, seed: saves.default_run(base) if full else saves.cost(base),
    ),
}


def _plan() -> Any:
    return victim.decide(victim.Config(), {})[0]


def do(name: str, base: Path, full: bool, seed: int) -> list[dict[str, Any]]:
    """The rows of a fault; folders left by an interrupted attempt are removed first."""
    patterns, fault = FAULTS[name]
    for path in (path for pattern in patterns for path in base.glob(pattern)):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return [dataclasses.asdict(row) for row in fault(base, base / "whole", full, seed)]


def undisturbed(base: Path) -> str:
    """Run the undisturbed training, whose result all others must reach. RuntimeError if it fails."""
    whole = base / "whole"
    shutil.rmtree(whole, ignore_errors=True)
    if processes.finish(whole, "--out", str(whole)):
        raise RuntimeError(f"the undisturbed run failed: see {whole.with_suffix('.log')}")
    return "finished"


def measure(decisions: Decisions, workplace: Workplace) -> list[Row]:
    """The rows of every fault. Two faults run at a time, but the cost of saving is measured alone."""
    out, base = workplace.console, (workplace.folder / "runs").absolute()
    base.mkdir(exist_ok=True)
    full, seed = decisions.config.full, decisions.facts["seed"]
    out.print(f"seed {seed}; {'about 15 minutes' if full else 'one to two minutes'} on two cores.")
    missing = [name for name in FAULTS if name not in workplace.measured]
    try:
        disk.release(base / "disk")
        workplace.once("undisturbed", lambda: undisturbed(base))
        with two_workers() as pool:
            waiting = {pool.submit(do, name, base, full, seed): name for name in missing if name != "saving"}
            for future in as_completed(waiting):
                workplace.once(waiting[future], future.result)
                out.print(f"done: {waiting[future]}")
        workplace.once("saving", lambda: do("saving", base, full, seed))
    finally:
        disk.release(base / "disk")
    return [Row(**row) for name in FAULTS for row in workplace.measured[name]]


def conclude(decisions: Decisions, rows: Sequence[Row]) -> Document:
    """One row per fault."""
    table = Table(
        title="faults, and what became of the runs",
        columns=("fault", "expected", "seen", "reached"),
        rows=[(row.fault, row.expected, row.seen, "yes" if row.held else "NO") for row in rows],
    )
    lead = Lead(text=f"{sum(row.held for row in rows)} of {len(rows)} figures are reached.")
    return Document(
        sections=[
            Section(title="Is a run ever lost?", blocks=[lead], places=frozenset({"page"})),
            Section(title="Fault by fault", blocks=[table], places=EVERYWHERE),
            Section(title="The answer", blocks=[lead], places=frozenset({"terminal"})),
        ],
        tables={"results.csv": [dataclasses.asdict(row) for row in rows]},
        files={
            "results.csv": "one row per fault: what was expected, what was seen, whether it held",
            "runs": "the trainings that were disturbed, and what they printed",
        },
    )


def expected(rows: Sequence[Row]) -> bool:
    """Whether every expectation was met."""
    return all(row.held for row in rows)


EXPERIMENT = Experiment(
    name="faults", config=Config, decide=decide, measure=measure, conclude=conclude, expected=expected
)


def main(config: Config | None = None) -> list[Row]:
    """The whole command, for Python. ValueError for what the command line would refuse."""
    [rows] = carry_out(EXPERIMENT, Config() if config is None else config)
    return rows
