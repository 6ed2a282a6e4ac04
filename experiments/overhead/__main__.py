"""Runs `python -m experiments.overhead`."""

from experiments.harness import cli
from experiments.overhead import run
from experiments.overhead.run import EXPERIMENT, Config, execute, prepare

cli.run_plan(EXPERIMENT, Config, prepare, execute, run.__doc__ or "", resumable=False)
