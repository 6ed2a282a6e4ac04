"""Tasks as SLURM jobs, through submitit; or, to try that out, as submitit's local jobs on this host.

The extra `slurm` is imported here, when it is asked for, and nowhere else. SLURM sends SIGUSR2 before a job's time is
over or its place is taken: the task saves, and its job is queued again and goes on. A job that dies is submitted again.
"""

import contextlib
import math
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from experiments.harness.exits import Interrupted
from experiments.sweep.engines import base
from experiments.sweep.engines.base import Death, Ended, Engine, Notify, drive, ignore
from experiments.sweep.engines.options import Cluster, Slurm

AT_ONCE = 100  # jobs in the queue, unless --workers says otherwise
PAUSE = 1.0  # seconds between looks at the tasks; submitit asks SLURM itself once a minute
NOTICE = 120  # seconds before the end of a job's time at which SLURM signals it
REQUEUES = 1000  # times that its time may be over: it has come further each time
SAVING = 60.0  # seconds to wait for jobs that were told to stop


class Job:
    """What submitit pickles and calls; it calls `checkpoint` when the job is to be queued again."""

    def __init__(self, folder: str, cores: int, gpu: bool):
        self.folder, self.cores, self.gpu = folder, cores, gpu

    def __call__(self) -> dict[str, Any]:
        try:
            return base.perform(self.folder, self.cores, self.gpu)
        except Interrupted as e:
            if e.signum == signal.SIGUSR2:  # all is saved; submitit's handler, in place again, queues the job
                os.kill(os.getpid(), signal.SIGUSR2)
                time.sleep(SAVING)
            raise

    def checkpoint(self) -> Any:
        """The same job, which goes on from its folder."""
        return imported().helpers.DelayedSubmission(self)


def imported() -> Any:
    """Submitit, imported. ValueError where it is not installed."""
    try:
        import submitit
    except ImportError as e:
        raise ValueError("engine: submitit is not installed; pip install 'lstm_sched[slurm]'") from e
    return submitit


def most() -> int:
    """Jobs at once. ValueError where submitit is not installed."""
    imported()
    return AT_ONCE


def run(
    folders: Sequence[Path],
    workers: int,
    retries: int,
    notify: Notify = ignore,
    cluster: Cluster = Cluster(),  # noqa: B008  frozen
    slurm: Slurm = Slurm(),  # noqa: B008  frozen
) -> Ended:
    """As `base.drive`, with `workers` jobs in the queue at most."""
    executor = _executor(folders[0].absolute().parent.with_name("submitit"), cluster, slurm)

    def start(folder: Path) -> Any:
        with _environment(cluster):
            return executor.submit(Job(str(folder.absolute()), math.ceil(cluster.cpus), cluster.gpus > 0))

    def ended(job: Any) -> dict[str, Any] | Death | None:
        if not job.done():
            return None
        try:
            return job.result()
        except imported().core.utils.UncompletedJobError as e:  # it raised, or ended without a result
            lines = str(e).strip().splitlines()
            return Death(how=f"job {job.job_id}: {lines[-1] if lines else job.state}")

    def stop(jobs: Sequence[Any], signum: int) -> None:
        for job in jobs:
            job.cancel(check=False)
        until = time.monotonic() + SAVING
        while not all(job.done(force_check=True) for job in jobs) and time.monotonic() < until:
            time.sleep(PAUSE)

    engine = Engine(start=start, ended=ended, stop=stop)
    return drive(engine, folders, workers, retries, notify, PAUSE)


def _executor(logs: Path, cluster: Cluster, slurm: Slurm) -> Any:
    executor = imported().AutoExecutor(
        logs, cluster="local" if slurm.local else "slurm", slurm_max_num_timeout=REQUEUES
    )
    executor.update_parameters(
        name="lstm_sched",
        timeout_min=minutes(slurm.time),
        cpus_per_task=max(1, math.ceil(cluster.cpus)),
        gpus_per_node=math.ceil(cluster.gpus),
        slurm_signal_delay_s=NOTICE,
    )
    named = {"partition": slurm.partition, "account": slurm.account, "mem": slurm.mem}
    executor.update_parameters(**{f"slurm_{name}": value for name, value in named.items() if value})
    return executor


def minutes(time_: str) -> int:
    """Minutes of a time as SLURM writes it, [DAYS-]HOURS:MINUTES:SECONDS. ValueError for any other text."""
    days, dash, rest = time_.rpartition("-")
    parts = rest.split(":")
    if len(parts) != 3 or not all(part.isdecimal() for part in (*parts, *([days] if dash else []))):
        raise ValueError(
            f"slurm.time: {time_}; allowed: HOURS:MINUTES:SECONDS, or DAYS-HOURS:MINUTES:SECONDS"
        )
    hours, mins, seconds = map(int, parts)
    total = (int(days or 0) * 24 + hours) * 60 + mins + -(-seconds // 60)
    if total < 1:
        raise ValueError(f"slurm.time: {time_}; allowed: a minute or more")
    return total


@contextlib.contextmanager
def _environment(cluster: Cluster) -> Iterator[None]:
    """The environment that a job inherits: the CPU alone where it is given no GPU."""
    before = os.environ.get("JAX_PLATFORMS")
    if not cluster.gpus:
        os.environ["JAX_PLATFORMS"] = "cpu"
    try:
        yield
    finally:
        os.environ.pop("JAX_PLATFORMS", None)
        if before is not None:
            os.environ["JAX_PLATFORMS"] = before
