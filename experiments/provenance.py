"""Where a page's numbers come from, the same for every experiment: data, configuration, versions, commands, files."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments import curves, page
from experiments.setting import Setting
from experiments.source import Source

FILES = {
    "config.json": "the configuration, what was decided before the first step, and the command",
    "env.json": "versions, devices, flags and the state of the source",
    "status.json": "how far the run came, and its seconds",
    "metrics.jsonl": "every epoch of every training: the raw curves",
    "results.csv": "a row a training: what is compared",
    "effects.csv": "a row an arm and metric: what is concluded",
    "table.md": "the answer and the effects as Markdown",
    "figure.svg": "the first picture of this page",
    "figure.png": "the same in pixels",
    "results.parquet": "the same with types",
    "curves.npz": "every epoch of every training, [cell, epoch]",
    "timing.csv": "a row a task: seconds, attempts, host and versions",
    "sweep.log": "what was said meanwhile",
    "tasks": "a folder a process: what it was to do, what it said and found",
    "tuning": "every rate that was tried for each arm",
    "best_rate": "the same comparison with each arm at its own best rate, and a page of its own",
    "checkpoint": "what --resume continues from",
    "resumed.jsonl": "a row for each time that it did: from which epoch, under which versions",
    "peers.log": "what other packages printed",
}


def data(setting: Setting, source: Source) -> str:
    """What was learned from, and where it was cut."""
    extents = source.split.extents
    parts = page.table(
        ("part", "rows", "windows", "first", "last"),
        extents,
        "Parts, in order of time; none holds a row of another.",
    )
    facts = page.table(("name", "value"), flat(source.understood), "What was understood of the data")
    if source.series is None:
        text = "Ready-made samples, cut in their order: there is no time to draw."
        return page.paragraph(f"{source.name}. {text}") + parts + facts
    scale, target = source.split.scale, source.series.columns[0]
    text = (
        f"{source.name}, {source.series.target}. A window is {setting.window} rows, its target {setting.horizon} ahead "
        f"of the last. The target is standardised by the training part alone: mean {scale.mean_F[0]:.4g}, standard "
        f"deviation {scale.std_F[0]:.4g}."
    )
    drawn = page.figure(
        curves.timeline(source.series, extents),
        "The target over time, with the training, validation and test parts shaded and gaps marked.",
        f"The target, {target}, in its own unit. The line is broken where rows are missing; a tick below marks a gap.",
    )
    return page.paragraph(text) + drawn + parts + facts


def configuration(stored: Mapping[str, Any], environment: Mapping[str, Any]) -> str:
    """All that was set, and what it ran on."""
    facts = {key: value for key, value in stored.items() if key not in ("config", "command")}
    return "\n".join(
        page.table(("name", "value"), flat(values), title)
        for title, values in (
            ("Settings", stored["config"]),
            ("Decided before the first step", facts),
            ("Versions and machine", environment),
        )
    )


def flat(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values as rows; those of a mapping inside have its name before theirs."""
    rows = []
    for key, value in values.items():
        inside = value.items() if isinstance(value, Mapping) and value else [(None, value)]
        rows += [(key if k is None else f"{key}.{k}", _plain(v)) for k, v in inside]
    return rows


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def again(folder: Path, stored: Mapping[str, Any], environment: Mapping[str, Any]) -> str:
    """Commands, exactly."""
    git = environment["git"]
    changed = ", with changes that were not committed" * bool(git["changed"])
    state = f"commit {git['commit']}{changed}" if git["commit"] else "no commit is known"
    resume = f"python -m experiments.{stored['experiment']} --resume {shlex.quote(str(folder))}"
    return "".join(
        (
            page.paragraph(
                f"From a checkout of the source ({state}), train everything again; the folder must be new:"
            ),
            page.commands([stored["command"]]),
            page.paragraph(
                "Make the tables, pictures and this page again from what was stored, training only what is missing:"
            ),
            page.commands([resume]),
            page.paragraph("The same versions on the same kind of machine give the same bits."),
        )
    )


def raw_files(folder: Path, more: dict[str, str] | None = None) -> str:
    """What lies beside the page; `more` says what those are that only this experiment writes, or writes otherwise."""
    known = FILES | (more or {})
    names = sorted(p.name for p in folder.iterdir() if p.suffix != ".part" and p.name != "report.html")
    return page.files((name, known.get(name, "")) for name in names)
