"""Two processes that work for a command, and end with it, together with all that they started."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor


@contextlib.contextmanager
def two_workers(afresh: bool = False) -> Iterator[ProcessPoolExecutor]:
    """A pool of two processes; where they begin afresh for each task, compiled programs do not fill the memory."""
    context = multiprocessing.get_context("spawn")
    per_child = 1 if afresh else None
    with ProcessPoolExecutor(2, context, _begin, max_tasks_per_child=per_child) as pool:
        try:
            yield pool
        except BaseException:
            for worker in multiprocessing.active_children():  # the pool would first finish what waits
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(worker.pid or 0, signal.SIGKILL)
                worker.kill()
            raise


def _begin() -> None:
    """A process of the pool ends, with those that it started, when the process that started it does."""
    os.setsid()

    def follow() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=follow, daemon=True).start()
