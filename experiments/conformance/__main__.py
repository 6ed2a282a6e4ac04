"""Runs `python -m experiments.conformance`."""

from experiments.conformance import run
from experiments.conformance.run import EXPERIMENT, Config, execute, held, prepare
from experiments.harness import cli

cli.run_plan(EXPERIMENT, Config, prepare, execute, run.__doc__ or "", held, resumable=False)
