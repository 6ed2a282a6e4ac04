"""Runs `python -m experiments.throughput`."""

from experiments.harness import cli
from experiments.throughput import run

cli.run(run.EXPERIMENT, run.__doc__ or "")
