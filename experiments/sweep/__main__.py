"""Runs `python -m experiments.sweep`."""

from experiments.harness import cli
from experiments.sweep import run
from experiments.sweep.config import Config
from experiments.sweep.run import EXPERIMENT, execute, held, prepare

cli.run_plan(EXPERIMENT, Config, prepare, execute, run.__doc__ or "", held)
