"""Runs `python -m experiments.monitoring`."""

from experiments.harness import cli
from experiments.monitoring import run
from experiments.monitoring.config import MONITORING, Config, prepare
from experiments.monitoring.run import execute

cli.run_plan(MONITORING.name, Config, prepare, execute, run.__doc__ or "")
