"""Runs `python -m experiments.faults`."""

from experiments.faults import run
from experiments.faults.run import EXPERIMENT, Config, execute, held, prepare
from experiments.harness import cli

cli.run_plan(EXPERIMENT, Config, prepare, execute, run.__doc__ or "", held, resumable=False)
