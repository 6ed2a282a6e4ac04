"""Many trainings in one compiled program, spread over the devices of this host."""

from lstm_sched.population.devices import Layout, fetch, layout, pad, row, share, stack, use_cores
from lstm_sched.population.run import SCAN, advance, begin_all, losses, memory, together, train

__all__ = [
    "SCAN",
    "Layout",
    "advance",
    "begin_all",
    "fetch",
    "layout",
    "losses",
    "memory",
    "pad",
    "row",
    "share",
    "stack",
    "together",
    "train",
    "use_cores",
]
