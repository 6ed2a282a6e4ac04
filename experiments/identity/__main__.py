"""Runs `python -m experiments.identity`."""

from experiments.harness import cli
from experiments.identity import run

cli.run(run.EXPERIMENT, run.__doc__ or "")
