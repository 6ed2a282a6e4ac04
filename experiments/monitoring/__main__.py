"""Runs `python -m experiments.monitoring`."""

from experiments.harness import cli
from experiments.monitoring import run

cli.run(run.EXPERIMENT, run.__doc__ or "")
