"""Runs `python -m experiments.sweep.task`."""

import sys

from experiments.sweep.task.run import main

sys.exit(main(sys.argv[1:]))
