"""Runs `python -m experiments.audit`."""

from experiments.audit import run
from experiments.harness import cli

cli.run(run.AUDIT, run.__doc__ or "")
