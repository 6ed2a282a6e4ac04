"""One protocol for every experiment: decide, measure, conclude.

    decide    configuration -> decisions      every check; what config.json will say
    measure   decisions -> results            trains or measures; prints nothing but progress
    conclude  decisions, results -> Document  pure: what is reported, and the raw tables

`carry_out` does the rest once for all of them: the folder and its lock, config.json and env.json, status.json,
signals, going on with --resume, timing, and the three writers.
"""

import contextlib
import dataclasses
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from rich.console import Console

from experiments.harness import document, html_page, lock, run_folder
from experiments.harness.document import Document, Origin
from experiments.harness.exits import Interrupted, Stopped

MEASURED = "measured.jsonl"


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """The decisions made before the first step; experiments add fields in a subclass.

    `facts` go into config.json next to the configuration; a resumed run must arrive at the same facts.
    `digest` is the hash of all that results depend on. `part` names the sub-folder if a run has several parts
    (one per series). `command` is the command line as typed; the harness fills it in.
    """

    config: Any
    facts: Mapping[str, Any]
    digest: str = ""
    part: str = ""
    command: str = ""


D = TypeVar("D", bound=Decisions)
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """The surroundings of a measurement: its folder, the terminal, and values measured before a stop.

    `parts` maps sub-folders to their decisions, if parts of the measurement have decisions of their own.
    """

    folder: Path
    console: Console
    measured: dict[str, Any] = field(default_factory=dict)
    experiment: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    parts: dict[str, Decisions] = field(default_factory=dict)

    @contextlib.contextmanager
    def part(self, name: str, decisions: Decisions) -> "Iterator[Workplace]":
        """A sub-folder for a part of the measurement; its config.json holds the decisions for that part."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        run_folder.write_json(folder / "config.json", _stored_as(self.experiment, decisions))
        run_folder.write_json(folder / "env.json", self.environment)
        self.parts[name] = decisions
        with _status(folder):
            yield dataclasses.replace(self, folder=folder, measured={}, parts={})
        run_folder.note_status(folder, "finished")

    def once(self, key: str, measure: Callable[[], Any]) -> Any:
        """Measure a plain JSON value once: it is written as soon as it is known, and read when a run resumes.

        Args:
            key: identifies this measurement within the run.
            measure: called if the run has no value under this key yet.

        Returns:
            The value after a round trip through JSON, whether it was measured now or earlier.
        """
        if key not in self.measured:
            line = json.dumps({"key": key, "value": measure()}, ensure_ascii=False)
            run_folder.append_line(self.folder / MEASURED, line)
            self.measured[key] = json.loads(line)["value"]
        return self.measured[key]


@dataclass(frozen=True, kw_only=True)
class Experiment(Generic[D, R]):
    """An experiment: the question and the functions that the harness calls to answer it.

    name      of the package in experiments/
    config    the dataclass of its flags, with the fields `out` and `resume`
    decide    maps the configuration, and the facts of config.json if a run is resumed (otherwise empty), to
              the decisions of each part in turn; ValueError, TypeError or OSError for the user's errors
    measure   maps decisions and workplace to results; may be stopped at any moment
    conclude  maps decisions and results to a document, or to several with folders of their own
    together  maps all decisions and results of several parts to a document on the whole run, if there is one
    expected  whether results are as they must be; otherwise the command ends with exit code 1
    again     fields that may be given together with --resume; for fields in a tuple, giving one replaces all
    rehearse  prints what would be done and returns True, if the configuration asks only for that
    """

    name: str
    config: type
    decide: Callable[[Any, Mapping[str, Any]], Sequence[D]]
    measure: Callable[[D, Workplace], R]
    conclude: Callable[[D, R], Document | Sequence[Document]]
    together: Callable[[Sequence[D], Sequence[R]], Document | None] = lambda decisions, results: None
    expected: Callable[[R], bool] = lambda results: True
    again: tuple[str | tuple[str, ...], ...] = ()
    rehearse: Callable[[Sequence[D], Console], bool] = lambda decisions, out: False


@dataclass(frozen=True, kw_only=True)
class Job(Generic[D]):
    """A command ready to be carried out; --resume takes its `folder`, and each part has a folder too."""

    folder: Path
    parts: Sequence[tuple[D, Path]]
    stored: Mapping[str, Any]  # the contents of the folder's config.json
    environment: Mapping[str, Any]  # the contents of env.json


def prepare(experiment: Experiment[D, R], config: Any) -> Job[D] | None:
    """Check everything, then make the folder (or open that of --resume) and write the decisions.

    Returns:
        The job; None after a rehearsal, if only that was asked for.

    Raises:
        ValueError, TypeError, OSError: before any file is made, with field, value and what is allowed.
    """
    stored: Mapping[str, Any] = {}
    asked = config
    if config.resume is not None:
        stored, asked = _stored(experiment, config)
    decided = list(experiment.decide(asked, stored))
    command = stored.get("command") or run_folder.command(experiment.name)
    decided = [dataclasses.replace(part, command=command) for part in decided]
    if experiment.rehearse(decided, document.console()):
        return None
    if config.resume is None:
        folder = run_folder.new_folder(config.out, experiment.name)
    else:
        folder = Path(config.resume)
    if len(decided) == 1:
        parts, whole = [(decided[0], folder)], _stored_as(experiment.name, decided[0])
    else:
        parts = [(part, folder / part.part) for part in decided]
        facts = {"runs": [part.part for part in decided]}
        whole = run_folder.decisions(experiment.name, asked, command, facts)
    for part, place in parts:
        if (place / "config.json").exists():
            _compare(place, part)
    environment = _environment(folder)
    for says, place in [
        (whole, folder),
        *((_stored_as(experiment.name, part), place) for part, place in parts),
    ]:
        place.mkdir(exist_ok=True)
        for name, value in (("config.json", says), ("env.json", environment)):
            if not (place / name).exists():
                run_folder.write_json(place / name, value)
    return Job(folder=folder, parts=parts, stored=whole, environment=environment)


def _environment(folder: Path) -> dict[str, Any]:
    """The versions and the machine under which the run was begun."""
    path = folder / "env.json"
    return run_folder.read_json(path) if path.exists() else run_folder.environment()


def _stored_as(experiment: str, part: Decisions) -> dict[str, Any]:
    """The contents of config.json for a part."""
    return run_folder.decisions(experiment, part.config, part.command, facts_of(part))


def facts_of(part: Decisions) -> dict[str, Any]:
    """The entries of config.json besides experiment, command and configuration."""
    return {**part.facts, "hash": part.digest} if part.digest else dict(part.facts)


def carry_out(experiment: Experiment[D, R], config: Any) -> list[R]:
    """Run a whole experiment, as its command does.

    Args:
        experiment: the question.
        config: an instance of `experiment.config`.

    Returns:
        The results of `measure` for each part, in order; empty for a rehearsal.

    Raises:
        ValueError, TypeError, OSError: before anything is measured, for errors that the user must fix.
        lock.InUse: another process works in the folder.
        Interrupted: a signal arrived; everything measured so far is saved.
        RuntimeError: the run is void; its report is still written.
    """
    job = prepare(experiment, config)
    return [] if job is None else finish(experiment, job)


def finish(experiment: Experiment[D, R], job: Job[D]) -> list[R]:
    """Measure, conclude and write every part of a prepared job; raises the same errors as `carry_out`."""
    out = document.console()
    results: list[R] = []
    void: list[str] = []
    with _held(job), _stopped_at(job.folder):
        for part, place in job.parts:
            result, failures = _carry_out(experiment, part, place, job, out)
            results.append(result)
            void += failures
        whole = experiment.together([part for part, _ in job.parts], results) if len(job.parts) > 1 else None
        if whole is not None:
            origin = Origin(stored=job.stored, environment=job.environment, resume=job.folder)
            write(job.folder, whole, origin)
            document.show(out, whole)
    if void:
        raise RuntimeError("; ".join(void))
    return results


def _carry_out(
    experiment: Experiment[D, R], part: D, place: Path, job: Job[D], out: Console
) -> tuple[R, list[str]]:
    began = time.monotonic()
    workplace = Workplace(
        folder=place,
        console=out,
        measured=read_measured(place / MEASURED),
        experiment=experiment.name,
        environment=job.environment,
    )
    with _status(place):
        result = experiment.measure(part, workplace)
        spent = time.monotonic() - began
        concluded = experiment.conclude(part, result)
        documents = [concluded] if isinstance(concluded, Document) else list(concluded)
        for report in documents:
            says = _stored_as(experiment.name, workplace.parts.get(report.folder, part))
            origin = Origin(stored=says, environment=job.environment, resume=job.folder)
            write(place / report.folder, report, origin)
            document.show(out, report)
    total = time.monotonic() - began
    run_folder.note_status(place, "finished", seconds_measuring=round(spent, 1), seconds=round(total, 1))
    page = place / "report.html"
    out.print(
        f"{total:.0f} s. Report: {page}. Raw numbers and figures: {place}", markup=False, soft_wrap=True
    )
    return result, [report.void for report in documents if report.void]


def write(folder: Path, report: Document, origin: Origin) -> None:
    """Write a document's files to its folder, each atomically: raw tables, figures, table.md, report.html."""
    from experiments.harness import figures  # no measurement waits for matplotlib

    for name, rows in report.tables.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        run_folder.write_csv(folder / name, rows)
    for name, figure in document.figures(report).items():
        figures.write(folder, name, figure.draw(), figure.caption, origin.stored["command"])
    if text := document.markdown(report):
        run_folder.write_text(folder / "table.md", text.rstrip() + "\n")
    html_page.write(folder, report, origin)


def read_measured(path: Path) -> dict[str, Any]:
    """The values that a run has measured so far; a truncated last line is measured again."""
    return {row["key"]: row["value"] for row in run_folder.read_lines(path)}


@contextlib.contextmanager
def _held(job: Job[Any]) -> Iterator[None]:
    """Keep other processes out of every folder of the job."""
    with contextlib.ExitStack() as held:
        for place in dict.fromkeys([job.folder, *(place for _, place in job.parts)]):
            if taken_over := held.enter_context(lock.hold(place)):
                print(taken_over, file=sys.stderr)
        yield


@contextlib.contextmanager
def _status(place: Path) -> Iterator[None]:
    """Record in status.json whether the part runs, was stopped or failed; its other entries stay."""
    run_folder.note_status(place, "running")
    try:
        yield
    except (KeyboardInterrupt, Interrupted):
        run_folder.note_status(place, "interrupted")
        raise
    except BaseException:
        run_folder.note_status(place, "failed")
        raise


@contextlib.contextmanager
def _stopped_at(folder: Path) -> Iterator[None]:
    """Make the error that a signal raises name the folder that --resume takes."""
    try:
        yield
    except (Interrupted, Stopped) as e:
        raise Interrupted(e.signum, folder) from e
    except KeyboardInterrupt as e:
        raise Interrupted(signal.SIGINT, folder) from e


def _stored(experiment: Experiment[Any, Any], config: Any) -> tuple[dict[str, Any], Any]:
    """config.json of the resumed run, and its configuration with the new values of fields in `again`."""
    folder = Path(config.resume)
    given = {f.name for f in dataclasses.fields(config) if getattr(config, f.name) != _default(f)}
    groups = [(names,) if isinstance(names, str) else names for names in experiment.again]
    if others := sorted(given.difference(["resume"], *groups)):
        raise ValueError(f"resume: the configuration is read from {folder}; leave out {', '.join(others)}")
    stored = run_folder.read_json(folder / "config.json")
    if stored.get("experiment") != experiment.name:
        raise ValueError(
            f"resume: {folder} is a run of {stored.get('experiment')}; allowed: one of {experiment.name}"
        )
    known = run_folder.config_of(experiment.config, stored["config"])
    again = {name: getattr(config, name) for names in groups if given & set(names) for name in names}
    return stored, dataclasses.replace(known, **again)


def _default(of: dataclasses.Field[Any]) -> Any:
    return of.default_factory() if of.default_factory is not dataclasses.MISSING else of.default


def _compare(place: Path, part: Decisions) -> None:
    """Raise ValueError if a resumed run would now decide differently."""
    stored = run_folder.read_json(place / "config.json")
    now = json.loads(json.dumps(facts_of(part)))
    for name, value in now.items():
        if stored.get(name) != value:
            raise ValueError(
                f"resume: {place} was begun with another {name}: {_short(stored.get(name))}, now {_short(value)}; "
                "allowed: the same data and the same decisions"
            )


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"
