"""What may be asked of a sweep, and what is refused before anything is made."""

import dataclasses
import json

import pytest
from helpers import refused

from experiments.harness import run_folder
from experiments.harness.setting import Setting
from experiments.sweep import axes
from experiments.sweep import config as co
from experiments.sweep import run as sweep
from experiments.sweep.config import FIELDS, Config, Fields, Grid, Search
from experiments.sweep.engines.options import Cluster, Slurm
from experiments.sweep.values import Range

BAD = {
    "grid: empty; allowed: a list for at least one field": [],
    "data: ar, sines; allowed: one series per sweep": ["--data", "ar", "sines", "--grid.lr", "1"],
    "devices: 1; allowed: none": ["--devices", "1", "--grid.lr", "1"],
    "engine: unknown 'loca' (did you mean local?)": ["--engine", "loca", "--grid.lr", "1"],
    "search.kind: unknown 'sobl' (did you mean sobol?)": ["--search.kind", "sobl"],
    "workers: 0; allowed: 1 or more": ["--workers", "0", "--grid.lr", "1"],
    "members_per_task: 0; allowed: 1 or more": ["--members-per-task", "0", "--grid.lr", "1"],
    "retries: -1; allowed: 0 or more": ["--retries", "-1", "--grid.lr", "1"],
    "search.trials: -1; allowed: 0 or more": ["--search.trials", "-1"],
    "lr: both grid.lr and search.lr": ["--grid.lr", "1", "--search.lr", "1", "--search.trials", "2"],
    "hidden: both hidden 3 and grid.hidden": ["--hidden", "3", "--grid.hidden", "4"],
    "seeds: both seeds 3 and grid.seed": ["--seeds", "3", "--grid.seed", "8:10"],
    "grid.lr: 0.0: lr: 0.0; allowed: above 0": ["--grid.lr", "0"],
    "search.lr: 0.0: lr: 0.0; allowed: above 0": ["--search.lr", "0:1", "--search.trials", "2"],
    "grid.hidden: 0: hidden: 0; allowed: 1 or more": ["--grid.hidden", "0"],
    "grid.schedule: cosin: schedule: unknown 'cosin' (did you mean cosine": ["--grid.schedule", "cosin"],
    "grid.dropout: 1.0: dropout: 1.0; allowed": ["--grid.dropout", "1"],
    "grid.policy: unknown 'drop_momnts' (did you mean drop_moments": ["--grid.policy", "drop_momnts"],
    "grid.policy: unknown 'rate_x2'": ["--grid.policy", "rate_x2"],
    "a whole number of epochs after @": ["--grid.policy", "drop_m@x"],
    "every of drop_m@3: 3; allowed: a divisor of epochs 100": ["--grid.policy", "drop_m@3"],
    "grid.every: 0; allowed: 1 or more": ["--grid.every", "0"],
    "grid.epochs: 0; allowed: 1 or more": ["--grid.epochs", "0"],
    "grid.seed: -1; allowed: 0 to": ["--grid.seed", "-1"],
    "weight_decay: 0.1; keras_adam has none": ["--grid.weight-decay", "0.1"],
    "allowed: both --search.trials and a field": ["--search.trials", "4"],
    "search.trials: 0 with lr to draw; allowed: both": ["--search.lr", "1e-3:1"],
    "grid.hidden: not with optuna": [
        *("--search.kind", "optuna", "--search.trials", "2", "--search.lr", "1", "--grid.hidden", "2"),
    ],
    "max_members: 10000, and these are 1000 × 16 = 16000 trainings": ["--grid.hidden", "1:1001"],
    "search.keep: 1.0; allowed: a fraction between 0 and 1": ["--search.keep", "1", "--grid.lr", "1"],
    "search.halving: (5, 3); allowed: increasing": ["--search.halving", "5", "3", "--grid.lr", "1"],
    "search.halving: (100,); allowed: increasing epochs from 1 to 99": [
        *("--search.halving", "100", "--grid.lr", "1"),
    ],
    "search.halving: with epochs that vary": ["--search.halving", "5", "--grid.epochs", "10", "20"],
    "search.halving: with members_per_task": [
        *("--search.halving", "5", "--members-per-task", "9", "--grid.lr", "1"),
    ],
    "batch: 5000; allowed: 1 to": ["--grid.batch", "32", "5000"],
    "cycles: 4; allowed: 1 to 2": ["--grid.schedule", "sgdr", "--epochs", "1", "--batch", "2000"],
    "data: unknown 'sunspot' (did you mean sunspots?)": ["--data", "sunspot", "--grid.lr", "1"],
    "--grid.lrr": ["--grid.lrr", "3"],
}


@pytest.mark.parametrize("message", BAD)
def test_bad_flags_are_refused_before_any_compilation(message, request, tmp_path):
    refused.before_any_compilation(sweep, "sweep", BAD[message], message, tmp_path / "out", request)


def test_every_field_is_static_or_traced_and_can_be_listed_or_drawn():
    offered = [field.name for field in dataclasses.fields(Fields)]
    assert offered == list(FIELDS)
    shared = {field.name: field.type for field in dataclasses.fields(Setting)}
    assert all(name in shared for name in offered if name != "policy")


def test_lists_and_ranges_are_parsed_in_the_order_of_the_fields():
    config = Config(
        grid=Grid(policy=("one_fit",), hidden=("4:6",)),
        search=Search(trials=3, lr=("1e-4:1e-2:log",), batch=(8, 16)),
    )
    axes.check_sweep(config)
    grid, search = axes.axes(config)
    assert list(grid.items()) == [("hidden", (4, 5)), ("policy", ("one_fit",))]
    assert list(search.items()) == [("batch", (8, 16)), ("lr", Range(low=1e-4, high=1e-2, log=True))]


def test_seeds_are_those_of_all_experiments_unless_listed():
    assert axes.seeds(Config()) == tuple(range(8, 24))
    assert axes.seeds(Config(seeds=2)) == (8, 9)
    assert axes.seeds(Config(grid=Grid(seed=("1000:1008",)))) == tuple(range(1000, 1008))


def test_a_configuration_comes_back_from_json():
    config = Config(grid=Grid(lr=(1e-3, "1e-2"), seed=("8:10",)), search=Search(halving=(2, 4)))
    config = dataclasses.replace(config, engine="ray", cluster=Cluster("auto", 2, 0.5), slurm=Slurm("gpu"))
    assert run_folder.config_of(Config, json.loads(json.dumps(dataclasses.asdict(config)))) == config


def test_results_depend_on_what_is_trained_and_not_on_where():
    config = Config(grid=Grid(lr=(1e-3,)))
    elsewhere = dataclasses.replace(config, out="x", workers=3, retries=0, members_per_task=2, estimate=False)
    assert co.substance(config) == co.substance(elsewhere)
    assert co.substance(config) != co.substance(dataclasses.replace(config, hidden=3))
