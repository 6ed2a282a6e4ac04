"""Runs `python -m experiments.conformance`."""

from experiments.conformance import run
from experiments.harness import cli

cli.run(run.EXPERIMENT, run.__doc__ or "")
