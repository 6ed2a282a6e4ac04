"""Which engine is chosen, and which options are refused before anything is planned."""

import shutil
import sys

import pytest

from experiments.sweep.config import Config
from experiments.sweep.engines import choice, slurm_engine
from experiments.sweep.engines.options import Cluster, Slurm


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Config(cluster=Cluster(cpus=0)), "cpus: 0, gpus: 0; allowed: 0 or more, and not both 0"),
        (Config(cluster=Cluster(address="auto")), "address: auto with engine local; allowed: with ray"),
        (Config(engine="submitit", slurm=Slurm(time="4h")), "slurm.time: 4h; allowed: "),
        (Config(engine="submitit"), "srun is not found here; allowed: --slurm.local"),
    ],
)
def test_options_that_cannot_be_are_refused(config, message, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda program: None)
    with pytest.raises(ValueError) as refused:
        choice.check(config)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("config", "package", "extra"),
    [
        (Config(engine="ray", cluster=Cluster("auto")), "ray", "ray"),
        (Config(engine="submitit"), "submitit", "slurm"),
    ],
)
def test_a_missing_package_is_refused_before_anything_is_planned(config, package, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=rf"engine: {package} is not .*pip install 'lstm_sched\[{extra}\]'"):
        choice.check(config)


@pytest.mark.parametrize(("time", "minutes"), [("04:00:00", 240), ("1-00:00:01", 1441), ("0:01:00", 1)])
def test_a_time_is_read_as_slurm_writes_it(time, minutes):
    assert slurm_engine.minutes(time) == minutes


@pytest.mark.parametrize("time", ["4h", "10:00", "-1:00:00", "a-00:00:01", "00:00:00"])
def test_another_time_is_refused(time):
    with pytest.raises(ValueError, match=f"slurm.time: {time}; allowed: "):
        slurm_engine.minutes(time)
