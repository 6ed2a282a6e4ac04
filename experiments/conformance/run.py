"""Do the real packages do what the presets say?

    python -m experiments.conformance                      the packages that this Python has (extra `peers`)
    python -m experiments.conformance --python PYTHON      those of another Python

Keras, on JAX and on TensorFlow, and PyTorch train the same network from the same weights on the same batches as the
presets here, scikit-learn and skorch a dense one, each in a process of its own; nothing recorded is read. Losses are
compared epoch by epoch. A package that is not installed is named, row by row. Runtime: four to five minutes on two
cores. Expected: in float32 losses agree to 1e-6 and weights to 5e-5, in float64 both to 1e-9. Ends with exit code 1
if a row disagrees.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.conformance import dense_rows, ours, report
from experiments.conformance import rows as ro
from experiments.conformance.report import Finding
from experiments.harness import run_folder
from experiments.harness.experiment import Decisions, Experiment, Workplace, carry_out
from experiments.harness.peers import process

DATA = "data.npz"  # file with the data that both train on, in the folder
LIMIT = 900.0  # seconds for each package
PEERS = {
    "jax": ("keras", "Keras on JAX"),
    "tensorflow": ("keras", "Keras on TensorFlow"),
    "torch": ("torch", "PyTorch"),
    "sklearn": ("sklearn", "scikit-learn"),
    "skorch": ("skorch", "skorch"),
}


@dataclass(frozen=True)
class Config:
    """What can be asked for."""

    python: str | None = None
    """the Python that has the packages, if it is not this one"""
    out: str | None = None
    """folder for the results, new or empty; by default a new one under runs/"""
    resume: str | None = None
    """folder of an interrupted run: continue it, with the configuration stored in it"""


def decide(config: Config, stored: Mapping[str, Any]) -> list[Decisions]:
    """Check. ValueError before anything is run."""
    process.check_python("python", config.python)
    jax.config.update("jax_platforms", "cpu")
    allowed = {"losses": ro.LOSSES, "weights": ro.WEIGHTS, "either in float64": ro.WIDE}
    return [Decisions(config=config, facts={"allowed": allowed})]


def measure(decisions: Decisions, workplace: Workplace) -> list[Finding]:
    """Compare each package's answer, once it arrives, with this library's trainings of the same rows."""
    out, folder = workplace.console, workplace.folder
    out.print(
        f"{len(dense_rows.ROWS)} rows; four to five minutes on two cores. Ctrl-C stops it, --resume continues."
    )
    np.savez(folder / DATA, allow_pickle=False, **ro.ARRAYS, **dense_rows.arrays())
    running: list[subprocess.Popen] = []
    findings: dict[str, list[Finding]] = {}

    def conclude(backend: str, answer: dict[str, Any]) -> None:
        seen = next(answer[key] for key in ("version", "why_not", "failed") if key in answer)
        out.print(f"{PEERS[backend][1]}: {seen}", markup=False)
        trained = {name: _ours(workplace, name) for name in answer.get("rows", ())}
        findings[backend] = compare(backend, answer, trained)

    with ThreadPoolExecutor(len(PEERS)) as pool:
        try:
            asked = {
                pool.submit(ask, decisions.config.python, folder, backend, running): backend
                for backend in PEERS
                if backend not in workplace.measured
            }
            for backend in set(PEERS) - set(asked.values()):
                conclude(backend, workplace.measured[backend])
            for future in as_completed(asked):
                conclude(asked[future], workplace.once(asked[future], future.result))
        except BaseException:
            for popen in running:
                popen.kill()
            raise
    return [finding for backend in PEERS for finding in findings[backend]]


def _ours(workplace: Workplace, name: str) -> tuple[np.ndarray, np.ndarray] | None:
    """The result of `ours.ours`, stored once per run; None if the package is expected to raise."""
    row = dense_rows.ROWS[name]
    if row.learner is None:
        return None
    log_E2, weights = workplace.once(f"ours, {name}", lambda: [a.tolist() for a in ours.ours(row)])
    return np.array(log_E2), np.array(weights)


def ask(python: str | None, folder: Path, backend: str, running: list[subprocess.Popen]) -> dict[str, Any]:
    """A package's answer on its rows, from a process of its own, which is appended to `running`.
    It has the key `why_not` if the package is missing, and `failed` if the process failed."""
    data, asked, answer = (folder / name for name in (DATA, f"{backend}.told.json", f"{backend}.json"))
    rows = {name: row.told for name, row in dense_rows.ROWS.items() if backend in row.backends}
    common = {"epochs": ro.EPOCHS, "batch": ro.BATCH, "hidden": ro.HIDDEN, "rate": ro.RATE}
    run_folder.write_json(asked, {"common": common, "rows": rows})
    script = Path(__file__).parent / "scripts" / f"{PEERS[backend][0]}_rows.py"
    shared = str(Path(process.__file__).with_name("scripts"))  # where the scripts find loop_peer.py
    environment = {"JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"} | os.environ
    environment |= {"KERAS_BACKEND": backend, "PYTHONPATH": shared}
    command = [python or sys.executable, "-W", "ignore", *map(str, (script, data, asked, answer))]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as popen:
        running.append(popen)
        try:
            _, errors = popen.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            popen.kill()
            return {"failed": f"no answer within {LIMIT:.0f} s"}
    if popen.returncode:
        lines = errors.splitlines()
        return {
            "failed": f"it ended with {popen.returncode}: {lines[-1] if lines else 'and printed nothing'}"
        }
    return json.loads(answer.read_text(encoding="utf-8"))


def compare(backend: str, answer: dict[str, Any], trained: Mapping[str, Any]) -> list[Finding]:
    """A finding for every row of this package, from its answer and our trainings alone."""
    return [
        _finding(name, row, PEERS[backend][1], answer, trained.get(name))
        for name, row in dense_rows.ROWS.items()
        if backend in row.backends and name in answer.get("rows", dense_rows.ROWS)
    ]


def _finding(name: str, row: ro.Row, package: str, answer: dict[str, Any], trained: Any) -> Finding:
    def finding(seen: str, verdict: str, **differences: Any) -> Finding:
        fields = {
            "row": name,
            "package": package,
            "expected": row.expected,
            "version": answer.get("version", ""),
        }
        return Finding(**fields, seen=seen, verdict=verdict, **differences)

    if "why_not" in answer:
        return finding(answer["why_not"], "not checked")
    if "failed" in answer:
        return finding(answer["failed"], "disagrees")
    theirs = answer["rows"][name]
    if "raised" in theirs:
        kind = theirs["raised"].partition(":")[0]
        return finding(f"raises {theirs['raised'][:80]}", "agrees" if kind == row.raises else "disagrees")
    if trained is None:
        return finding("runs", "disagrees")
    log_E2 = np.array([pair or (np.nan, np.nan) for pair in theirs["log"]])
    weight = float(np.abs(ours.theirs(name, row, theirs["weights"]) - trained[1]).max())
    ran_E, here_E = (np.isfinite(log_E2[:, 0]) for log_E2 in (log_E2, trained[0]))
    loss_E = np.abs(log_E2 - trained[0]).max(axis=1)
    seen = f"{ran_E.sum()} epochs" + f", here {here_E.sum()}" * bool((ran_E != here_E).any())
    losses, weights = (ro.WIDE, ro.WIDE) if row.wide else (ro.LOSSES, ro.WEIGHTS)
    close = bool((loss_E[ran_E] <= losses).all() and weight <= weights)
    verdict = "agrees" if close and ran_E.any() and (ran_E == here_E).all() else "disagrees"
    return finding(seen, verdict, loss_E=tuple(loss_E.tolist()), weight=weight)


def expected(findings: list[Finding]) -> bool:
    """Whether no row disagrees."""
    return all(finding.verdict != "disagrees" for finding in findings)


EXPERIMENT = Experiment(
    name="conformance",
    config=Config,
    decide=decide,
    measure=measure,
    conclude=report.conclude,
    expected=expected,
)


def main(config: Config | None = None) -> list[Finding]:
    """The whole command, for Python. ValueError for what the command line would refuse."""
    [findings] = carry_out(EXPERIMENT, Config() if config is None else config)
    return findings
