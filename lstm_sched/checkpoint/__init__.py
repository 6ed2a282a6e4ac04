"""The progress of a run on disk: sealed steps, written whole or not at all."""

from lstm_sched.checkpoint.progress import latest, read, restore, resume, save, set_aside
from lstm_sched.checkpoint.steps import CheckpointWarning

__all__ = ["CheckpointWarning", "latest", "read", "restore", "resume", "save", "set_aside"]
