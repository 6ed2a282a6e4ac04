"""Runs `python -m experiments.claims`."""

from experiments.claims import run
from experiments.claims.config import EXPERIMENT, Config, prepare
from experiments.claims.run import execute
from experiments.harness import cli

cli.run_plan(EXPERIMENT, Config, prepare, execute, run.__doc__ or "", resumable=False)
