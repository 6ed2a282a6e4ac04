"""Runs `python -m experiments.refit`."""

from experiments.harness import cli
from experiments.refit import run

cli.run(run.EXPERIMENT, run.DESCRIPTION)
