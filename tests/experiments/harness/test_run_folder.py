"""A run's folder says first what was decided."""

import sys
from dataclasses import dataclass

import jax

from experiments.harness import run_folder


@dataclass(frozen=True)
class Config:
    seeds: int = 2


def test_what_is_decided_is_the_command_the_configuration_and_facts_beside_the_versions(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(sys, "argv", ["x.py", "--seeds", "3"])
    run_folder.decide(tmp_path, "name", Config(3), {"cores": [0, 1]})
    assert run_folder.read_json(tmp_path / "config.json") == {
        "experiment": "name",
        "command": "python -m experiments.name --seeds 3",
        "config": {"seeds": 3},
        "cores": [0, 1],
    }
    assert run_folder.read_json(tmp_path / "env.json")["packages"]["jax"] == jax.__version__


def test_names_of_folders_stay_where_they_are_put():
    names = run_folder.safe_names(["../../etc", "a b", "a_b", "..", ""])
    assert names == ["_.._etc", "a_b", "a_b-2", "series", "series-4"]
