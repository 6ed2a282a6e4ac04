"""Which engine runs a sweep's tasks: the one place that knows all of them."""

import shutil
from collections.abc import Callable
from functools import partial
from typing import Any

from experiments.sweep.config import Config
from experiments.sweep.engines import local_engine, ray_engine, slurm_engine


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
        ray_engine.imported(asked)
    if config.engine == "submitit":
        slurm_engine.imported()
        slurm_engine.minutes(config.slurm.time)
        if not config.slurm.local and shutil.which("srun") is None:
            raise ValueError(
                "engine: submitit needs SLURM, and srun is not found here; allowed: --slurm.local"
            )


def most(config: Config) -> int:
    """Tasks at once, unless --workers says otherwise. ValueError where the engine cannot be reached."""
    if config.engine == "ray":
        return ray_engine.most(config.cluster)
    return slurm_engine.most() if config.engine == "submitit" else local_engine.most()


def run(config: Config) -> Callable[..., dict[Any, dict[str, Any]]]:
    """The engine: (folders, workers, retries, tell) -> what done.json holds of each."""
    if config.engine == "ray":
        return partial(ray_engine.run, asked=config.cluster)
    if config.engine == "submitit":
        return partial(slurm_engine.run, asked=config.cluster, slurm=config.slurm)
    return local_engine.run
