"""Do the real packages do what the presets say of them?

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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import command_line, comparison, conformance_ours, conformance_report, peers, record, report
from experiments import conformance_dense as D
from experiments import conformance_rows as R
from experiments.conformance_report import Finding

EXPERIMENT = "conformance"
DATA = "data.npz"  # what both train on, in the folder
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


class Plan(NamedTuple):
    """What is decided before the first step."""

    config: Config
    folder: Path


def prepare(config: Config) -> Plan:
    """Check and make the folder. ValueError before anything is run."""
    peers.check_python("python", config.python)
    jax.config.update("jax_platforms", "cpu")
    plan = Plan(config, record.new_folder(config.out, EXPERIMENT))
    allowed = {"losses": R.LOSSES, "weights": R.WEIGHTS, "either in float64": R.WIDE}
    record.decide(plan.folder, EXPERIMENT, config, {"allowed": allowed})
    np.savez(plan.folder / DATA, allow_pickle=False, **R.ARRAYS, **D.arrays())
    return plan


def execute(plan: Plan) -> list[Finding]:
    """Run, compare, write and print."""
    findings = []
    with (
        report.running(plan.folder, "Table, every epoch and page") as out,
        ThreadPoolExecutor(len(PEERS)) as pool,
    ):
        out.print(
            f"{len(D.ROWS)} rows; four to five minutes on two cores. Ctrl-C stops it. Results: {plan.folder}"
        )
        asked = {backend: pool.submit(ask, plan, backend) for backend in PEERS}
        own = {name: conformance_ours.ours(row) for name, row in D.ROWS.items() if row.learner is not None}
        for backend, answer in asked.items():
            said = answer.result()
            what = next(said[key] for key in ("version", "why_not", "failed") if key in said)
            out.print(f"{PEERS[backend][1]}: {what}", markup=False)
            findings += compare(backend, said, own)
        told = conformance_report.compared(findings)
        conformance_report.write(plan.folder, findings, told)
        comparison.say(out, told)
    return findings


def ask(plan: Plan, backend: str) -> dict[str, Any]:
    """What one package says of its rows, in a process of its own; `why_not` where it is missing, `failed` where that
    process ended otherwise than it should."""
    data, told, said = (plan.folder / name for name in (DATA, f"{backend}.told.json", f"{backend}.json"))
    rows = {name: row.told for name, row in D.ROWS.items() if backend in row.backends}
    common = {"epochs": R.EPOCHS, "batch": R.BATCH, "hidden": R.HIDDEN, "rate": R.RATE}
    record.write_json(told, {"common": common, "rows": rows})
    script = Path(__file__).with_name(f"{EXPERIMENT}_{PEERS[backend][0]}.py")
    environment = (
        {"JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"} | os.environ | {"KERAS_BACKEND": backend}
    )
    command = [plan.config.python or sys.executable, "-W", "ignore", *map(str, (script, data, told, said))]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return {"failed": f"no answer within {LIMIT:.0f} s"}
    if done.returncode:
        errors = done.stderr.splitlines()
        return {"failed": f"it ended with {done.returncode}: {errors[-1] if errors else 'and said nothing'}"}
    return json.loads(said.read_text(encoding="utf-8"))


def compare(backend: str, said: dict[str, Any], own: dict[str, Any]) -> list[Finding]:
    """A finding for every row of this backend, from what was said and trained alone."""
    return [
        _finding(name, D.ROWS[name], PEERS[backend][1], said, own.get(name))
        for name in D.ROWS
        if backend in D.ROWS[name].backends and name in said.get("rows", D.ROWS)
    ]


def _finding(name: str, row: R.Row, package: str, said: dict[str, Any], own: Any) -> Finding:
    def found(
        seen: str, verdict: str, loss_E: tuple[float, ...] = (), weight: float = float("nan")
    ) -> Finding:
        return Finding(name, package, row.expected, seen, said.get("version", ""), loss_E, weight, verdict)

    if "why_not" in said:
        return found(said["why_not"], "not checked")
    if "failed" in said:
        return found(said["failed"], "disagrees")
    theirs = said["rows"][name]
    if "raised" in theirs:
        kind = theirs["raised"].partition(":")[0]
        return found(f"raises {theirs['raised'][:80]}", "agrees" if kind == row.raises else "disagrees")
    if own is None:
        return found("runs", "disagrees")
    log_E2 = np.array([pair or (np.nan, np.nan) for pair in theirs["log"]])
    weight = float(np.abs(conformance_ours.theirs(name, row, theirs["weights"]) - own[1]).max())
    ran, here = (np.isfinite(log_E2[:, 0]) for log_E2 in (log_E2, own[0]))
    loss_E = np.abs(log_E2 - own[0]).max(axis=1)
    trained = f"{ran.sum()} epochs" + f", here {here.sum()}" * bool((ran != here).any())
    losses, weights = (R.WIDE, R.WIDE) if row.wide else (R.LOSSES, R.WEIGHTS)
    close = bool((loss_E[ran] <= losses).all() and weight <= weights)
    verdict = "agrees" if close and ran.any() and (ran == here).all() else "disagrees"
    return found(trained, verdict, tuple(loss_E.tolist()), weight)


def main(config: Config | None = None) -> list[Finding]:
    """The whole command, for Python. ValueError for what the command line would refuse."""
    return execute(prepare(Config() if config is None else config))


def held(found: list[Finding]) -> bool:
    """Whether every expectation was met."""
    return all(finding.verdict != "disagrees" for finding in found)


if __name__ == "__main__":
    command_line.run(EXPERIMENT, Config, prepare, execute, __doc__ or "", held, resumable=False)
