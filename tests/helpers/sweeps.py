"""A sweep carried out within this process."""

import dataclasses

from experiments.sweep import run as sweep
from experiments.sweep.engines import base, local_engine
from experiments.sweep.task import run as task


def in_process(folders, workers, retries, notify=base.ignore):
    """An engine without processes."""
    ended = {}
    for folder in folders:
        ended[folder] = task.run(str(folder))
        notify(base.Event(folder=folder, kind=ended[folder]["state"]))
    return ended


def run(config, out, monkeypatch, engine=in_process):
    monkeypatch.setattr(local_engine, "run", engine)
    return sweep.main(dataclasses.replace(config, out=str(out)))
