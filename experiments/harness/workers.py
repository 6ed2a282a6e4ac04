"""Two worker processes that end with their command, together with all processes that they started."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor


@contextlib.contextmanager
def two_workers(afresh: bool = False) -> Iterator[ProcessPoolExecutor]:
    """A pool of two processes; `afresh` starts one per task, lest compiled programs fill the memory."""
    context = multiprocessing.get_context("spawn")
    per_child = 1 if afresh else None
    with ProcessPoolExecutor(2, context, _begin, max_tasks_per_child=per_child) as pool:
        try:
            yield pool
        except BaseException:
            for worker in multiprocessing.active_children():  # the pool would first finish waiting tasks
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(worker.pid or 0, signal.SIGKILL)
                worker.kill()
            raise


def _begin() -> None:
    """Make a worker, and the processes that it started, end when its parent does."""
    os.setsid()

    def follow() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=follow, daemon=True).start()
