"""Is a training the same to the last bit, however it is cut into fits, carried between them, and compiled?

    python -m experiments.identity           every level of every factor at least once
    python -m experiments.identity --full    every combination: 672 trainings, one to two hours

Partitions into fits × optimizers × ways for the state to get from one fit to the next × lowerings of the same step,
on a bundled series. Runtime: about a minute on two cores. Expected: 0 bits from one fit in the same lowering; across
lowerings, which are other programs and may round differently, weights within a bound that is stated beforehand.
Ends with exit code 1 if an expectation did not hold.
"""

import dataclasses
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

from experiments.harness.experiment import Experiment, Workplace, carry_out
from experiments.harness.setting import Setting
from experiments.harness.source import open_source
from experiments.harness.workers import two_workers
from experiments.identity import report, transports
from experiments.identity.compare import (
    First,
    Result,
    difference,
    everything,
    first_apart,
    first_seen,
    result_of,
    trained_state,
)
from experiments.identity.design import Cell, Config, Design, bound, decide
from experiments.identity.lowerings import (
    LAYOUTS,
    RUN,
    advance,
    begin,
    in_fits,
    one_fits,
    use_two_devices,
)


def measure(design: Design, workplace: Workplace) -> list[Result]:
    """A result for each cell, in the order of the design; each of two processes compares one group at a time."""
    out = workplace.console
    out.print(report.intention(design), markup=False)
    groups: dict[str, list[Cell]] = {}
    for cell in sorted(design.cells, key=lambda cell: cell.lowering not in LAYOUTS):  # the longest first
        groups.setdefault(cell.group, []).append(cell)
    missing = {group: cells for group, cells in groups.items() if group not in workplace.measured}
    done = sum(len(cells) for group, cells in groups.items() if group not in missing)
    if done:
        out.print(f"{done} of {len(design.cells)} trainings were compared before")
    with two_workers(afresh=design.config.full) as pool:
        waiting = {
            pool.submit(compare_group, design.setting, workplace.folder, cells): group
            for group, cells in missing.items()
        }
        for future in as_completed(waiting):
            rows = workplace.once(waiting[future], future.result)
            for row in rows:
                out.print(report.in_words(result_of(row)), markup=False)
            done += len(rows)
            out.print(f"{done} of {len(design.cells)} trainings are compared")
    results = [result_of(row) for group in groups for row in workplace.measured[group]]
    return sorted(results, key=lambda result: design.cells.index(result.cell))


def compare_group(setting: Setting, folder: Path, cells: list[Cell]) -> list[dict[str, Any]]:
    """The results of cells that share an optimizer and a lowering, as JSON takes them."""
    use_two_devices()
    split = open_source(setting, setting.data[0]).split
    lowering, optimizer = cells[0].lowering, cells[0].optimizer
    one_fit = one_fits(setting, split, optimizer, {RUN, lowering})
    training, reference = one_fit[lowering], one_fit[RUN]
    end, end_of_reference = (advance(t, begin(t), t.epochs) for t in (training, reference))
    apart: list[First | None] = []  # where the lowering parts from the run scan, once it is known
    results = []
    for cell in cells:
        after_fits, note = transports.carry(setting, folder, cell, in_fits(training, cell.every))
        last = after_fits[-1]
        same = difference(everything(last), everything(end))
        across = difference(trained_state(training, last), trained_state(reference, end_of_reference))
        first = first_seen(training, after_fits) if same.bits else None
        if across.bits and not same.bits:
            if not apart:
                apart.append(first_apart(training, reference, freezes=optimizer != "schedule-free"))
            first = apart[0]
        held = not same.bits and across.weight <= bound(cell, setting.lr)
        result = Result(cell=cell, same=same, across=across, first=first, note=note, held=held)
        results.append(dataclasses.asdict(result))
    return results


def expected(results: list[Result]) -> bool:
    """Whether every expectation was met."""
    return all(result.held for result in results)


EXPERIMENT = Experiment(
    name="identity",
    config=Config,
    decide=decide,
    measure=measure,
    conclude=report.conclude,
    expected=expected,
)


def main(config: Config | None = None) -> list[Result]:
    """The whole command, for Python. ValueError for what the command line would refuse."""
    [results] = carry_out(EXPERIMENT, Config() if config is None else config)
    return results
