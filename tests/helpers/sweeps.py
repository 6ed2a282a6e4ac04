"""A sweep carried out within this process."""

import dataclasses

from experiments.sweep import run as sweep
from experiments.sweep.engines import base, local_engine
from experiments.sweep.task import run as task


def in_process(folders, workers, retries, tell=lambda event: None):
    """An engine of no processes."""
    found = {}
    for folder in folders:
        found[folder] = task.run(str(folder))
        tell(base.Event(folder, found[folder]["state"]))
    return found


def run(config, out, monkeypatch, engine=in_process):
    monkeypatch.setattr(local_engine, "run", engine)
    return sweep.main(dataclasses.replace(config, out=str(out)))
