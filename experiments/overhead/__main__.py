"""Runs `python -m experiments.overhead`."""

from experiments.harness import cli
from experiments.overhead import run

cli.run(run.EXPERIMENT, run.__doc__ or "")
