"""The progress of a run on disk: written atomically, with checksums, and restored under a restart policy."""

from lstm_sched.checkpoint.progress import latest, read, restore, resume, save, set_aside
from lstm_sched.checkpoint.steps import CheckpointWarning, Damaged

__all__ = ["CheckpointWarning", "Damaged", "latest", "read", "restore", "resume", "save", "set_aside"]
