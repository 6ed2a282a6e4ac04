"""What `throughput` says: times, ratios to Flax's own cell scanned, and the distance to the limit.

Letters: R repetitions.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from experiments.harness import figures, run_folder
from experiments.harness.figures import STYLE
from experiments.harness.peers import comparison, timing
from experiments.harness.peers.comparison import Comparison
from experiments.harness.peers.process import DIVIDED, EPOCH, OURS, OWN
from experiments.harness.peers.timing import Spread
from experiments.harness.peers.workload import SHAPES
from experiments.throughput.jobs import GROWTH, Timed, operations

# The picture of `throughput`: who takes how long, and how ours grows.


matplotlib.use("Agg")

MARKS = dict(zip(GROWTH, "osD^v", strict=True))


def draw(folder: Path, rows: Sequence[Timed], command: str) -> None:
    """figure.svg and figure.png. Left: every repetition of one training and of many. Right: how ours grows, where that
    was measured."""
    warm = [row for row in rows if row.repetition]
    grown = any(row.part == "growth" for row in warm)
    with plt.rc_context(STYLE):
        fig, both = plt.subplots(1, 1 + grown, figsize=(12, 5.6), squeeze=False, layout="constrained")
        _packages(both[0, 0], [row for row in warm if row.part in ("one", "many")])
        if grown:
            _growth(both[0, 1], [row for row in rows if row.part == "growth"])
        figures.save(folder, fig, "A mark a repetition; a bar at the median.", command)


def _packages(axes: Axes, rows: Sequence[Timed]) -> None:
    """Milliseconds that a member takes an epoch."""
    names = list(dict.fromkeys((r.part, r.axis, r.package, r.processes, r.cores) for r in rows))
    for y, name in enumerate(names):
        mine = [r for r in rows if (r.part, r.axis, r.package, r.processes, r.cores) == name]
        each = [1e3 * r.seconds / (r.members * r.epochs) for r in mine]
        colour = figures.COLOURS[0] if name[2] in (OURS, DIVIDED) else figures.COLOURS[1]
        axes.plot(each, [y] * len(each), "o", color=colour, ms=4, alpha=0.6)
        axes.plot(np.median(each), y, "|", color=colour, ms=16, mew=2)
    labels = [
        f"{part}, {axis}: {package}" + (f", {processes} processes" if processes > 1 else f", {cores} core(s)")
        for part, axis, package, processes, cores in names
    ]
    axes.set_yticks(range(len(names)), labels, fontsize=7.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xscale("log")
    figures.plain(axes)
    axes.set_xlabel("ms a member and epoch")


def _growth(axes: Axes, rows: Sequence[Timed]) -> None:
    """Seconds against what varies, both as multiples of the smallest; and the memory of the members."""
    for (axis, mark), colour in zip(MARKS.items(), figures.COLOURS, strict=False):
        mine = [r for r in rows if r.axis == axis]
        if not mine:
            continue
        values = sorted({r.value for r in mine})
        medians = [
            np.median([r.seconds for r in mine if r.value == value and r.repetition]) for value in values
        ]
        label = f"{axis} ({', '.join(map(str, values))})"
        axes.plot(
            np.divide(values, values[0]),
            np.divide(medians, medians[0]),
            mark + "-",
            color=colour,
            label=label,
        )
    memory = sorted((r.value, r.bytes) for r in rows if r.axis == "members" and r.bytes)
    if memory:
        (least, least_bytes), (most, most_bytes) = memory[0], memory[-1]
        label = f"memory of {least} to {most} members ({least_bytes / 1e6:.3g} to {most_bytes / 1e6:.3g} MB)"
        x, y = np.array(memory, float).T
        axes.plot(x / least, y / least_bytes, "k:", marker="x", label=label)
    axes.axline((1, 1), slope=1, color="0.6", lw=0.8, ls="--")
    axes.set_xscale("log")
    axes.set_yscale("log")
    figures.plain(axes)
    axes.set_xlabel("times the smallest (dashed: in proportion)")
    axes.set_ylabel("time or memory, times that of the smallest")
    axes.legend(fontsize=8, frameon=False)


SAME = 2e-3  # relative difference of losses that rounding, and each package's form of Adam, may make
RUN = 100  # epochs of a run, where runs a minute are told
COLUMNS = ("what", "package", "cores", "seconds", "to ours", "compile, s", "runs a minute", "MB a member")
TITLE = (
    "The median, and the quartiles around it; to ours: repetition by repetition; compile: what the first takes more; "
    f"runs: of {RUN} epochs, in brackets with compilation once"
)

Key = tuple[str, str, int, str, int, int]  # part, axis, value, package, processes, cores


def key(row: Timed) -> Key:
    """What the repetitions of one job share."""
    return row.part, row.axis, row.value, row.package, row.processes, row.cores


def seconds(rows: Sequence[Timed]) -> dict[Key, np.ndarray]:
    """seconds_R of every job, the first left out."""
    found: dict[Key, list[float]] = {}
    for row in rows:
        if row.repetition:
            found.setdefault(key(row), []).append(row.seconds)
    return {name: np.array(all_) for name, all_ in found.items()}


def fastest(rows: Sequence[Timed]) -> str:
    """The package beside ours and Flax that trains once in the least time; Flax where there is none."""
    known = {k: np.median(s_R) for k, s_R in seconds(rows).items() if k[0] == "one"}
    sizes = next(iter(known))[1]
    others = {k[3]: s for k, s in known.items() if k[3] not in OWN and k[1] == sizes}
    return min(others, key=lambda name: others[name]) if others else EPOCH


def _ours(found: dict[Key, np.ndarray], k: Key) -> np.ndarray | None:
    """seconds_R of ours at the same task, on the most cores."""
    same = [other for other in found if other[:3] == k[:3] and other[3] == OURS]
    return found[max(same, key=lambda other: other[5])] if same else None


def cells(rows: Sequence[Timed]) -> list[tuple[str, ...]]:
    """Rows of COLUMNS."""
    found, first = seconds(rows), {key(row): row for row in rows if not row.repetition}
    made = []
    for k, s_R in found.items():
        part, axis, value, package, processes, cores = k
        if axis == "product":
            continue
        own, row = _ours(found, k), first[k]
        compiled = max(0.0, row.seconds - float(np.median(s_R)))
        runs = (
            f"{timing.number(runs_a_minute(row, s_R))} ({timing.number(runs_a_minute(row, s_R, compiled))})"
        )
        ratio = "–" if own is None or package == OURS else timing.told(timing.ratio(s_R, own), "×")
        made.append(
            (
                f"{part}: {axis}" + f" {value}" * (part in ("many", "growth")),
                package + f" in {processes} processes" * (processes > 1),
                str(cores),
                timing.told(timing.spread(s_R), "").strip(),
                ratio,
                timing.number(compiled),
                runs,
                timing.number(row.bytes / row.members / 1e6) if row.bytes else "–",
            )
        )
    return made


def runs_a_minute(row: Timed, seconds_R: np.ndarray, compiled: float = 0.0) -> float:
    """Trainings of RUN epochs, so many members at a time, at the median, after so many seconds of compilation."""
    return 60 * row.members / (compiled + RUN * float(np.median(seconds_R)) / row.epochs)


def disagreeing(rows: Sequence[Timed]) -> list[str]:
    """Jobs that did not reach the loss of ours at the same task."""
    own = {(r.axis, r.value, r.members, r.epochs): r.loss for r in rows if r.package == OURS}
    wrong = {}
    for r in rows:
        loss = own.get((r.axis, r.value, r.members, r.epochs))
        if loss is not None and not abs(r.loss - loss) <= SAME * abs(loss):
            wrong[key(r)] = f"{r.package}, {r.members} × {r.axis}: {r.loss:.6g}, ours {loss:.6g}"
    return list(wrong.values())


def limits(rows: Sequence[Timed]) -> list[str]:
    """For each size, the time on one core over that of the matrix products alone."""
    found = {k[1]: s_R for k, s_R in seconds(rows).items() if k[0] == "limit"}
    flops = {r.axis: r.loss for r in rows if r.part == "limit"}["product"]
    epochs = {r.axis: r.epochs for r in rows if r.part == "limit"}
    rate_R = flops / found["product"]
    told = [
        f"{timing.told(Spread(*(x / 1e9 for x in timing.spread(rate_R))), 'GFLOP/s')} in a large matrix product"
    ]
    for name in (name for name in found if name != "product"):
        count = operations(SHAPES[name])
        over_R = found[name] / epochs[name] / (count / rate_R)
        told.append(
            f"{name}: {count / 1e9:.3g} GFLOP an epoch, {timing.told(timing.spread(over_R), '×')} the time of "
            "the products alone at that rate"
        )
    return [f"One core: {line}." for line in told]


def divided(rows: Sequence[Timed]) -> list[str]:
    """For each size, what it gains to divide the batches of one training over the cores."""
    told = []
    one = {k: s_R for k, s_R in seconds(rows).items() if k[0] == "one"}
    for k, divided_R in one.items():
        if k[3] == DIVIDED:
            same = {other[3]: s_R for other, s_R in one.items() if other[1] == k[1] and other[3] != DIVIDED}
            beside = ", ".join(
                f"{name} {timing.told(timing.ratio(s_R, divided_R), '×')}" for name, s_R in same.items()
            )
            told.append(
                f"One training ({k[1]}), its batches divided over {k[5]} cores; others take of its time: {beside}."
            )
    return told


def last_line(rows: Sequence[Timed]) -> str:
    """The one figure: the ratio to Flax's own cell scanned."""
    found = seconds(rows)
    one = {k[3]: s_R for k, s_R in reversed(found.items()) if k[0] == "one"}  # the first of the sizes
    ratio = timing.told(timing.ratio(one[EPOCH], one[OURS]), "×")
    return f"One training, Flax's own cell scanned against ours: {ratio} the time"


def compared(rows: Sequence[Timed], missing: dict[str, str]) -> Comparison:
    """Times and ratios, what is not there, whether all trained the same, and the limit."""
    return Comparison(
        "How fast is a training, and how fast are many?",
        last_line(rows),
        comparison.notes(missing, disagreeing(rows), SAME) + divided(rows) + limits(rows),
        "Everything that was timed",
        TITLE,
        COLUMNS,
        cells(rows),
        "Left: the time of one training and of many, by package. Right: the time of ours as one size grows, "
        "and its memory with members.",
    )


def write(folder: Path, rows: Sequence[Timed], told: Comparison) -> None:
    """results.csv, table.md, figure and page."""
    run_folder.write_csv(folder / "results.csv", [row._asdict() for row in rows])
    draw(folder, rows, run_folder.read_json(folder / "config.json")["command"])
    comparison.write(folder, told, {"results.csv": "a row a repetition of a job"})
