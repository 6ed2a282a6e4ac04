"""What engines of many hosts give to each task."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cluster:
    """What engines of many hosts give to each task."""

    address: str | None = None
    """ray: an existing cluster, auto or HOST:PORT; by default one is started on this host"""
    cpus: float = 1
    """CPUs for each task; ray takes fractions"""
    gpus: float = 0
    """GPUs for each task; 0 trains on the CPU; ray takes fractions, and tasks then share a GPU"""


@dataclass(frozen=True)
class Slurm:
    """What each SLURM job is given, with the engine submitit."""

    partition: str | None = None
    """the queue"""
    account: str | None = None
    """the account that is charged"""
    time: str = "04:00:00"
    """a job that runs longer is queued again, and goes on"""
    mem: str | None = None
    """memory, such as 8GB"""
    local: bool = False
    """run the jobs on this host, without SLURM, to try it out"""
