"""Runs `python -m experiments.refit`."""

from experiments.harness import cli
from experiments.refit import run
from experiments.refit.config import REFIT, Config, prepare
from experiments.refit.run import execute

cli.run_plan(REFIT.name, Config, prepare, execute, run.__doc__ or "")
