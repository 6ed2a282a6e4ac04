"""Runs `python -m experiments.throughput`."""

from experiments.harness import cli
from experiments.throughput import run
from experiments.throughput.jobs import EXPERIMENT, Config, prepare
from experiments.throughput.run import execute

cli.run_plan(EXPERIMENT, Config, prepare, execute, run.__doc__ or "", resumable=False)
