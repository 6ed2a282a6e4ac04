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

from experiments.conformance import dense_rows, ours
from experiments.conformance import report as re
from experiments.conformance import rows as ro
from experiments.conformance.report import Finding
from experiments.harness import report, run_folder
from experiments.harness.peers import comparison, process

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
    process.check_python("python", config.python)
    jax.config.update("jax_platforms", "cpu")
    plan = Plan(config, run_folder.new_folder(config.out, EXPERIMENT))
    allowed = {"losses": ro.LOSSES, "weights": ro.WEIGHTS, "either in float64": ro.WIDE}
    run_folder.decide(plan.folder, EXPERIMENT, config, {"allowed": allowed})
    np.savez(plan.folder / DATA, allow_pickle=False, **ro.ARRAYS, **dense_rows.arrays())
    return plan


def execute(plan: Plan) -> list[Finding]:
    """Run, compare, write and print."""
    findings = []
    with (
        report.running(plan.folder, "Table, every epoch and page") as out,
        ThreadPoolExecutor(len(PEERS)) as pool,
    ):
        out.print(
            f"{len(dense_rows.ROWS)} rows; four to five minutes on two cores. Ctrl-C stops it. Results: {plan.folder}"
        )
        asked = {backend: pool.submit(ask, plan, backend) for backend in PEERS}
        own = {name: ours.ours(row) for name, row in dense_rows.ROWS.items() if row.learner is not None}
        for backend, answer in asked.items():
            said = answer.result()
            what = next(said[key] for key in ("version", "why_not", "failed") if key in said)
            out.print(f"{PEERS[backend][1]}: {what}", markup=False)
            findings += compare(backend, said, own)
        told = re.compared(findings)
        re.write(plan.folder, findings, told)
        comparison.say(out, told)
    return findings


def ask(plan: Plan, backend: str) -> dict[str, Any]:
    """What one package says of its rows, in a process of its own; `why_not` where it is missing, `failed` where that
    process ended otherwise than it should."""
    data, told, said = (plan.folder / name for name in (DATA, f"{backend}.told.json", f"{backend}.json"))
    rows = {name: row.told for name, row in dense_rows.ROWS.items() if backend in row.backends}
    common = {"epochs": ro.EPOCHS, "batch": ro.BATCH, "hidden": ro.HIDDEN, "rate": ro.RATE}
    run_folder.write_json(told, {"common": common, "rows": rows})
    script = Path(__file__).parent / "scripts" / f"{PEERS[backend][0]}_rows.py"
    shared = str(Path(process.__file__).with_name("scripts"))  # where the scripts find loop_peer.py
    environment = {"JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"} | os.environ
    environment |= {"KERAS_BACKEND": backend, "PYTHONPATH": shared}
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
        _finding(name, dense_rows.ROWS[name], PEERS[backend][1], said, own.get(name))
        for name in dense_rows.ROWS
        if backend in dense_rows.ROWS[name].backends and name in said.get("rows", dense_rows.ROWS)
    ]


def _finding(name: str, row: ro.Row, package: str, said: dict[str, Any], own: Any) -> Finding:
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
    weight = float(np.abs(ours.theirs(name, row, theirs["weights"]) - own[1]).max())
    ran, here = (np.isfinite(log_E2[:, 0]) for log_E2 in (log_E2, own[0]))
    loss_E = np.abs(log_E2 - own[0]).max(axis=1)
    trained = f"{ran.sum()} epochs" + f", here {here.sum()}" * bool((ran != here).any())
    losses, weights = (ro.WIDE, ro.WIDE) if row.wide else (ro.LOSSES, ro.WEIGHTS)
    close = bool((loss_E[ran] <= losses).all() and weight <= weights)
    verdict = "agrees" if close and ran.any() and (ran == here).all() else "disagrees"
    return found(trained, verdict, tuple(loss_E.tolist()), weight)


def main(config: Config | None = None) -> list[Finding]:
    """The whole command, for Python. ValueError for what the command line would refuse."""
    return execute(prepare(Config() if config is None else config))


def held(found: list[Finding]) -> bool:
    """Whether every expectation was met."""
    return all(finding.verdict != "disagrees" for finding in found)
