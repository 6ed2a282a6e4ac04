"""The command line of every experiment: parses flags, reports errors in a sentence, sets the exit code."""

import os
import signal
import sys
from typing import Any

from experiments.harness import exits, experiment, lock
from experiments.harness.exits import EXIT, Interrupted, Stopped, raise_stopped
from experiments.harness.experiment import Experiment


def run(question: Experiment[Any, Any], description: str) -> None:
    """Parse the flags and carry the experiment out.

    Exit codes: 0 for success; 1 if a result is not as expected; 2 for an error that the user must fix; 74 if
    nothing more can be written; 130 for Ctrl-C and 75 for another signal, after which --resume continues.
    """
    import tyro

    name = question.name
    config = tyro.cli(question.config, prog=f"python -m experiments.{name}", description=description)
    try:
        with raise_stopped():
            try:
                job = experiment.prepare(question, config)
            except (ValueError, TypeError, OSError) as e:
                raise exits.Refused(str(e)) from e
            results = [] if job is None else experiment.finish(question, job)
    except exits.Refused as e:
        print(f"{name}: {e}", file=sys.stderr)
        sys.exit(e.code)
    except lock.InUse as e:
        print(f"{name}: {e}", file=sys.stderr)
        sys.exit(2)
    except OSError as e:
        if e.errno not in exits.FULL:
            raise
        print(
            f"{name}: {e}; what was measured is saved, and --resume with the folder goes on", file=sys.stderr
        )
        sys.exit(exits.IO_ERROR)
    except Interrupted as e:
        signum = signal.Signals(e.signum)
        print(
            f"stopped by {signum.name}; what was measured is saved. To go on: "
            f"python -m experiments.{name} --resume {e.folder}",
            file=sys.stderr,
        )
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(EXIT[signum])  # shutting the interpreter down would take another second
    except KeyboardInterrupt as e:  # before there is a folder
        print("stopped before anything was measured", file=sys.stderr)
        sys.exit(EXIT[signal.Signals(e.signum) if isinstance(e, Stopped) else signal.SIGINT])
    if not all(map(question.expected, results)):
        sys.exit(1)
