"""Runs `python -m experiments.claims`."""

from experiments.claims import run
from experiments.harness import cli

cli.run(run.EXPERIMENT, run.__doc__ or "")
