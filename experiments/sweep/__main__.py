"""Runs `python -m experiments.sweep`."""

from experiments.harness import cli
from experiments.sweep import run

cli.run(run.EXPERIMENT, run.__doc__ or "")
