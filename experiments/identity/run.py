"""Is a training the same to the last bit, however it is cut into fits, carried between them, and compiled?

    python -m experiments.identity           every level of every factor at least once
    python -m experiments.identity --full    every combination: 672 trainings, one to two hours

Partitions into fits × optimizers × ways for the state to get from one fit to the next × lowerings of the same step,
on a bundled series. Runtime: about a minute on two cores. Expected: 0 bits from one fit in the same lowering; across
lowerings, which are other programs and may round otherwise, weights within a bound that is stated beforehand.
Ends with exit code 1 if an expectation did not hold.
"""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from rich.console import Console

from experiments.harness import report
from experiments.harness.setting import Setting
from experiments.harness.source import open_source
from experiments.identity import report as re
from experiments.identity import transports as away
from experiments.identity.compare import First, Result, difference, everything, first_apart, first_seen
from experiments.identity.compare import trained as of_first
from experiments.identity.design import Cell, Config, Plan, bound, prepare
from experiments.identity.lowerings import (
    CHOSEN,
    LAYOUTS,
    RUN,
    advance,
    begin,
    in_fits,
    one_fits,
    use_two_devices,
)


def execute(plan: Plan) -> list[Result]:
    """Compare, write and print: a result a cell, in the order of the plan."""
    with report.running(plan.folder, "Table, figure and page") as out:
        re.say_plan(out, plan)
        results = _all(plan, out)
        re.write(plan, results)
        re.say(out, plan, results)
    return results


def _all(plan: Plan, out: Console) -> list[Result]:
    """An optimizer at a time in each of two processes, which ends with it: so many compiled programs fill a memory."""
    began = time.monotonic()
    results: list[Result] = []
    groups = [[c for c in plan.cells if c.optimizer == name] for name in CHOSEN]
    groups.sort(key=lambda cells: all(c.lowering not in LAYOUTS for c in cells))  # the longest first
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context, max_tasks_per_child=1 if plan.config.full else None) as pool:
        waiting = [pool.submit(of_optimizer, plan.setting, plan.folder, cells) for cells in groups if cells]
        try:
            for done in as_completed(waiting):
                results += done.result()
                for result in done.result():
                    out.print(re.in_words(result), markup=False)
                so_far = report.duration(time.monotonic() - began)
                out.print(f"{len(results)} of {len(plan.cells)} trainings after {so_far}")
        except KeyboardInterrupt:
            for worker in multiprocessing.active_children():  # the pool would first finish what waits
                worker.terminate()
            raise
    return sorted(results, key=lambda result: plan.cells.index(result.cell))


def of_optimizer(setting: Setting, folder: Path, cells: list[Cell]) -> list[Result]:
    """The cells of one optimizer, each lowering compiled once."""
    use_two_devices()
    split = open_source(setting, setting.data[0]).split
    ones = one_fits(setting, split, cells[0].optimizer, {RUN, *(cell.lowering for cell in cells)})
    whole = {lowering: advance(one, begin(one), one.epochs) for lowering, one in ones.items()}
    apart: dict[str, First | None] = {}  # where a lowering parts from the run scan
    results = []
    for cell in cells:
        one = ones[cell.lowering]
        seen, note = away.carried(setting, folder, cell, in_fits(one, cell.every))
        same = difference(everything(seen[-1]), everything(whole[cell.lowering]))
        across = difference(of_first(one, seen[-1]), of_first(ones[RUN], whole[RUN]))
        first = first_seen(one, seen) if same.bits else None
        if across.bits and not same.bits:
            if cell.lowering not in apart:
                freezes = cell.optimizer != "schedule-free"
                apart[cell.lowering] = first_apart(one, ones[RUN], freezes)
            first = apart[cell.lowering]
        held = not same.bits and across.weight <= bound(cell, setting.lr)
        results.append(Result(cell, same, across, first, note, held))
    return results


def main(config: Config | None = None) -> list[Result]:
    """The whole command, for Python. ValueError for what the command line would refuse."""
    return execute(prepare(Config() if config is None else config))


def held(found: list[Result]) -> bool:
    """Whether every expectation was met."""
    return all(result.held for result in found)
