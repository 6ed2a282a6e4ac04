"""What every experiment's command line does: parse, refuse in a sentence, stop when told to, end with a code."""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import tyro

from experiments.harness import exits, lock, run_folder
from experiments.harness.exits import EXIT, Interrupted, Stopped, raise_stopped


def run(
    experiment: str,
    config: type,
    prepare: Callable[[Any], Any],
    execute: Callable[[Any], Any],
    description: str,
    held: Callable[[Any], bool] = lambda found: True,
    resumable: bool = True,
) -> None:
    """Parse the flags and run. What `prepare` refuses is the user's to mend: one sentence and exit code 2.

    `held`: whether what `execute` found is as expected; exit code 1 where not.
    """
    asked = tyro.cli(config, prog=f"python -m experiments.{experiment}", description=description)
    plan = None
    try:
        with raise_stopped():
            try:
                plan = prepare(asked)
            except (ValueError, TypeError, OSError) as e:
                raise exits.Refused(str(e)) from e
            found = execute(plan)
    except (exits.Refused, lock.InUse) as e:
        print(f"{experiment}: {e}", file=sys.stderr)
        sys.exit(e.code if isinstance(e, exits.Refused) else 2)
    except OSError as e:
        if e.errno not in exits.FULL:
            raise
        print(
            f"{experiment}: {e}; what was trained is saved, and --resume with the folder goes on",
            file=sys.stderr,
        )
        sys.exit(exits.IO_ERROR)
    except Interrupted as e:
        resume = f"python -m experiments.{experiment} --resume {e.folder}"
        print(
            f"stopped by {signal.Signals(e.signum).name}; all is saved. To go on: {resume}", file=sys.stderr
        )
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(EXIT[signal.Signals(e.signum)])  # the interpreter would take a second more to end
    except KeyboardInterrupt as e:  # before or after the training, where there is nothing to finish first
        if resumable:
            print("stopped; what was trained is saved, and --resume with the folder goes on", file=sys.stderr)
        elif plan is not None:
            run_folder.write_status(plan.folder, "interrupted")
            print(f"stopped; {plan.folder} holds no results", file=sys.stderr)
        sys.exit(EXIT[signal.Signals(e.signum) if isinstance(e, Stopped) else signal.SIGINT])
    if not held(found):
        sys.exit(1)
