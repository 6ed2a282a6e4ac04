"""Is a run ever lost?

    python -m experiments.faults           each fault a few times
    python -m experiments.faults --full    25 kills, 40 flipped bits, every chunk length, and the default run of refit

Real trainings on sunspots are killed, signalled, starved of disk and doubled; their checkpoints are damaged in every
file, and read as what they are not; files that mean harm are read. Runtime: about a minute on two quiet cores, 15 with
--full. Expected: every figure of the table is reached; where one is not, it says so and the exit code is 1.
"""

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from rich.markup import escape
from rich.table import Table

from experiments.faults import disk, files, hostile_input, processes, saves, victim
from experiments.faults.processes import Row
from experiments.harness import page, report, run_folder
from experiments.harness.plan import Plan as RunPlan

EXPERIMENT = "faults"
COLUMNS = ("fault", "expected", "seen")
TITLE = "faults, and what became of the runs"
FILES = (
    ("results.csv", "a row a fault: what was expected, what was seen, whether it held"),
    ("table.md", "the same as Markdown"),
    ("config.json", "what was asked for"),
    ("env.json", "versions, devices, flags and the state of the source"),
)


@dataclass(frozen=True)
class Config:
    """How much is tried."""

    full: bool = False
    """25 kills, 40 flipped bits, every length of chunk, and what saving costs in refit's default run"""
    seed: int | None = None
    """of the moments of kills and the places of flipped bits; by default another each time, and recorded"""
    out: str | None = None
    """folder for the results, new or empty; by default a new one under runs/"""


class Plan(NamedTuple):
    """What is tried, and where."""

    config: Config
    seed: int
    folder: Path
    run: RunPlan  # the training that is not disturbed


def prepare(config: Config) -> Plan:
    """Make the folder, and plan the training. ValueError before anything runs."""
    folder = run_folder.new_folder(config.out, EXPERIMENT).absolute()
    seed = random.randrange(2**31) if config.seed is None else config.seed
    (folder / "runs").mkdir()
    (run,) = victim.decide(victim.Config(), {})
    run_folder.decide(folder, EXPERIMENT, config, {"seed": seed, "run": asdict(run.config)})
    return Plan(config, seed, folder, run)


def execute(plan: Plan) -> list[Row]:
    """Do every fault, then write and print."""
    with report.running(plan.folder, "Table, logs and runs") as out:
        out.print(
            f"seed {plan.seed}; {'about 15 minutes' if plan.config.full else 'about a minute'} on two cores."
        )
        out.print(f"Results: {plan.folder}", markup=False, soft_wrap=True)
        rows = _rows(plan)
        run_folder.write_csv(plan.folder / "results.csv", [row._asdict() for row in rows])
        (plan.folder / "table.md").write_text(markdown(rows), encoding="utf-8")
        page.write(plan.folder, sections(rows))
        out.print(table(rows))
    return rows


def _rows(plan: Plan) -> list[Row]:
    base, full = plan.folder / "runs", plan.config.full
    whole = base / "whole"
    if processes.finish(whole, "--out", str(whole)):
        raise RuntimeError(f"the undisturbed run failed: see {whole.with_suffix('.log')}")
    with ThreadPoolExecutor(1) as pool:  # the other core
        beside = [
            pool.submit(processes.kills, base, whole, 25 if full else 2, plan.seed),
            pool.submit(disk.full_disk, base, whole),
        ]
        rows = processes.signals(base, whole)
        rows += files.damage(base, whole, plan.run, 40 if full else 8, plan.seed)
        rows += files.others(base, whole, plan.run)
        rows += saves.resumes(base, plan.run, full)
        rows += hostile_input.hostile(base)
        rows = [row for each in beside for row in each.result()] + rows
    return rows + (saves.default_run(base) if full else saves.cost(base))


def table(rows: Sequence[Row]) -> Table:
    """All faults for a terminal."""
    cells = [(*map(escape, row[:3]), "" if row.held else "NOT AS EXPECTED") for row in rows]
    return report.table(TITLE, (*COLUMNS, ""), cells)


def markdown(rows: Sequence[Row]) -> str:
    """The table for a page."""
    cells = [(row.fault, row.expected, "**Not reached:** " * (not row.held) + row.seen) for row in rows]
    return report.markdown(COLUMNS, cells)


def sections(rows: Sequence[Row]) -> list[page.Section]:
    """The page."""
    held = sum(row.held for row in rows)
    cells = [(*row[:3], "yes" if row.held else "NO") for row in rows]
    return [
        page.Section(
            "Is a run ever lost?", page.paragraph(f"{held} of {len(rows)} figures are reached.", lead=True)
        ),
        page.Section("Fault by fault", page.table((*COLUMNS, "reached"), cells, TITLE)),
        page.Section("How to get this again", page.commands([run_folder.command(EXPERIMENT)])),
        page.Section("Raw files", page.files(FILES)),
    ]


def held(found: list[Row]) -> bool:
    """Whether every expectation was met."""
    return all(row.held for row in found)
