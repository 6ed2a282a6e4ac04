"""Runs `python -m experiments.faults`."""

from experiments.faults import run
from experiments.harness import cli

cli.run(run.EXPERIMENT, run.__doc__ or "")
