"""Which engine runs a sweep's tasks: the one place that knows all of them."""

import shutil
from collections.abc import Callable
from functools import partial

from experiments.sweep.config import Config
from experiments.sweep.engines import local_engine, ray_engine, slurm_engine
from experiments.sweep.engines.base import Ended


def check(config: Config) -> None:
    """Raise ValueError for invalid options, or an engine that is not installed."""
    cluster = config.cluster
    if cluster.cpus < 0 or cluster.gpus < 0 or not cluster.cpus + cluster.gpus > 0:
        raise ValueError(f"cpus: {cluster.cpus}, gpus: {cluster.gpus}; allowed: 0 or more, and not both 0")
    if cluster.address is not None and config.engine != "ray":
        raise ValueError(
            f"address: {cluster.address} with engine {config.engine or 'local'}; allowed: with ray"
        )
    if config.engine == "ray":
        ray_engine.imported(cluster)
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


def run(config: Config) -> Callable[..., Ended]:
    """The engine that is asked for, called as `base.drive` without its engine."""
    if config.engine == "ray":
        return partial(ray_engine.run, cluster=config.cluster)
    if config.engine == "submitit":
        return partial(slurm_engine.run, cluster=config.cluster, slurm=config.slurm)
    return local_engine.run
