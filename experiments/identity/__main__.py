"""Runs `python -m experiments.identity`."""

from experiments.harness import cli
from experiments.identity import run
from experiments.identity.design import EXPERIMENT, Config, prepare
from experiments.identity.run import execute, held

cli.run_plan(EXPERIMENT, Config, prepare, execute, run.__doc__ or "", held, resumable=False)
