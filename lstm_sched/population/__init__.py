"""Many trainings in one compiled program, spread over the devices of this host."""

from lstm_sched.population.layout import Layout, choose_layout, replicate, shard, use_cores
from lstm_sched.population.memory import Memory
from lstm_sched.population.run import (
    MAX_CHUNK,
    losses,
    members_at_once,
    memory_needed,
    run_all,
    start_all,
    train,
)
from lstm_sched.population.stacking import stack, take, to_host

__all__ = [
    "MAX_CHUNK",
    "Layout",
    "Memory",
    "choose_layout",
    "losses",
    "members_at_once",
    "memory_needed",
    "replicate",
    "run_all",
    "shard",
    "stack",
    "start_all",
    "take",
    "to_host",
    "train",
    "use_cores",
]
