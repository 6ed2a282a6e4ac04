"""Which engine runs a sweep's tasks: the one place that knows all of them."""

import shutil
from collections.abc import Callable
from functools import partial
from typing import Any

from experiments import engine_local, engine_ray, engine_slurm
from experiments.sweep_config import Config


def check(config: Config) -> None:
    """ValueError for options that cannot be, or an engine that is not installed."""
    asked = config.cluster
    if asked.cpus < 0 or asked.gpus < 0 or not asked.cpus + asked.gpus > 0:
        raise ValueError(f"cpus: {asked.cpus}, gpus: {asked.gpus}; allowed: 0 or more, and not both 0")
    if asked.address is not None and config.engine != "ray":
        raise ValueError(
            f"address: {asked.address} with engine {config.engine or 'local'}; allowed: with ray"
        )
    if config.engine == "ray":
        engine_ray.imported(asked)
    if config.engine == "submitit":
        engine_slurm.imported()
        engine_slurm.minutes(config.slurm.time)
        if not config.slurm.local and shutil.which("srun") is None:
            raise ValueError(
                "engine: submitit needs SLURM, and srun is not found here; allowed: --slurm.local"
            )


def most(config: Config) -> int:
    """Tasks at once, unless --workers says otherwise. ValueError where the engine cannot be reached."""
    if config.engine == "ray":
        return engine_ray.most(config.cluster)
    return engine_slurm.most() if config.engine == "submitit" else engine_local.most()


def run(config: Config) -> Callable[..., dict[Any, dict[str, Any]]]:
    """The engine: (folders, workers, retries, tell) -> what done.json holds of each."""
    if config.engine == "ray":
        return partial(engine_ray.run, asked=config.cluster)
    if config.engine == "submitit":
        return partial(engine_slurm.run, asked=config.cluster, slurm=config.slurm)
    return engine_local.run
