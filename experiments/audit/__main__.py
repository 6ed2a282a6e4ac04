"""Runs `python -m experiments.audit`."""

from experiments.audit import run
from experiments.audit.run import Config, execute, prepare
from experiments.harness import cli

cli.run_plan("audit", Config, prepare, execute, run.__doc__ or "")
